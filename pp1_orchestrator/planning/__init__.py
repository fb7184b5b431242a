"""What a run would need and how fast it would be, predicted without loading a weight.

Uses models, contract and config. Knows nothing of processes, of a running stream, or of strategies by name.
"""
