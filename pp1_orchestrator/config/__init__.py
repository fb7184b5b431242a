"""Settings: their types, how they are read, and which combinations are possible."""
