"""Leads in numbers, and leads to try them with."""
