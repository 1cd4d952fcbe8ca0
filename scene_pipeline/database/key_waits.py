"""Generations that wait for a provider's key, once the key may be there.

Belongs here: making them due. Does not belong here: which keys are set (`providers.registry`), and
what else is due (`due`).
"""

from collections.abc import Collection
from datetime import timedelta

from scene_pipeline.database.rows import OPEN, Connection


async def wake_waiting_for_keys(
    conn: Connection, error_codes: Collection[str], process_age: timedelta
) -> int:
    """Make due, once for each process, what was held up by a missing key before it began.

    A process reads its settings when it begins, so that is when a key may have come. What is held
    up again afterwards (a run may have other settings than this process) is left to its waits.

    Args:
        conn: In a transaction.
        error_codes: Of the keys that are set now.
        process_age: How long ago this process read them; only the database's clock is compared.

    Returns:
        How many.
    """
    cursor = await conn.execute(
        "UPDATE generations SET take_up_at = now(), take_up_attempts = 0, updated_at = now()"
        f" WHERE {OPEN} AND state = 'planned' AND error_code = ANY(%s)"
        " AND take_up_at > now() AND take_up_at < 'infinity' AND updated_at < now() - %s",
        (list(error_codes), process_age),
    )
    return cursor.rowcount
