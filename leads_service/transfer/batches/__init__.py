"""Batches of leads: what their rows mean together, and how they get into the table."""
