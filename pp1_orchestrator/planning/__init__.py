"""What a run would need and how fast it would be, worked out without loading a weight.

Stands on models, contract and config; knows nothing of processes or of a running stream.
"""
