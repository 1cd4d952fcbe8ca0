"""Reading the rows of the ledger.

Belongs here: questions about generations. Does not belong here: moving them on (`ledger`,
`ambiguity`, `versions`).
"""

from uuid import UUID

from scene_pipeline.database.projects import project_key
from scene_pipeline.database.rows import GENERATION_COLUMNS, OPEN, Connection, Generation
from scene_pipeline.errors import LedgerError, named


async def get_generation(conn: Connection, generation_id: UUID) -> Generation:
    """Read one row.

    Raises:
        LedgerError: There is no such row.
    """
    cursor = await conn.execute(
        f"SELECT {GENERATION_COLUMNS} FROM generations WHERE id = %s",
        (generation_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        message = f"Generation {generation_id} does not exist."
        raise LedgerError(message, code="generation_missing")
    return Generation(**row)


async def find_by_key(conn: Connection, idempotency_key: str) -> Generation | None:
    """The row that stands for exactly this request, if it was ever planned."""
    cursor = await conn.execute(
        f"SELECT {GENERATION_COLUMNS} FROM generations WHERE idempotency_key = %s",
        (idempotency_key,),
    )
    row = await cursor.fetchone()
    return Generation(**row) if row else None


async def open_generation(conn: Connection, project_id: UUID, scene_id: str) -> Generation | None:
    """The one generation of a scene that is not finished, if there is one."""
    cursor = await conn.execute(
        f"SELECT {GENERATION_COLUMNS} FROM generations"
        f" WHERE project_id = %s AND scene_id = %s AND {OPEN}",
        (project_id, scene_id),
    )
    row = await cursor.fetchone()
    return Generation(**row) if row else None


async def count_attempts(
    conn: Connection, project_id: UUID, scene_id: str, content_hash: str
) -> int:
    """How many first-frame generations of this content failed after they may have been paid.

    One that was followed by further rungs counts once, together with them.
    """
    cursor = await conn.execute(
        "SELECT count(DISTINCT split_part(token, '#rung', 1)) AS n FROM generations"
        " WHERE project_id = %s AND scene_id = %s"
        " AND content_hash = %s AND (token = '' OR token LIKE '#rung%%' OR token LIKE 'attempt:%%'"
        "  OR token LIKE 'instead:%%')"
        " AND state = 'failed' AND error_charge IS DISTINCT FROM 'not_charged'",
        (project_id, scene_id, content_hash),
    )
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


async def other_request_ids(conn: Connection, generation: Generation) -> frozenset[str]:
    """The provider's ids of other generations that sent the same words with the same seed.

    In any project: they share the provider's account. No index serves it, since it is only asked
    where the answer to a paid request was lost.
    """
    cursor = await conn.execute(
        "SELECT request_id FROM generations WHERE provider = %s"
        " AND endpoint = %s AND seed = %s AND prompt = %s AND id <> %s AND request_id IS NOT NULL",
        (
            generation.provider,
            generation.endpoint,
            generation.seed,
            generation.prompt,
            generation.id,
        ),
    )
    return frozenset(row["request_id"] for row in await cursor.fetchall())


async def with_names(conn: Connection, generation: Generation, next_action: str) -> str:
    """A next action with the names of a generation's scene in its commands."""
    key = await project_key(conn, generation.project_id)
    return named(next_action, key, generation.scene_id)
