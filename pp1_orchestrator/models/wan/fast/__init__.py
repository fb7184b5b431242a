"""The same generator in fewer and faster kernels: for one GPU, and applied to a finished model from outside."""
