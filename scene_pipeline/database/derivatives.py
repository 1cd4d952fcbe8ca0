"""Other forms of stored pictures: one set per stored object, whoever the object belongs to.

A derivative counts as a reference to its own object. When its source is collected, a trigger of the
schema takes that reference away in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scene_pipeline.database.objects import OF_NO_DRILL, add_reference, collected
from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import DERIVED_PREFIX

DerivativeForm = Literal["thumbnail", "webp"]


@dataclass(frozen=True, slots=True)
class SourceObject:
    """A stored object that something is to be derived from."""

    content_type: str
    sha256: str
    stored_at: datetime
    """When it was registered, or last let go of."""


@dataclass(frozen=True, slots=True)
class DerivativeRow:
    """Another form of a stored picture, as it is to be recorded."""

    source_key: str
    form: DerivativeForm
    storage_key: str
    content_type: str
    width: int
    height: int
    size_bytes: int


async def derivative_key(conn: Connection, source_key: str, form: DerivativeForm) -> str | None:
    """The key of a form that was made already."""
    cursor = await conn.execute(
        "SELECT storage_key FROM derivatives WHERE source_key = %s AND form = %s",
        (source_key, form),
    )
    row = await cursor.fetchone()
    return str(row["storage_key"]) if row else None


async def source_object(conn: Connection, key: str) -> SourceObject | None:
    """A stored object by its key; None where there is none, the collector has it, or a drill."""
    cursor = await conn.execute(
        "SELECT o.content_type, o.sha256, o.created_at AS stored_at FROM storage_objects o"
        f" WHERE o.key = %s AND o.state = 'present' AND {OF_NO_DRILL}",
        (key,),
    )
    row = await cursor.fetchone()
    return SourceObject(**row) if row else None


async def shared_key(conn: Connection, sha256: str, content_type: str) -> str | None:
    """The key of a derivative with these bytes, whatever it was made of; None where there is none.

    It may be collected before a reference is counted: `record_derivative` tells.
    """
    cursor = await conn.execute(
        "SELECT key FROM storage_objects WHERE sha256 = %s AND state = 'present'"
        " AND content_type = %s AND starts_with(key, %s) ORDER BY refcount DESC, key LIMIT 1",
        (sha256, content_type, f"{DERIVED_PREFIX}/"),
    )
    row = await cursor.fetchone()
    return str(row["key"]) if row else None


async def record_derivative(conn: Connection, made: DerivativeRow) -> str:
    """Write a form's row and count the reference to its object, in one transaction.

    Returns:
        The key that holds for this form: another one where somebody else was quicker.

    Raises:
        LedgerError: code "object_collected": the source or the new object is the collector's.
    """
    names = DerivativeRow.__dataclass_fields__
    async with conn.transaction():
        # From here on the source is not marked before this transaction has ended, and then its mark
        # finds the row.
        cursor = await conn.execute(
            "SELECT 1 FROM storage_objects WHERE key = %s AND state = 'present' FOR SHARE",
            (made.source_key,),
        )
        if await cursor.fetchone() is None:
            raise collected(made.source_key)
        cursor = await conn.execute(
            f"INSERT INTO derivatives ({', '.join(names)})"
            f" VALUES ({', '.join(f'%({name})s' for name in names)})"
            " ON CONFLICT (source_key, form) DO NOTHING".encode(),
            {name: getattr(made, name) for name in names},
        )
        if cursor.rowcount == 1:
            await add_reference(conn, made.storage_key)
            return made.storage_key
    return await derivative_key(conn, made.source_key, made.form) or made.storage_key


async def forget_derivative(conn: Connection, source_key: str, form: DerivativeForm) -> None:
    """Forget another form of a picture, so that it is made again; its object is let go of."""
    async with conn.transaction():
        cursor = await conn.execute(
            "DELETE FROM derivatives WHERE source_key = %s AND form = %s RETURNING storage_key",
            (source_key, form),
        )
        row = await cursor.fetchone()
        if row is not None:
            await conn.execute(
                "UPDATE storage_objects SET refcount = refcount - 1, created_at = now()"
                " WHERE key = %s AND refcount > 0",
                (row["storage_key"],),
            )
