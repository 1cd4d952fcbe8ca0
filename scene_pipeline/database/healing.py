"""Versions whose pictures are at the provider only: recorded so, listed, and brought home.

Belongs here: the statements. Does not belong here: when each is due again (`heal_times`), downloads
and uploads (`pipeline.upkeep.heal`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.events import append_event
from scene_pipeline.database.frame_checks import take_turn
from scene_pipeline.database.heal_times import FIRST_PAUSE_SECONDS, LOST_CODES
from scene_pipeline.database.objects import add_reference, mark_present
from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.publishing import Publication, PublicationResult, publish
from scene_pipeline.database.rows import GENERATION_COLUMNS, Connection, Generation
from scene_pipeline.errors import LedgerError


@dataclass(frozen=True, slots=True)
class ExternalVersion:
    """A version that is to be healed."""

    generation_id: UUID
    project_id: UUID
    project_key: str
    scene_id: str
    version: int
    is_current: bool
    storage_url: str
    """The provider's address."""
    sha256: str
    """Of the bytes that would have been stored."""
    expires_at: datetime | None
    heal_error_code: str | None
    heal_attempts: int


_SELECT: LiteralString = """
SELECT i.generation_id, i.project_id, p.key AS project_key, i.scene_id, i.version, i.is_current,
       i.storage_url, i.sha256, i.external_expires_at AS expires_at, g.heal_error_code,
       g.heal_attempts
FROM scene_images i
JOIN projects p ON p.id = i.project_id
JOIN generations g ON g.id = i.generation_id
WHERE i.storage_status = 'external'
"""

_OF_PROJECT: LiteralString = (
    " AND (p.key = %(key)s OR (%(key)s::text IS NULL AND NOT p.is_scratch))"
)
"""One project's, or everybody's: a drill's pictures exist nowhere else."""


async def mark_external(
    conn: Connection,
    generation: Generation,
    *,
    url: str,
    lifetime_seconds: float | None,
    image: Mapping[str, Any],
    thumbnail: bytes | None,
) -> Generation:
    """The checked picture could not be stored: `completed -> stored`, at the provider's address.

    Args:
        conn: Of the caller.
        generation: In state `completed`.
        url: The provider's address, fit for a document.
        lifetime_seconds: How long after its completion the address works; None if not known.
        image: Facts of the picture that would have been stored.
        thumbnail: Of the picture.

    Raises:
        LedgerError: Another worker moved the row.
    """
    cursor = await conn.execute(
        "UPDATE generations SET state = 'stored', storage_status = 'external', storage_key = NULL,"
        " external_url = %s, external_expires_at = completed_at + make_interval(secs => %s),"
        " image = %s, thumbnail = %s, stored_at = now(), updated_at = now(),"
        " heal_at = now() + make_interval(secs => %s)"
        f" WHERE id = %s AND state = 'completed' RETURNING {GENERATION_COLUMNS}",
        (
            url,
            lifetime_seconds,
            Jsonb(dict(image)),
            thumbnail,
            FIRST_PAUSE_SECONDS,
            generation.id,
        ),
    )
    row = await cursor.fetchone()
    if row is None:
        message = f"Generation {generation.id} is no longer completed: another worker moved it."
        raise LedgerError(message, retryable=True)
    return Generation(**row)


async def external_versions(
    conn: Connection,
    project_key: str | None,
    limit: int,
    *,
    only_due: bool = False,
) -> list[ExternalVersion]:
    """What is to be healed, what expires first first.

    Pictures that the provider has lost come last, so that they never keep the others waiting.

    Args:
        conn: Of the caller.
        project_key: Only this project's; None for every project's that is not a drill's.
        limit: Most versions to return.
        only_due: Only those whose time to be tried (again) has come.
    """
    due: LiteralString = " AND g.heal_at <= now()" if only_due else ""
    cursor = await conn.execute(
        _SELECT
        + _OF_PROJECT
        + due
        + " ORDER BY g.heal_error_code IS NOT NULL AND g.heal_error_code = ANY(%(lost)s),"
        " i.external_expires_at NULLS LAST, i.generation_id LIMIT %(limit)s",
        {
            "key": project_key,
            "limit": limit,
            "lost": list(LOST_CODES),
        },
    )
    return [ExternalVersion(**row) for row in await cursor.fetchall()]


async def count_external(conn: Connection, project_key: str | None) -> int:
    """How many versions are at their providers only."""
    cursor = await conn.execute(
        f"SELECT count(*) AS n FROM ({_SELECT} {_OF_PROJECT}) e",
        {"key": project_key},
    )
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


async def external_version(conn: Connection, generation_id: UUID) -> ExternalVersion | None:
    """The version of a generation, if it is still to be healed."""
    cursor = await conn.execute(_SELECT + " AND i.generation_id = %s", (generation_id,))
    row = await cursor.fetchone()
    return ExternalVersion(**row) if row else None


async def record_healed(
    conn: Connection, version: ExternalVersion, *, key: str, url: str
) -> PublicationResult | None:
    """Say that a version's picture is in our store, and correct the document: one transaction.

    The version keeps its number. The document is written only where it still holds the provider's
    address, so that what an editor put there meanwhile is left alone.

    Args:
        conn: Not inside a transaction; this is one.
        version: As it was before.
        key: Where its bytes are now, verified.
        url: The permanent address of that.

    Returns:
        How it went with the document; None where another worker healed the version.

    Raises:
        LedgerError: code "object_collected": upload again under another key.
    """
    async with conn.transaction():
        # As every move of addresses: a verdict on the former one must not come in between.
        await hold_project(conn, version.project_id)
        await take_turn(conn, {version.project_id})
        # Not FOR UPDATE, which would make an event of another worker about it wait.
        await conn.execute(
            "SELECT 1 FROM generations WHERE id = %s FOR NO KEY UPDATE", (version.generation_id,)
        )
        cursor = await conn.execute(
            "UPDATE scene_images SET storage_status = 'stored', storage_path = %s,"
            " storage_url = %s, external_expires_at = NULL"
            " WHERE generation_id = %s AND storage_status = 'external' AND storage_url = %s",
            (key, url, version.generation_id, version.storage_url),
        )
        if cursor.rowcount != 1:
            return None
        await mark_present(conn, key)
        await add_reference(conn, key)
        await conn.execute(
            "UPDATE generations SET storage_status = 'stored', storage_key = %s,"
            " heal_error_code = NULL, heal_error_message = NULL, heal_tried_at = now(),"
            " heal_attempts = heal_attempts + 1, heal_at = NULL, updated_at = now()"
            " WHERE id = %s",
            (key, version.generation_id),
        )
        [result] = await publish(
            conn,
            version.project_id,
            [
                Publication(
                    generation_id=version.generation_id,
                    scene_id=version.scene_id,
                    scene_prompt="",
                    url=url,
                    guard="heal",
                    expected_url=version.storage_url,
                )
            ],
        )
        await append_event(
            conn,
            "version_healed",
            project_id=version.project_id,
            scene_id=version.scene_id,
            generation_id=version.generation_id,
            data={"version": version.version, "url": url, "document": result},
        )
    return result
