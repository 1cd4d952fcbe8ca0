"""Waits for requests in flight: one bounded poller for all of them, slower the older they are.

The event loop is the heap of due times; the semaphore bounds how many questions are on the wire at
once. (1000 concurrent `subscribe` calls of the vendor's async client cost 90 s of CPU and ran 35 s
late.)
"""

import random
import time

from scene_pipeline.errors import ProviderError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.retrying import backoff_seconds
from scene_pipeline.providers.base import ImageProvider, ImageRequest, Progress, Submission

_INTERVALS = ((10.0, 0.5), (60.0, 1.0), (300.0, 2.0))
_SLOWEST_SECONDS = 5.0
"""Results can expire within six minutes, so that even an old request is asked for this often."""
MAX_ERRORS_IN_A_ROW = 10


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
    started = time.monotonic()
    await services.sleep(provider.capabilities.first_poll_seconds)
    while True:
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
        if age > services.settings.generation_timeout_seconds:
            message = f"{provider.name} has not finished request {submission.request_id} in time."
            raise ProviderError(message, code="generation_timeout", retryable=True)
        await services.sleep(poll_interval_seconds(age) * random.uniform(0.9, 1.1))  # noqa: S311  # spreads load


def _words(provider: ImageProvider, progress: Progress) -> str:
    if progress.log_lines:
        return progress.log_lines[-1]
    if progress.queue_position is not None and progress.state == "queued":
        return f"queued at {provider.name}, place {progress.queue_position}"
    return f"{progress.state} at {provider.name}"
