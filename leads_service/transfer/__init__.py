"""Leads in and out as files and from databases."""
