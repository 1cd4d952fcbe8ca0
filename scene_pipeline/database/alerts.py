"""The outbox `alerts`: what people are told once, whoever notices it however often.

A row is written in the transaction of the change it tells of (failures of generations: by triggers
of the schema) and settled after it was delivered, so that nothing is told that did not happen and
nothing that happened is lost.

Belongs here: writing, claiming and settling rows. Does not belong here: what an alert says
(`pipeline.alerts.text`), when and where it goes (`pipeline.alerts.delivery`,
`pipeline.alerts.webhook`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from scene_pipeline.database.rows import Connection

MAX_TEXT_CHARACTERS = 2000
"""Longer messages are cut: an alert is read on a telephone."""
MAX_ALERTS_PER_CLAIM = 1000

AlertOutcome = Literal["delivered", "logged", "given_up"]


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert that the caller has claimed and is to deliver."""

    id: int
    code: str
    message: str
    next_action: str
    project_key: str | None
    scene_id: str | None
    run_id: str | None
    attempts: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took: alerts of one project and code."""

    alerts: tuple[AlertRow, ...]
    """Still true, and the caller's to deliver."""
    outdated_count: int
    """No longer true by now, and settled as such."""


async def raise_alert(
    conn: Connection,
    *,
    fingerprint: str,
    code: str,
    message: str,
    next_action: str,
    project_id: UUID | None = None,
    scene_id: str | None = None,
    run_id: str | None = None,
) -> bool:
    """Write an alert inside the caller's transaction; the same fingerprint is told once for ever.

    Args:
        conn: In the transaction of the change that is told of.
        fingerprint: What makes it the same thing, such as "document:<project id>:<sha256>"; what
            may be told again under other circumstances carries these in it.
        code: Stable code of the error.
        message: What happened to what, in one sentence; without secrets, prompts or signed URLs.
        next_action: What the reader can do about it.
        project_id: The project concerned; nothing is written for a drill's scratch project.
        scene_id: The scene concerned.
        run_id: Dagster's id of the run concerned.

    Returns:
        Whether it is new.
    """
    cursor = await conn.execute(
        "INSERT INTO alerts (fingerprint, code, message, next_action, project_id, scene_id, run_id)"
        " SELECT %(fingerprint)s, %(code)s, left(%(message)s, %(longest)s),"
        " left(%(next_action)s, %(longest)s), %(project_id)s, %(scene_id)s, %(run_id)s"
        " WHERE NOT EXISTS (SELECT 1 FROM projects WHERE id = %(project_id)s AND is_scratch)"
        " ON CONFLICT (fingerprint) DO NOTHING",
        {
            "fingerprint": fingerprint,
            "code": code,
            "message": message,
            "next_action": next_action,
            "project_id": project_id,
            "scene_id": scene_id,
            "run_id": run_id,
            "longest": MAX_TEXT_CHARACTERS,
        },
    )
    return cursor.rowcount == 1


