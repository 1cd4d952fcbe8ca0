"""Waits for requests in flight: one bounded poller for all of them, slower the older they are.

The event loop is the heap of due times; the semaphore bounds how many questions are on the wire at
once. (1000 concurrent `subscribe` calls of the vendor's async client cost 90 s of CPU and ran 35 s
late.)
"""

import random
import time
from uuid import UUID

from scene_pipeline.database.events import append_progress
from scene_pipeline.errors import ProviderError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.making.cancellation import raise_if_cancelled
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.retrying import backoff_seconds
from scene_pipeline.providers.base import ImageProvider, ImageRequest, Progress, Submission

_INTERVALS = ((10.0, 0.5), (60.0, 1.0), (300.0, 2.0))
_SLOWEST_SECONDS = 5.0
"""Results can expire within six minutes, so that even an old request is asked for this often."""
MAX_ERRORS_IN_A_ROW = 10
MAX_EVENTS = 20
"""Rows that one wait writes at most: a long queue and a talkative model say more than that."""
EVENT_SECONDS = 2.0
"""Shortest time between two rows of one request, but for the moment when it begins to run."""
MAX_MESSAGE = 500
"""Characters of a provider's log line that are kept."""


def poll_interval_seconds(age_seconds: float) -> float:
    """How long to wait before asking again about a request of this age."""
    for until, interval in _INTERVALS:
        if age_seconds < until:
            return interval
    return _SLOWEST_SECONDS


async def wait_until_completed(
    context: RunContext,
    provider: ImageProvider,
    request: ImageRequest,
    submission: Submission,
    *,
    age_seconds: float,
    voice: SceneVoice,
) -> None:
    """Return when the provider says that the request is done.

    Raises:
        ProviderError: It failed, could not be asked ten times in a row, or took longer than
            SCENE_PIPELINE_GENERATION_TIMEOUT_SECONDS (code generation_timeout, retryable: the next
            run polls on).
    """
    services = context.services
    errors = 0
    told = ""
    feed = _Feed(context, UUID(request.generation_id))
    started = time.monotonic()
    await voice.progress("sent", f"accepted by {provider.name}")
    await services.sleep(provider.capabilities.first_poll_seconds)
    while True:
        raise_if_cancelled()
        failpoint("while_polling")
        age = age_seconds + time.monotonic() - started
        try:
            async with context.polls:
                progress = await services.call(provider.poll, request, submission)
        except ProviderError as error:
            errors += 1
            if not error.retryable or error.charge != "unknown" or errors >= MAX_ERRORS_IN_A_ROW:
                raise
            await services.sleep(backoff_seconds(errors, error))
            continue
        errors = 0
        if progress.state == "completed":
            return
        text = _words(provider, progress)
        if text != told:
            told = text
            await voice.progress(progress.state, text)
            await feed.tell(progress, text)
        if age > services.settings.generation_timeout_seconds:
            message = f"{provider.name} has not finished request {submission.request_id} in time."
            raise ProviderError(message, code="generation_timeout", retryable=True)
        await services.sleep(poll_interval_seconds(age) * random.uniform(0.9, 1.1))  # noqa: S311  # spreads load


class _Feed:
    """Keeps what the provider said of one request in the events, within bounds."""

    def __init__(self, context: RunContext, generation_id: UUID) -> None:
        self._context = context
        self._generation_id = generation_id
        self._state = ""
        self._next_at = 0.0
        self._left = MAX_EVENTS

    async def tell(self, progress: Progress, text: str) -> None:
        """Write a row, where it says something new and is not too soon after the last one."""
        now = time.monotonic()
        is_new_state = progress.state != self._state
        if self._left == 0 or (now < self._next_at and not is_new_state):
            return
        self._state, self._next_at, self._left = progress.state, now + EVENT_SECONDS, self._left - 1
        data: dict[str, object] = {"state": progress.state, "message": text[:MAX_MESSAGE]}
        if progress.queue_position is not None:
            data["queue_position"] = progress.queue_position
        async with self._context.services.pool.connection() as conn:
            await append_progress(conn, self._generation_id, self._context.order.run_id, data)


def _words(provider: ImageProvider, progress: Progress) -> str:
    if progress.log_lines:
        return progress.log_lines[-1]
    if progress.queue_position is not None and progress.state == "queued":
        return f"queued at {provider.name}, place {progress.queue_position}"
    return f"{progress.state} at {provider.name}"
