"""The ERP's leads on native PostgreSQL, as a Flask service."""
