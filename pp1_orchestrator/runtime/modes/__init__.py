"""What the program does with a stream: serve it, or measure it."""
