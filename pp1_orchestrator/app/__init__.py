"""The composition root: puts the parts together and runs the modes."""
