"""How close models come to their authors' code, and how well the shipped model's video holds up."""
