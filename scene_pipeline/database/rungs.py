"""The next attempt after a rejected picture, planned in the transaction that ends the rejected one.

Between "this one was rejected" and "another one is due" a crash can therefore not come: what is
left after it is an open generation like any other. The request that asked for the first one is
answered by the last.

Belongs here: those rows. Does not belong here: which attempt is next (`pipeline.planning.ladder`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import GENERATION_COLUMNS, Connection, Generation


@dataclass(frozen=True, slots=True)
class NewRung:
    """What is different from the rejected generation."""

    idempotency_key: str
    token: str
    rung: int
    provider: str
    endpoint: str
    seed: int
    parameters: Mapping[str, Any]
    image_count: int
    request_hash: str
    """Without reference pictures: they are settled anew."""
    estimated_micros: int
    unit: str | None
    unit_price_usd: Decimal | None


async def plan_rung(
    conn: Connection, rejected: Generation, new: NewRung, run_id: str
) -> Generation | None:
    """Write the next attempt and let it answer the request of the rejected one; nothing is paid.

    Args:
        conn: In the transaction that ended the rejected generation.
        rejected: In state `failed`.
        new: The next attempt.
        run_id: Of the run that saw the rejection.

    Returns:
        The row; None where the scene has gone on meanwhile: it was edited, removed, archived or
        locked with a frame, or it has another open generation.
    """
    cursor = await conn.execute(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, token, run_id, provider,"
        " endpoint, scene_prompt, prompt, negative_prompt, content, content_hash, request_hash,"
        " width, height, seed, parameters, image_count, rung, overrides, estimated_micros, unit,"
        " unit_price_usd)"
        " SELECT f.project_id, f.scene_id, %(key)s, %(token)s, %(run_id)s, %(provider)s,"
        " %(endpoint)s, f.scene_prompt, f.prompt, f.negative_prompt, f.content, f.content_hash,"
        " %(request_hash)s, f.width, f.height, %(seed)s, %(parameters)s, %(image_count)s,"
        " %(rung)s, f.overrides, %(estimated)s, %(unit)s, %(unit_price)s"
        " FROM generations f JOIN projects p ON p.id = f.project_id"
        " JOIN scenes s ON s.project_id = f.project_id AND s.scene_id = f.scene_id"
        " WHERE f.id = %(rejected)s AND f.state = 'failed' AND s.retired_at IS NULL"
        " AND (p.archived_at IS NULL OR p.is_scratch)"
        " AND s.content_hash = f.content_hash"
        " AND scene_entry(p.master_json, f.scene_id) ->> 'scene_frame_prompt' = f.scene_prompt"
        " AND NOT (s.locked AND EXISTS (SELECT 1 FROM scene_images i"
        "  WHERE i.project_id = s.project_id AND i.scene_id = s.scene_id AND i.is_current))"
        f" ON CONFLICT DO NOTHING RETURNING {GENERATION_COLUMNS}",
        {
            "key": new.idempotency_key,
            "token": new.token,
            "run_id": run_id,
            "provider": new.provider,
            "endpoint": new.endpoint,
            "request_hash": new.request_hash,
            "seed": new.seed,
            "parameters": Jsonb(dict(new.parameters)),
            "image_count": new.image_count,
            "rung": new.rung,
            "estimated": new.estimated_micros,
            "unit": new.unit,
            "unit_price": new.unit_price_usd,
            "rejected": rejected.id,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    planned = Generation(**row)
    await conn.execute(
        "UPDATE regeneration_requests SET state = 'claimed', generation_id = %s, finished_at = NULL"
        " WHERE generation_id = %s AND state IN ('claimed', 'failed')",
        (planned.id, rejected.id),
    )
    return planned


async def rungs_before(conn: Connection, generation: Generation) -> list[Generation]:
    """The rejected attempts that led to a generation, the first one first."""
    if generation.rung == 0:
        return []
    base, _, _ = generation.token.rpartition("#rung")
    cursor = await conn.execute(
        f"SELECT {GENERATION_COLUMNS} FROM generations WHERE project_id = %s AND scene_id = %s"
        " AND content_hash = %s AND seq < %s AND rung < %s AND error_code = 'content_rejected'"
        " AND (token = %s OR starts_with(token, %s)) ORDER BY seq",
        (
            generation.project_id,
            generation.scene_id,
            generation.content_hash,
            generation.seq,
            generation.rung,
            base,
            f"{base}#rung",
        ),
    )
    return [Generation(**row) for row in await cursor.fetchall()]


async def spent_micros(conn: Connection, generation_ids: Collection[UUID]) -> int:
    """What these generations have cost so far."""
    cursor = await conn.execute(
        "SELECT coalesce(sum(cost_micros), 0)::bigint AS spent FROM generations WHERE id = ANY(%s)",
        (list(generation_ids),),
    )
    row = await cursor.fetchone()
    return int(row["spent"]) if row else 0
