"""What a request brings beside the JSON of one lead: files, conditions, keys, many items."""
