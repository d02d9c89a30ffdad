"""The database: tables, sessions and migrations. Queries live in `control.records`."""
