"""A served program under changing viewers and prompts for long, and whether it grows: `python -m benchmarks.soak`."""
