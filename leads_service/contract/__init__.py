"""What callers may send and are told; knows neither Flask nor PostgreSQL."""
