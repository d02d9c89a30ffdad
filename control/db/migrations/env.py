"""Runs migrations on the connection that `control.db.migrate` opened, inside its transaction."""

from alembic import context

from control.db import models

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.Run.metadata,
    render_as_batch=True,
)
context.run_migrations()
