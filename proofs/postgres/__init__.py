"""The claims of the line on PostgreSQL."""
