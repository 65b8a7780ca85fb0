"""Leads that are one person: found, made one, and made two again."""
