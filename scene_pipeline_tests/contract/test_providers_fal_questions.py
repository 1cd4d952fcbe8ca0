"""Status, result, cancel and history: questions that are safe to repeat, answered tolerantly."""

import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from PIL import Image

from scene_pipeline.drill.standin.faults import STAGES
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, LostRequest, Submission
from scene_pipeline.providers.fal import FalProvider


class Clock:
    """A clock that is set by hand on top of the real one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standin(tmp_path: Path, clock: Clock) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path, queue_seconds=0.0, run_seconds=0.0, clock=clock) as running:
        yield running


@pytest.fixture
def provider(standin: FalStandIn) -> Iterator[FalProvider]:
    opened = FalProvider(
        standin.key,
        standin.tls_context(),
        standin.proxy_url,
        question_timeout_seconds=5.0,
    )
    yield opened
    opened.close()


def request_for(prompt: str = "A quiet harbour", seed: int = 7) -> ImageRequest:
    return ImageRequest("g", "fal-ai/flux/schnell", prompt, seed, 1024, 576)


STATUS_FAILURES = {
    # fault: code, retryable, charge; retryable and not charged: another request may be made
    "status_unknown": ("status_unknown", True, "unknown"),
    "status_not_json": ("answer_unreadable", True, "unknown"),
    "status_rate_limited": ("rate_limited", True, "unknown"),
    "status_unavailable": ("provider_unavailable", True, "unknown"),
    "status_dropped": ("answer_unreadable", True, "unknown"),
    "status_missing": ("result_lost", False, "unknown"),
    "completed_error": ("internal_error", False, "unknown"),
    "runner_disconnected": ("runner_failed", True, "not_charged"),
    "startup_timeout": ("startup_timeout", True, "not_charged"),
    "request_timeout": ("request_timeout", True, "not_charged"),
    "content_policy_in_status": ("content_rejected", False, "unknown"),
}
RESULT_FAILURES = {
    "content_policy": ("content_rejected", False, "unknown"),
    "content_policy_reference": ("content_rejected", False, "unknown"),
    "result_unavailable": ("provider_unavailable", True, "unknown"),
    "result_not_json": ("answer_unreadable", True, "unknown"),
    "result_too_long": ("answer_unreadable", True, "unknown"),
    "result_dropped": ("answer_unreadable", True, "unknown"),
    "no_images": ("result_unreadable", False, "charged"),
    "data_url": ("result_unreadable", False, "charged"),
    "early_result": ("not_completed", True, "unknown"),
}


def test_every_fault_of_status_and_result_is_examined_here() -> None:
    def of(stage: str) -> set[str]:
        return {name for name, struck in STAGES.items() if struck == stage}

    assert of("status") == {*STATUS_FAILURES, "status_bare", "endless_logs"}
    fine = {"nsfw_flagged", "nsfw_first", "black_frame", "bare_result", "result_lost"}
    assert of("result") == {*RESULT_FAILURES, *fine}


@pytest.mark.parametrize("fault", STATUS_FAILURES)
def test_a_bad_status_tells_whether_to_ask_again(
    fault: str, standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.poll(request, submission)

    error = caught.value
    assert (error.error_code, error.retryable, error.charge) == STATUS_FAILURES[fault]


@pytest.mark.parametrize("fault", RESULT_FAILURES)
def test_a_bad_result_tells_whether_to_ask_again(
    fault: str, standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.fetch_result(request, submission)

    error = caught.value
    assert (error.error_code, error.retryable, error.charge) == RESULT_FAILURES[fault]
    assert len(provider.fetch_result(request, submission).images) == 1


def test_asking_to_wait_long_is_capped_at_two_minutes(
    standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add("status_rate_limited")  # Retry-After: 500

    with pytest.raises(ProviderError) as caught:
        provider.poll(request, submission)

    assert caught.value.retry_after_seconds == 120.0


def test_a_status_without_logs_and_position_is_read(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.jobs.queue_seconds = 60.0
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add("status_bare")

    progress = provider.poll(request, submission)

    assert (progress.state, progress.queue_position, progress.log_lines) == ("queued", None, ())


def test_states_and_positions_are_what_the_queue_says(
    standin: FalStandIn, provider: FalProvider, clock: Clock
) -> None:
    standin.jobs.queue_seconds, standin.jobs.run_seconds = 60.0, 60.0
    provider.submit(request_for("First"))
    request = request_for("Second")
    submission = provider.submit(request)

    queued = provider.poll(request, submission)
    clock.ahead = 90.0
    running = provider.poll(request, submission)
    clock.ahead = 150.0
    completed = provider.poll(request, submission)

    assert (queued.state, queued.queue_position) == ("queued", 1)
    assert running.state == "running"
    assert running.log_lines == ("25%|##5 | 1/4 steps",)
    assert completed.state == "completed"


def test_log_lines_are_few_short_and_printable(standin: FalStandIn, provider: FalProvider) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add("endless_logs")

    lines = provider.poll(request, submission).log_lines

    assert len(lines) == 20
    assert all(len(line) == 500 and line.isprintable() for line in lines)


def test_the_metered_units_come_from_the_header(standin: FalStandIn, provider: FalProvider) -> None:
    request = ImageRequest("g", "fal-ai/flux/dev", "Wide", 7, 2048, 1024)
    submission = provider.submit(request)

    assert provider.fetch_result(request, submission).billable_units == 3.0
    standin.faults.add("bare_result")
    assert provider.fetch_result(request, submission).billable_units is None


def test_a_result_with_nothing_but_a_url_is_enough(
    standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add("bare_result")

    result = provider.fetch_result(request, submission)

    (image,) = result.images
    assert image.url is not None
    assert (image.width, image.content_type, image.is_flagged) == (None, None, False)
    assert result.seed is None


def test_the_safety_check_flags_the_picture(standin: FalStandIn, provider: FalProvider) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add("nsfw_flagged")

    assert provider.fetch_result(request, submission).images[0].is_flagged


def test_a_black_frame_is_a_real_picture_of_the_standin(
    standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    submission = provider.submit(request)
    standin.faults.add("black_frame")
    (image,) = provider.fetch_result(request, submission).images

    with httpx.Client(
        verify=standin.tls_context(), proxy=standin.proxy_url, trust_env=False
    ) as client:
        data = client.get(str(image.url)).content

    assert Image.open(io.BytesIO(data)).convert("L").getextrema() == (0, 0)


def test_a_result_the_queue_forgot_is_read_from_the_history(
    provider: FalProvider, clock: Clock
) -> None:
    request = request_for()
    submission = provider.submit(request)
    fresh = provider.fetch_result(request, submission)
    clock.ahead = 3601.0

    kept = provider.fetch_result(request, submission)

    assert kept.images == fresh.images
    assert kept.billable_units is None


def test_a_result_that_is_nowhere_is_lost(
    standin: FalStandIn, provider: FalProvider, clock: Clock
) -> None:
    request = request_for()
    submission = provider.submit(request)
    clock.ahead = 3601.0
    standin.api.hides_payloads = True

    with pytest.raises(ProviderError) as caught:
        provider.fetch_result(request, submission)

    assert (caught.value.error_code, caught.value.retryable) == ("result_lost", False)


def test_a_cancelled_request_ends_with_an_error(standin: FalStandIn, provider: FalProvider) -> None:
    standin.jobs.queue_seconds = 60.0
    request = request_for()
    submission = provider.submit(request)

    provider.cancel(submission)

    with pytest.raises(ProviderError) as caught:
        provider.poll(request, submission)
    assert caught.value.error_code == "cancelled"


def test_a_stored_address_on_a_foreign_host_is_never_asked(
    standin: FalStandIn, provider: FalProvider
) -> None:
    """A row of the ledger may be old or tampered with; the key stays with Fal all the same."""
    request = request_for()
    told = provider.submit(request)
    foreign = Submission(
        told.request_id,
        status_url="https://queue.fal.run@evil.example/status",
        response_url="http://queue.fal.run/fal-ai/flux/requests/x",
        cancel_url="https://evil.example/cancel",
    )

    assert provider.poll(request, foreign).state == "completed"
    assert len(provider.fetch_result(request, foreign).images) == 1
    provider.cancel(foreign)

    assert standin.proxy.refused_hosts == []
    assert {contact.host for contact in standin.contacts} == {"queue.fal.run"}


def test_pictures_are_downloaded_without_the_key(
    standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    submission = provider.submit(request)
    provider.fetch_result(request, submission)

    assert standin.media.keyed_requests == 0
    assert all(contact.has_key for contact in standin.contacts)


class TestLostRequests:
    def look(self, provider: FalProvider, request: ImageRequest) -> LostRequest:
        return provider.find_lost(request, datetime.now(UTC) - timedelta(seconds=1))

    def test_one_that_has_not_ended_is_absent(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        standin.jobs.run_seconds = 60.0
        provider.submit(request_for())

        assert self.look(provider, request_for()).verdict == "absent"

    def test_a_history_that_is_down_proves_nothing(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        provider.submit(request_for())
        standin.api.is_down = True

        assert self.look(provider, request_for()).verdict == "unknown"

    def test_a_history_without_payloads_proves_nothing(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        provider.submit(request_for())
        standin.api.hides_payloads = True

        assert self.look(provider, request_for("Another")).verdict == "unknown"

    def test_later_pages_are_read(self, standin: FalStandIn, provider: FalProvider) -> None:
        wanted = provider.submit(request_for("Wanted"))
        for number in range(5):
            provider.submit(request_for(f"Other {number}"))
        standin.api.page_size = 2

        lost = self.look(provider, request_for("Wanted"))

        assert lost.submission is not None
        assert lost.submission.request_id == wanted.request_id

    def test_a_history_that_goes_on_and_on_proves_nothing(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        for number in range(11):
            provider.submit(request_for(f"Other {number}"))
        standin.api.page_size = 1

        assert self.look(provider, request_for("Wanted")).verdict == "unknown"

    def test_of_several_the_earliest_is_taken(self, provider: FalProvider) -> None:
        first = provider.submit(request_for())
        provider.submit(request_for())

        lost = self.look(provider, request_for())

        assert lost.submission is not None
        assert lost.submission.request_id == first.request_id

    def test_one_that_succeeded_is_preferred_to_one_that_failed(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        failed = provider.submit(request_for())
        job = standin.jobs.find(failed.request_id)
        assert job is not None
        job.cancelled_at = job.ended_at
        second = provider.submit(request_for())

        lost = self.look(provider, request_for())

        assert lost.submission is not None
        assert lost.submission.request_id == second.request_id
