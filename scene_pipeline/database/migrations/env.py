"""What Alembic runs: the migrations, on the connection and in the transaction of the runner."""

from alembic import context

from scene_pipeline.database.migrations.runner import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
