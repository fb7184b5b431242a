"""Commands for those who work on the project; the program needs none of them."""
