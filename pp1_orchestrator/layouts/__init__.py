"""Where each rank runs. A layout starts a mesh and gives rank 0 a link to it."""
