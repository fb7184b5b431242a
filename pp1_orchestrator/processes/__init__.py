"""What every process of the program needs: signals, stack dumps, limits, an eye on its parent."""
