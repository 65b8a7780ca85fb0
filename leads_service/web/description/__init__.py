"""What a route promises, and the description made of it."""
