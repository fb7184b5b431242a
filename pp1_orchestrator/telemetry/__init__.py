"""Records, spans, metrics and the files of a run. Knows nothing of models or processes."""
