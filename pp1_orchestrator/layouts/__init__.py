"""What runs where: in one process, in processes of this host, or in ranks that torchrun starts."""
