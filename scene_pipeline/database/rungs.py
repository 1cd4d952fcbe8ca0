"""The next attempt after a failed one, planned in the transaction that ends the failed one.

Between "this one failed" and "another one is due" a crash can therefore not come: what is left
after it is an open generation like any other. The request that asked for the first one is answered
by the last.

Belongs here: those rows. Does not belong here: which attempt is next (`pipeline.planning.ladder`,
`pipeline.planning.fallbacks`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from scene_pipeline.database.rows import GENERATION_COLUMNS, Connection, Generation


@dataclass(frozen=True, slots=True)
class NewRung:
    """What is different from the failed generation."""

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
    fallback: Mapping[str, Any] | None
    """As in `Generation`."""


# What an attempt of an earlier run leaves behind that cost nothing: it is planned anew in its own
# row, since its key stands for this place after this generation.
_AGAIN: LiteralString = (
    "seq = DEFAULT, state = 'planned', run_id = EXCLUDED.run_id, provider = EXCLUDED.provider,"
    " endpoint = EXCLUDED.endpoint, request_hash = EXCLUDED.request_hash, seed = EXCLUDED.seed,"
    " parameters = EXCLUDED.parameters, image_count = EXCLUDED.image_count,"
    " estimated_micros = EXCLUDED.estimated_micros, unit = EXCLUDED.unit,"
    " unit_price_usd = EXCLUDED.unit_price_usd, fallback = EXCLUDED.fallback,"
    " max_submits = generations.submit_count + 1, reference_images = DEFAULT, request_id = NULL,"
    " status_url = NULL, response_url = NULL, cancel_url = NULL, result = NULL,"
    " finished_at = NULL, submitting_at = NULL, submitted_at = NULL, cost_micros = NULL,"
    " cost_kind = NULL, error_code = NULL, error_message = NULL, error_next_action = NULL,"
    " error_retryable = NULL, error_charge = NULL, take_up_at = DEFAULT, take_up_attempts = 0,"
    " updated_at = now()"
)
_COST_NOTHING: LiteralString = (
    "(generations.state = 'abandoned' OR (generations.state = 'failed'"
    " AND generations.error_charge = 'not_charged' AND generations.flagged_input IS NULL))"
)


async def plan_rung(
    conn: Connection, failed: Generation, new: NewRung, run_id: str
) -> Generation | None:
    """Write the next attempt and let it answer the request of the failed one; nothing is paid.

    Args:
        conn: In the transaction that ended the failed generation.
        failed: In state `failed`.
        new: The next attempt.
        run_id: Of the run that saw the failure.

    Returns:
        The row; None where the scene has gone on meanwhile (it was edited, removed, archived or
        locked with a frame, or it has another open generation), and where this attempt was made
        before and may have cost something.
    """
    try:
        async with conn.transaction():
            planned = await _write(conn, failed, new, run_id)
    except UniqueViolation:
        return None
    if planned is not None:
        await conn.execute(
            "UPDATE regeneration_requests"
            " SET state = 'claimed', generation_id = %s, finished_at = NULL"
            " WHERE generation_id = %s AND state IN ('claimed', 'failed')",
            (planned.id, failed.id),
        )
    return planned


async def _write(
    conn: Connection, failed: Generation, new: NewRung, run_id: str
) -> Generation | None:
    cursor = await conn.execute(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, token, run_id, provider,"
        " endpoint, scene_prompt, prompt, negative_prompt, content, content_hash, request_hash,"
        " width, height, seed, parameters, image_count, rung, overrides, estimated_micros, unit,"
        " unit_price_usd, fallback)"
        " SELECT f.project_id, f.scene_id, %(key)s, %(token)s, %(run_id)s, %(provider)s,"
        " %(endpoint)s, f.scene_prompt, f.prompt, f.negative_prompt, f.content, f.content_hash,"
        " %(request_hash)s, f.width, f.height, %(seed)s, %(parameters)s, %(image_count)s,"
        " %(rung)s, f.overrides, %(estimated)s, %(unit)s, %(unit_price)s, %(fallback)s"
        " FROM generations f JOIN projects p ON p.id = f.project_id"
        " JOIN scenes s ON s.project_id = f.project_id AND s.scene_id = f.scene_id"
        " WHERE f.id = %(failed)s AND f.state = 'failed' AND s.retired_at IS NULL"
        " AND (p.archived_at IS NULL OR p.is_scratch)"
        " AND s.content_hash = f.content_hash"
        " AND scene_entry(p.master_json, f.scene_id) ->> 'scene_frame_prompt' = f.scene_prompt"
        " AND NOT (s.locked AND EXISTS (SELECT 1 FROM scene_images i"
        "  WHERE i.project_id = s.project_id AND i.scene_id = s.scene_id AND i.is_current))"
        f" ON CONFLICT (idempotency_key) DO UPDATE SET {_AGAIN} WHERE {_COST_NOTHING}"
        f" RETURNING {GENERATION_COLUMNS}",
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
            "fallback": None if new.fallback is None else Jsonb(dict(new.fallback)),
            "failed": failed.id,
        },
    )
    row = await cursor.fetchone()
    return Generation(**row) if row else None


async def earlier_attempts(conn: Connection, generation: Generation) -> list[Generation]:
    """Attempts of one request that may have led to a generation; a lower rung comes first."""
    if generation.rung == 0:
        return []
    base, _, _ = generation.token.rpartition("#rung")
    cursor = await conn.execute(
        f"SELECT {GENERATION_COLUMNS} FROM generations WHERE project_id = %s AND scene_id = %s"
        " AND content_hash = %s AND rung < %s AND (token = %s OR starts_with(token, %s))"
        " ORDER BY rung, seq",
        (
            generation.project_id,
            generation.scene_id,
            generation.content_hash,
            generation.rung,
            base,
            f"{base}#rung",
        ),
    )
    return [Generation(**row) for row in await cursor.fetchall()]


async def hand_back(conn: Connection, last: Generation, first: Generation) -> None:
    """Let an earlier attempt answer what the last one failed to, since it is tried again."""
    await conn.execute(
        "UPDATE regeneration_requests SET generation_id = %s"
        " WHERE generation_id = %s AND state = 'failed'",
        (first.id, last.id),
    )


async def spent_micros(conn: Connection, generation_ids: Collection[UUID]) -> int:
    """What these generations have cost so far."""
    cursor = await conn.execute(
        "SELECT coalesce(sum(cost_micros), 0)::bigint AS spent FROM generations WHERE id = ANY(%s)",
        (list(generation_ids),),
    )
    row = await cursor.fetchone()
    return int(row["spent"]) if row else 0
