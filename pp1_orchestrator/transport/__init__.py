"""The only part that touches torch.distributed: process groups, and links between rank 0 and the mesh."""
