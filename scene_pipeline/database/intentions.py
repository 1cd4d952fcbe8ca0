"""Generations that nothing was sent for yet: written, repriced, given up.

Belongs here: what happens to a row before any payment. Does not belong here: permitting one and all
that follows (`ledger`).
"""

from dataclasses import fields
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import (
    GENERATION_COLUMNS,
    Connection,
    Generation,
    NewGeneration,
)

_JSON_FIELDS = frozenset({"content", "parameters", "overrides"})
_NEW_NAMES = tuple(f.name for f in fields(NewGeneration))
_INSERT = (
    f"INSERT INTO generations ({', '.join(_NEW_NAMES)})"
    f" VALUES ({', '.join(f'%({name})s' for name in _NEW_NAMES)})"
    f" ON CONFLICT DO NOTHING RETURNING {GENERATION_COLUMNS}"
)


async def plan_generation(conn: Connection, new: NewGeneration) -> Generation | None:
    """Write the intention to make a picture; nothing is paid by it.

    Returns:
        The new row, or None where the same request or another open one of the scene exists.
    """
    values: dict[str, Any] = {
        name: Jsonb(dict(getattr(new, name))) if name in _JSON_FIELDS else getattr(new, name)
        for name in _NEW_NAMES
    }
    cursor = await conn.execute(_INSERT, values)
    row = await cursor.fetchone()
    return Generation(**row) if row else None


async def abandon_unpaid(conn: Connection, generation_id: UUID, reason: str) -> bool:
    """Give up a planned generation that nothing was sent for; False when it has moved on."""
    cursor = await conn.execute(
        "UPDATE generations SET state = 'abandoned', error_code = 'abandoned', error_message = %s,"
        " finished_at = now(), updated_at = now() WHERE id = %s AND state = 'planned'",
        (reason, generation_id),
    )
    return cursor.rowcount == 1


async def wait_as_long(conn: Connection, generation_id: UUID, before: Generation) -> None:
    """Let a planned generation keep the times of the one that it was planned in the place of."""
    await conn.execute(
        "UPDATE generations g SET take_up_at = b.take_up_at, take_up_attempts = b.take_up_attempts"
        " FROM generations b WHERE g.id = %s AND g.state = 'planned' AND b.id = %s",
        (generation_id, before.id),
    )


async def wait_for_a_person(conn: Connection, generation_id: UUID) -> None:
    """Keep a planned generation from being taken up by itself."""
    await conn.execute(
        "UPDATE generations SET take_up_at = 'infinity' WHERE id = %s AND state = 'planned'",
        (generation_id,),
    )


Unwanted = Literal["removed", "edited", "locked", "archived"]
"""Why what was planned is not to be paid any more."""


async def why_unwanted(conn: Connection, generation: Generation) -> Unwanted | None:
    """What has happened to a scene since its generation was planned, by the document itself.

    Asked right before each payment: a scene may have waited for its turn for hours.
    """
    cursor = await conn.execute(
        "SELECT p.archived_at IS NOT NULL AND NOT p.is_scratch AS is_archived,"
        " jsonb_typeof(e.entry) IS DISTINCT FROM 'object' AS is_removed,"
        " e.entry ->> 'scene_frame_prompt' IS DISTINCT FROM %(prompt)s AS is_edited,"
        " s.locked AND EXISTS (SELECT 1 FROM scene_images i WHERE i.project_id = p.id"
        "   AND i.scene_id = s.scene_id AND i.is_current) AS is_locked"
        " FROM projects p JOIN scenes s ON s.project_id = p.id AND s.scene_id = %(scene)s,"
        " LATERAL (SELECT scene_entry(p.master_json, s.scene_id) AS entry) e"
        " WHERE p.id = %(project)s",
        {
            "prompt": generation.scene_prompt,
            "scene": generation.scene_id,
            "project": generation.project_id,
        },
    )
    row = await cursor.fetchone()
    if row is None or row["is_removed"]:
        return "removed"
    if row["is_edited"]:
        return "edited"
    if row["is_locked"]:
        return "locked"
    return "archived" if row["is_archived"] else None


async def reprice_unsent(
    conn: Connection,
    generation: Generation,
    *,
    estimated_micros: int,
    unit: str | None,
    unit_price_usd: Decimal | None,
) -> Generation:
    """Give a planned generation today's price; it is frozen only when its payment is permitted.

    Returns:
        The row as it is now; as it was where another worker has moved it on.
    """
    cursor = await conn.execute(
        "UPDATE generations SET estimated_micros = %s, unit = %s, unit_price_usd = %s,"
        f" updated_at = now() WHERE id = %s AND state = 'planned' RETURNING {GENERATION_COLUMNS}",
        (estimated_micros, unit, unit_price_usd, generation.id),
    )
    row = await cursor.fetchone()
    return Generation(**row) if row else generation
