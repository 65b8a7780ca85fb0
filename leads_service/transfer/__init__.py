"""Moving leads in and out in bulk."""
