"""Weights as people have them: files, the names that others gave to tensors, and ours."""
