"""What one does with leads: public names and values → SQL → rows."""
