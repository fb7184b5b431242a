"""Commands that draw the images in `docs/`."""
