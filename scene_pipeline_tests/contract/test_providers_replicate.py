"""Replicate's own: every way its answers can go wrong, its hour, its list, its models' inputs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from scene_pipeline.errors import AmbiguousSubmitError, ProviderError
from scene_pipeline.providers.base import ImageRequest, LostRequest, ReferencePicture, Submission
from scene_pipeline.providers.replicate import ReplicateProvider
from scene_pipeline_tests.contract.provider_rigs import ANSWER_SECONDS
from scene_pipeline_tests.standins.replicate_service import (
    BEFORE,
    LIST,
    LOST_ANSWERS,
    RESULT,
    STATUS,
    ReplicateService,
    replicate_service,
)

SCHNELL = "black-forest-labs/flux-schnell"
REFERENCE = ReferencePicture("0" * 64, "image/png", "https://x.test/a.png?sig=abc", "scene_2")

REFUSALS = {
    "bad_request": "request_invalid",
    "unauthorized": "key_rejected",
    "payment_required": "balance_exhausted",
    "forbidden": "key_rejected",
    "model_missing": "model_unknown",
    "too_large": "request_too_large",
    "invalid_input": "request_invalid",
}
STATUS_FAILURES = {
    # fault: code, retryable, charge; retryable and not charged: another request may be made
    "status_unknown": ("status_unknown", True, "unknown"),
    "poll_not_json": ("answer_unreadable", True, "unknown"),
    "poll_limited": ("rate_limited", True, "unknown"),
    "poll_unavailable": ("provider_unavailable", True, "unknown"),
    "poll_dropped": ("answer_unreadable", True, "unknown"),
    "poll_missing": ("result_lost", False, "unknown"),
    "poll_unauthorized": ("key_rejected", True, "unknown"),
    "failed": ("generation_failed", False, "unknown"),
    "failed_nsfw": ("content_rejected", False, "unknown"),
    "failed_sensitive": ("content_rejected", False, "unknown"),
    "aborted": ("startup_timeout", True, "not_charged"),
    "canceled": ("cancelled", False, "unknown"),
}
RESULT_FAILURES = {
    "no_output": ("result_lost", False, "unknown"),
    "empty_output": ("result_unreadable", False, "charged"),
    "nsfw_output": ("content_rejected", False, "unknown"),
    "data_url": ("result_unreadable", False, "charged"),
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ReplicateService]:
    with replicate_service(tmp_path) as running:
        yield running


@pytest.fixture
def provider(service: ReplicateService) -> Iterator[ReplicateProvider]:
    opened = ReplicateProvider(
        service.token,
        service.tls_context(),
        service.proxy_url,
        submit_timeout_seconds=ANSWER_SECONDS,
        question_timeout_seconds=5.0,
    )
    yield opened
    opened.close()


def request_for(prompt: str = "A quiet harbour", seed: int = 7, **changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "g",
        "endpoint": SCHNELL,
        "prompt": prompt,
        "seed": seed,
        "width": 1024,
        "height": 576,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


def test_every_fault_is_examined_here() -> None:
    assert set(BEFORE) == {*REFUSALS, "drop_before_accept", "throttled"}
    assert {*STATUS_FAILURES, "endless_logs"} == STATUS
    assert {*RESULT_FAILURES, "foreign_files"} == RESULT
    assert {"list_down", "foreign_next"} == LIST


def test_every_lost_answer_is_ambiguous_and_was_paid_once(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    for number, fault in enumerate(LOST_ANSWERS, start=1):
        service.faults.add(fault)
        request = request_for(f"Harbour {number}")

        with pytest.raises(AmbiguousSubmitError):
            provider.submit(request)

        assert len(service.meter.accepted) == service.posts == number
        lost = provider.find_lost(request, datetime.now(UTC))
        assert lost.submission is not None, fault
        assert lost.submission.request_id == service.meter.accepted[-1].request_id
        assert len(provider.fetch_result(request, lost.submission).images) == 1


@pytest.mark.parametrize(("fault", "code"), REFUSALS.items())
def test_a_refusal_proves_that_nothing_was_charged(
    fault: str, code: str, service: ReplicateService, provider: ReplicateProvider
) -> None:
    service.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    assert (caught.value.error_code, caught.value.charge) == (code, "not_charged")
    assert (service.meter.accepted, service.posts) == ([], 1)


def test_a_connection_dropped_before_acceptance_is_ambiguous_too(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    service.faults.add("drop_before_accept")

    with pytest.raises(AmbiguousSubmitError):
        provider.submit(request_for())

    assert provider.find_lost(request_for(), datetime.now(UTC)).verdict == "absent"


@pytest.mark.parametrize("fault", STATUS_FAILURES)
def test_a_bad_status_tells_whether_to_ask_again(
    fault: str, service: ReplicateService, provider: ReplicateProvider
) -> None:
    submission = provider.submit(request_for())
    service.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.poll(request_for(), submission)

    error = caught.value
    assert (error.error_code, error.retryable, error.charge) == STATUS_FAILURES[fault]
    assert error.retry_after_seconds == (120.0 if fault == "poll_limited" else None)
    assert error.flagged_input == ("output" if fault == "failed_nsfw" else None)


@pytest.mark.parametrize("fault", RESULT_FAILURES)
def test_a_bad_result_tells_what_became_of_it(
    fault: str, service: ReplicateService, provider: ReplicateProvider
) -> None:
    submission = provider.submit(request_for())
    service.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.fetch_result(request_for(), submission)

    error = caught.value
    assert (error.error_code, error.retryable, error.charge) == RESULT_FAILURES[fault]
    assert len(provider.fetch_result(request_for(), submission).images) == 1


def test_states_and_log_lines_are_what_replicate_says(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    service.run_seconds = 60.0
    submission = provider.submit(request_for())

    running = provider.poll(request_for(), submission)
    with pytest.raises(ProviderError) as early:
        provider.fetch_result(request_for(), submission)
    service.ahead = 61.0
    done = provider.poll(request_for(), submission)

    assert (running.state, running.log_lines[-1]) == ("running", "25%|##5 | 1/4")
    assert (early.value.error_code, early.value.retryable) == ("not_completed", True)
    assert done.state == "completed"
    service.faults.add("endless_logs")
    lines = provider.poll(request_for(), submission).log_lines
    assert len(lines) == 20
    assert all(len(line) <= 500 and line.isprintable() for line in lines)


def test_a_cancelled_prediction_ends_with_an_error(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    service.run_seconds = 60.0
    submission = provider.submit(request_for())

    provider.cancel(submission)

    with pytest.raises(ProviderError) as caught:
        provider.poll(request_for(), submission)
    assert caught.value.error_code == "cancelled"


def test_a_prediction_cannot_complete_after_its_deadline(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    submission = provider.submit(request_for())

    assert service.predictions[submission.request_id].deadline == "900s"


def test_after_an_hour_the_result_is_lost_and_its_files_are_gone(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    submission = provider.submit(request_for())
    (image,) = provider.fetch_result(request_for(), submission).images
    service.ahead = 3601.0

    with pytest.raises(ProviderError) as caught:
        provider.fetch_result(request_for(), submission)

    assert (caught.value.error_code, caught.value.retryable) == ("result_lost", False)
    with httpx.Client(verify=service.tls_context(), proxy=service.proxy_url) as client:
        assert client.get(str(image.url)).status_code == 404


def test_addresses_that_are_told_are_never_asked_with_the_token(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    service.faults.add("wrong_hosts")
    told = provider.submit(request_for())
    foreign = Submission(
        told.request_id,
        status_url="https://evil.example/x",
        cancel_url="https://evil.example/x",
        response_url="https://evil.example/x",
    )
    provider.poll(request_for(), foreign)
    provider.fetch_result(request_for(), foreign)
    provider.cancel(foreign)
    service.faults.add("foreign_next")

    assert provider.find_lost(request_for("Another"), datetime.now(UTC)).verdict == "unknown"

    assert {contact.host for contact in service.contacts} == {"api.replicate.com"}
    assert service.proxy.refused_hosts == []


def test_a_file_on_a_foreign_host_is_named_and_left_to_the_fetcher_to_refuse(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    submission = provider.submit(request_for())
    service.faults.add("foreign_files")

    (image,) = provider.fetch_result(request_for(), submission).images

    assert image.url == "https://files.evil.example/0.png"
    assert service.proxy.refused_hosts == []


def test_what_is_metered_is_pictures_or_seconds(provider: ReplicateProvider) -> None:
    by_picture = request_for(image_count=3)
    by_second = request_for(endpoint=f"stability-ai/sdxl:{'0' * 64}")

    pictures = provider.fetch_result(by_picture, provider.submit(by_picture))
    seconds = provider.fetch_result(by_second, provider.submit(by_second))

    assert (pictures.billable_units, len(pictures.images)) == (3.0, 3)
    assert seconds.billable_units == 1.5
    assert "input" not in pictures.raw


class TestLostPredictions:
    def look(
        self, provider: ReplicateProvider, request: ImageRequest, **known: set[str]
    ) -> LostRequest:
        return provider.find_lost(request, datetime.now(UTC) - timedelta(seconds=1), **known)

    def test_one_is_found_however_its_models_name_is_written(
        self, service: ReplicateService, provider: ReplicateProvider
    ) -> None:
        request = request_for()
        provider.submit(request)

        lost = self.look(provider, replace(request, endpoint=request.endpoint.title()))

        assert lost.verdict == "found"
        assert lost.submission is not None
        assert lost.submission.request_id == service.meter.accepted[-1].request_id

    def test_one_that_still_runs_is_found(
        self, service: ReplicateService, provider: ReplicateProvider
    ) -> None:
        service.run_seconds = 60.0
        submission = provider.submit(request_for())

        assert self.look(provider, request_for()) == LostRequest("found", submission)

    def test_others_do_not_match(self, provider: ReplicateProvider) -> None:
        submission = provider.submit(request_for())
        later = datetime.now(UTC) + timedelta(minutes=10)

        assert self.look(provider, request_for(seed=8)).verdict == "absent"
        assert self.look(provider, request_for("Another")).verdict == "absent"
        other_model = request_for(endpoint="black-forest-labs/flux-dev")
        assert self.look(provider, other_model).verdict == "absent"
        assert provider.find_lost(request_for(), later).verdict == "absent"
        known = {submission.request_id}
        assert self.look(provider, request_for(), known_ids=known).verdict == "absent"

    def test_of_several_the_earliest_that_did_not_fail_is_taken(
        self, service: ReplicateService, provider: ReplicateProvider
    ) -> None:
        failed, first, _ = (provider.submit(request_for()) for _ in range(3))
        service.predictions[failed.request_id].is_canceled = True

        assert self.look(provider, request_for()).submission == first

    def test_later_pages_are_read(
        self, service: ReplicateService, provider: ReplicateProvider
    ) -> None:
        wanted = provider.submit(request_for("Wanted"))
        for number in range(5):
            provider.submit(request_for(f"Other {number}"))
        service.page_size = 2

        assert self.look(provider, request_for("Wanted")).submission == wanted

    def test_a_list_that_is_down_or_endless_proves_nothing(
        self, service: ReplicateService, provider: ReplicateProvider
    ) -> None:
        for number in range(11):
            provider.submit(request_for(f"Other {number}"))
        service.faults.add("list_down")

        assert self.look(provider, request_for("Wanted")).verdict == "unknown"
        service.page_size = 1
        assert self.look(provider, request_for("Wanted")).verdict == "unknown"

    def test_inputs_that_are_gone_prove_nothing_unless_they_are_known(
        self, service: ReplicateService, provider: ReplicateProvider
    ) -> None:
        since = datetime.now(UTC)
        submission = provider.submit(request_for())
        service.ahead = 3601.0

        assert provider.find_lost(request_for(), since).verdict == "unknown"
        known = {submission.request_id}
        assert provider.find_lost(request_for(), since, known).verdict == "absent"


def sent(service: ReplicateService, provider: ReplicateProvider, **changes: object) -> object:
    submission = provider.submit(request_for(**changes))  # type: ignore[arg-type]  # a table's
    return service.predictions[submission.request_id].sent


def test_each_family_is_sent_what_it_takes(
    service: ReplicateService, provider: ReplicateProvider
) -> None:
    common = {"prompt": "A quiet harbour", "seed": 7}
    given = {"steps": 4, "guidance": 3.0, "negative_prompt": "fog"}

    assert sent(service, provider, **given) == common | {
        "aspect_ratio": "16:9",
        "num_outputs": 1,
        "num_inference_steps": 4,
        "output_format": "jpg",
    }
    pro = "black-forest-labs/flux-1.1-pro"
    assert sent(service, provider, endpoint=pro, references=(REFERENCE,), **given) == common | {
        "aspect_ratio": "custom",
        "width": 1024,
        "height": 576,
        "image_prompt": REFERENCE.url,
        "output_format": "jpg",
    }
    sdxl = f"stability-ai/sdxl:{'0' * 64}"
    assert sent(service, provider, endpoint=sdxl, image_count=2, **given) == common | {
        "width": 1024,
        "height": 576,
        "num_outputs": 2,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "negative_prompt": "fog",
    }
    assert service.predictions[service.meter.accepted[-1].request_id].version == "0" * 64
    unlisted = sent(service, provider, endpoint="some/body", arguments={"width": 9}, **given)
    assert unlisted == common | {"width": 9}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"arguments": {"aspect_ratio": "1:1"}}, "argument_reserved"),
        ({"arguments": {"image": "https://x.test"}}, "argument_reserved"),
        ({"arguments": {"extra": object()}}, "request_invalid"),
        ({"endpoint": "black-forest-labs/flux-kontext-dev"}, "reference_required"),
        ({"endpoint": "black-forest-labs/flux-1.1-pro", "width": 64}, "size_unsupported"),
        ({"endpoint": "stability-ai/sdxl:latest"}, "model_invalid"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_it_is_sent(
    changes: dict[str, object], code: str, service: ReplicateService, provider: ReplicateProvider
) -> None:
    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for(**changes))  # type: ignore[arg-type]  # a table's

    assert (caught.value.error_code, caught.value.charge) == (code, "not_charged")
    assert service.contacts == []
