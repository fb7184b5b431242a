"""Where a prompt becomes an embedding, and what travels to the mesh instead."""
