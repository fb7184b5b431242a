"""How the generator's cache is given clean history before the next chunk."""
