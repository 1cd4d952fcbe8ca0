"""The schema and its history: plain SQL, applied in order by Alembic.

Belongs here: `versions/NNNN_name.sql` with the statements, `versions/NNNN_name.py` that tells
Alembic its place, and the runner. Does not belong here: statements of the running application.

A new version is a new pair of files with the next number; files that were released never change.
All pending versions are applied in one transaction, so a failed migration leaves nothing behind.
"""

from scene_pipeline.database.migrations.runner import (
    HEAD_REVISION,
    MigrationResult,
    migrate,
    schema_version,
)

__all__ = ["HEAD_REVISION", "MigrationResult", "migrate", "schema_version"]
