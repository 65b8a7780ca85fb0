"""What became of leads: their history and the way back, the feed of changes, imports that are taken back."""
