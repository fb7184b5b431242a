"""The transformer's operators: each file has the reference and the kernel side by side."""
