"""What a run measures: per-chunk records, spans, metrics, and the files they become.

Imports nothing of the project but `errors` and `contract`.
"""
