"""The people behind the leads: what the database knows of one, and how it forgets."""
