"""Injects faults into a served program with a viewer: `python -m benchmarks.chaos`."""
