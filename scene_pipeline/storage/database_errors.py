"""What PostgreSQL's refusals mean for a store of rows.

Belongs here: its errors into ours, with a next action. Does not belong here: SQL
(`storage.database`).
"""

import psycopg

from scene_pipeline.errors import StorageError


def refusal_of(key: str, place: str, error: Exception) -> StorageError:
    """The error to raise.

    Args:
        key: Of the object; "" for a list of all.
        place: The database, without its password.
        error: Of psycopg or its pool.
    """
    if isinstance(error, psycopg.errors.UndefinedTable):
        message = f"The database {place} has no table for objects yet."
        action = "Run `scene-pipeline doctor`, which brings it up to date."
        return StorageError(message, code="storage_unprepared", next_action=action)
    if isinstance(error, psycopg.errors.DiskFull):
        message = f"The disk of the database {place} is full, so {key} was not stored."
        return StorageError(message, code="storage_full", next_action="Free some space there.")
    if isinstance(
        error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
    ):
        message = f"The database {place} does not allow to read or write {key}."
        action = "Give the user of DATABASE_URL the right to write, also to temporary tables."
        return StorageError(message, code="storage_denied", next_action=action)
    is_away = not isinstance(error, psycopg.Error) or isinstance(
        error, psycopg.OperationalError | psycopg.InterfaceError
    )
    reason = "it cannot be reached" if is_away else f"it refused ({type(error).__name__})"
    message = f"{key or 'The list of objects'} failed in the database {place}: {reason}."
    return StorageError(message, code="storage_unavailable", retryable=is_away)
