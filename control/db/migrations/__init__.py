"""Alembic migrations, applied by `control.db.migrate`."""
