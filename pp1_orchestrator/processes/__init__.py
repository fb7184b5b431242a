"""What every process of a run needs: signals, logs, stack dumps, limits, a watch on its parent."""
