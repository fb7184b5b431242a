"""Serves for many chunks while viewers and prompts change, and checks for growth: `python -m benchmarks.soak`."""
