"""What a request brings beside JSON: files, conditions, keys."""
