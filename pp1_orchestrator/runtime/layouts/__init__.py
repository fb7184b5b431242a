"""What runs where: each layout starts a mesh and hands rank 0 a link to it."""