async def unjudged_runs(conn: Connection, run_ids: Sequence[str], limit: int) -> list[str]:
    """Those of some runs about which nothing was decided yet, in the order given."""
    cursor = await conn.execute(
        "SELECT given.run_id FROM unnest(%s::text[]) WITH ORDINALITY AS given (run_id, place)"
        " WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE fingerprint = 'run:' || given.run_id)"
        " ORDER BY given.place LIMIT %s",
        (list(run_ids), limit),
    )
    return [row["run_id"] for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class SceneFailure:
    """How one scene of a run failed, in the run's own words."""

    project_key: str
    scene_id: str
    code: str
    message: str
    next_action: str


async def note_failed_run(
    conn: Connection,
    *,
    run_id: str,
    project_key: str | None,
    summary: str | None,
    scenes: Sequence[SceneFailure] = (),
) -> bool:
    """Write down how a failed run was judged, in a transaction of its own.

    Args:
        conn: Outside of any transaction.
        run_id: Dagster's.
        project_key: The one project that it was on, where there was one.
        summary: What broke it; None where it is not told as such, which is noted so that nobody
            looks at it again.
        scenes: Its scenes that failed. Those of whose failure the ledger knows are told by it; of
            the others one per project, code and day.

    Returns:
        Whether there is something new to tell.
    """
    fingerprint = f"run:{run_id}"
    async with conn.transaction():
        is_new = await _tell_of_unknown(conn, run_id, scenes)
        if summary is None:
            await conn.execute(
                "INSERT INTO alerts"
                " (fingerprint, code, message, next_action, run_id, settled_at, outcome)"
                " VALUES (%s, 'run_failed', 'Not told as such.', '', %s, now(), 'outdated')"
                " ON CONFLICT (fingerprint) DO NOTHING",
                (fingerprint, run_id),
            )
            return is_new
        cursor = await conn.execute("SELECT id FROM projects WHERE key = %s", (project_key,))
        project = await cursor.fetchone()
        return await raise_alert(
            conn,
            fingerprint=fingerprint,
            code="run_failed",
            message=summary,
            next_action="See the run in Dagster's UI. What was paid for is kept; run it again once"
            " the cause is gone.",
            project_id=project["id"] if project else None,
            run_id=run_id,
        )


async def _tell_of_unknown(conn: Connection, run_id: str, scenes: Sequence[SceneFailure]) -> bool:
    """Tell of failures before or beside the ledger, such as a provider that cannot be opened."""
    is_new = False
    for scene in scenes:
        cursor = await conn.execute(
            "SELECT p.id, current_date::text AS day FROM projects p WHERE p.key = %s"
            " AND NOT EXISTS (SELECT 1 FROM generations g WHERE g.project_id = p.id"
            " AND g.scene_id = %s AND g.error_code = %s)",
            (scene.project_key, scene.scene_id, scene.code),
        )
        found = await cursor.fetchone()
        if found is not None:
            is_new |= await raise_alert(
                conn,
                fingerprint=f"scenes:{found['id']}:{scene.code}:{found['day']}",
                code=scene.code,
                message=scene.message,
                next_action=scene.next_action,
                project_id=found["id"],
                scene_id=scene.scene_id,
                run_id=run_id,
            )
    return is_new


async def claim_alerts(conn: Connection, lease_seconds: float) -> Claim | None:
    """Take the alerts of one project and code that are due, in a transaction of its own.

    Whoever claims them has `lease_seconds` to settle or postpone them; after that they are due
    again, since a worker that died cannot say whether it had delivered them. What is no longer true
    is settled here, under the row's lock: a failure that comes back at this instant waits for the
    lock and then finds its alert free to be told again.

    Returns:
        None where nothing is due.
    """
    async with conn.transaction():
        cursor = await conn.execute(_CLAIM, {"lease": lease_seconds, "limit": MAX_ALERTS_PER_CLAIM})
        rows = await cursor.fetchall()
    if not rows:
        return None
    holding = sorted((row for row in rows if row.pop("holds")), key=lambda row: row["id"])
    return Claim(tuple(AlertRow(**row) for row in holding), len(rows) - len(holding))


_CLAIM = """
WITH head AS (
    SELECT project_id, code FROM alerts WHERE settled_at IS NULL AND due_at <= now()
    ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED),
due AS (
    SELECT a.id FROM alerts a JOIN head ON a.code = head.code
        AND a.project_id IS NOT DISTINCT FROM head.project_id
    WHERE a.settled_at IS NULL AND a.due_at <= now()
    ORDER BY a.id LIMIT %(limit)s FOR UPDATE OF a SKIP LOCKED),
judged AS (SELECT a.id, alert_holds(a) AS holds FROM alerts a JOIN due USING (id))
UPDATE alerts a SET attempts = a.attempts + 1,
    due_at = now() + make_interval(secs => %(lease)s),
    settled_at = CASE WHEN NOT judged.holds THEN now() END,
    outcome = CASE WHEN NOT judged.holds THEN 'outdated' END
FROM judged WHERE judged.id = a.id
RETURNING a.id, a.code, a.message, a.next_action, a.scene_id, a.run_id, a.attempts, judged.holds,
    (SELECT p.key FROM projects p WHERE p.id = a.project_id) AS project_key
"""


async def settle_alerts(
    conn: Connection, alerts: Sequence[AlertRow], outcome: AlertOutcome
) -> None:
    """Say what became of claimed alerts, for good."""
    async with conn.transaction():
        await conn.execute(
            "UPDATE alerts SET settled_at = now(), outcome = %s"
            " WHERE id = ANY(%s) AND settled_at IS NULL",
            (outcome, [alert.id for alert in alerts]),
        )


async def postpone_alerts(conn: Connection, alerts: Sequence[AlertRow], seconds: float) -> None:
    """Give claimed alerts back, to be tried again after some time."""
    async with conn.transaction():
        await conn.execute(
            "UPDATE alerts SET due_at = now() + make_interval(secs => %s)"
            " WHERE id = ANY(%s) AND settled_at IS NULL",
            (seconds, [alert.id for alert in alerts]),
        )
