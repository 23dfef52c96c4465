"""Alembic runs this file. The connection comes from `labdock_controller.store.migrate`."""

from alembic import context

from labdock_controller.store.tables import Table

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
context.run_migrations()
