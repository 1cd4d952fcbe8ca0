"""Delivering the outbox: to the webhook where one is set, else to the log.

Every alert is told at least once and, unless a worker dies in a few milliseconds, exactly once: it
is claimed in a transaction of its own, posted, and settled right after the answer. A worker that
dies before the post leaves it to a later tick; one that dies between the answer and its note of it,
or sleeps through its lease, makes it come twice, with the same `alert_ids` and `Idempotency-Key`.

Belongs here: how many, how often, and when to stop. Does not belong here: what is due
(`database.alerts`), words (`pipeline.alerts.text`), the request (`pipeline.alerts.webhook`).
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from scene_pipeline.database import alerts as outbox
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.alerts.text import Message, compose
from scene_pipeline.pipeline.alerts.webhook import AlertWebhook, PostResult

MAX_MESSAGES_PER_TICK = 10
TICK_SECONDS = 12.0
"""No post begins later than this; with the last one's time a tick stays below 20 s."""
LEASE_SECONDS = 60.0
"""How long a claim holds: three times the longest tick."""
MAX_ATTEMPTS = 30
"""About a day, by the pauses below; then the log has it."""
_FIRST_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one tick did."""

    told: tuple[str, ...] = ()
    """Messages that were delivered or logged, each in one line."""
    problems: tuple[str, ...] = ()
    """Posts that failed, and why."""
    outdated_count: int = 0
    """Alerts that were not true any more."""


async def deliver_alerts(conn: Connection, webhook: AlertWebhook | None) -> DeliveryReport:
    """Tell what is due, one message per project and code, bounded in number and time.

    A receiver that does not answer ends the tick: the others would wait for it too.

    Args:
        conn: Outside of any transaction.
        webhook: None tells the log.

    Raises:
        psycopg.Error: The database failed; what was not settled is due again after its lease.
    """
    begun_at = time.monotonic()
    told: list[str] = []
    problems: list[str] = []
    outdated_count = 0
    while len(told) + len(problems) < MAX_MESSAGES_PER_TICK:
        if time.monotonic() - begun_at > TICK_SECONDS:
            break
        claim = await outbox.claim_alerts(conn, LEASE_SECONDS)
        if claim is None:
            break
        outdated_count += claim.outdated_count
        if not claim.alerts:
            continue
        message = compose(claim.alerts)
        if webhook is None:
            _log.error("%s", message.plain)
            await outbox.settle_alerts(conn, claim.alerts, "logged")
            told.append(message.plain)
            continue
        # In a thread, because it blocks; nothing else waits for this loop, and no transaction does.
        result = await asyncio.to_thread(webhook.post, message)
        if result.verdict == "delivered":
            await outbox.settle_alerts(conn, claim.alerts, "delivered")
            told.append(message.plain)
            continue
        problems.append(await _after_failure(conn, claim, message, result))
        if result.verdict == "unreachable":
            break
    return DeliveryReport(tuple(told), tuple(problems), outdated_count)


async def _after_failure(
    conn: Connection, claim: outbox.Claim, message: Message, result: PostResult
) -> str:
    """Postpone what may yet be delivered; give up, into the log, what may not.

    Returns:
        What is said about it.
    """
    worn_out = tuple(
        alert
        for alert in claim.alerts
        if result.verdict == "refused" or alert.attempts >= MAX_ATTEMPTS
    )
    waiting = tuple(alert for alert in claim.alerts if alert not in worn_out)
    if waiting:
        pause = pause_seconds(min(alert.attempts for alert in waiting), result)
        await outbox.postpone_alerts(conn, waiting, pause)
        _log.warning("An alert waits: %s", result.reason)
    if not worn_out:
        return f"Tried again later: {result.reason}"
    # Before the row says so: an alert that nobody takes is told here, rather twice than never.
    _log.error("%s Told here instead: %s", result.reason, message.plain)
    await outbox.settle_alerts(conn, worn_out, "given_up")
    return f"Given up: {result.reason} {message.plain}"


def pause_seconds(attempts: int, result: PostResult) -> float:
    """How long to wait after so many attempts: 30 s, doubled up to an hour, or as asked for."""
    pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 10), _LONGEST_PAUSE_SECONDS)
    return max(pause, result.retry_after_seconds or 0.0)
