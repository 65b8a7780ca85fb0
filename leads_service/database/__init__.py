"""PostgreSQL: connections, tables, failures, migrations, the server that comes along."""
