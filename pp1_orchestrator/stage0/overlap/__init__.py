"""How decoding chunk N relates in time to generating chunk N+1."""
