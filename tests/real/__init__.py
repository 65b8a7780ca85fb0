"""The real programs that the tests and bench/ start, and what asks them."""
