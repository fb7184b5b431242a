"""Faults on purpose against a served program with a viewer, and what becomes of it: `python -m benchmarks.chaos`."""
