"""One suite over every provider that costs something: one request, one payment, no leaked key."""

import logging
import ssl
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scene_pipeline.errors import AmbiguousSubmitError, ConfigurationError, ProviderError
from scene_pipeline.providers.base import ImageRequest, ReferencePicture
from scene_pipeline.providers.keys import checked_token
from scene_pipeline_tests.contract.provider_rigs import (
    PAID_KINDS,
    PaidRig,
    completed,
    open_paid_rig,
)


@pytest.fixture(params=PAID_KINDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PaidRig]:
    with ExitStack() as opened:
        yield open_paid_rig(request.param, opened, tmp_path)


def request_for(
    rig: PaidRig, prompt: str = "A quiet harbour", generation_id: str = "g", **changes: object
) -> ImageRequest:
    fields: dict[str, object] = {"seed": 7, "width": 512, "height": 512, **changes}
    return ImageRequest(generation_id, rig.endpoint, prompt, **fields)  # type: ignore[arg-type]  # overrides


def contacts(rig: PaidRig) -> int:
    return len(rig.service.contacts)


def told_by(error: ProviderError) -> str:
    told = "".join(traceback.format_exception(error)) + repr(error)
    return told + error.next_action + repr(vars(error))


def test_an_answer_that_was_lost_is_ambiguous_and_was_paid_once(rig: PaidRig) -> None:
    for number, fault in enumerate(rig.lost_answers, start=1):
        rig.service.faults.add(fault)

        with pytest.raises(AmbiguousSubmitError) as caught:
            rig.provider.submit(request_for(rig, f"Harbour {number}"))

        assert (caught.value.charge, caught.value.retryable) == ("unknown", False)
        assert len(rig.service.meter.accepted) == contacts(rig) == number
        assert rig.secret not in told_by(caught.value)


def test_a_refusal_proves_that_nothing_was_charged(rig: PaidRig) -> None:
    for number, (fault, code) in enumerate(rig.refusals.items(), start=1):
        rig.service.faults.add(fault)

        with pytest.raises(ProviderError) as caught:
            rig.provider.submit(request_for(rig))

        error = caught.value
        assert not isinstance(error, AmbiguousSubmitError)
        assert (error.error_code, error.charge, error.retryable) == (code, "not_charged", False)
        assert error.stops_the_line == (code in {"key_rejected", "balance_exhausted"})
        assert contacts(rig) == number
        assert rig.secret not in told_by(error)
    assert rig.service.meter.accepted == []


def test_a_rate_limit_is_handed_on_with_its_waiting_time(rig: PaidRig) -> None:
    rig.service.faults.add(rig.rate_limit)

    with pytest.raises(ProviderError) as caught:
        rig.provider.submit(request_for(rig))

    error = caught.value
    assert (error.error_code, error.charge, error.retryable) == (
        "rate_limited",
        "not_charged",
        True,
    )
    assert error.retry_after_seconds == 1.0
    assert contacts(rig) == 1
    assert rig.provider.submit(request_for(rig)).request_id


def test_what_cannot_be_reached_costs_nothing(rig: PaidRig) -> None:
    rig.service.proxy.connect_failures = 1
    untrusting = ssl.create_default_context()
    ways = (
        rig.provider,
        rig.connected(rig.service.tls_context(), "http://127.0.0.1:9"),
        rig.connected(untrusting, rig.service.proxy_url),
    )

    for provider in ways:
        with pytest.raises(ProviderError) as caught:
            provider.submit(request_for(rig))
        error = caught.value
        assert (error.error_code, error.charge) == ("provider_unreachable", "not_charged")
        assert error.retryable
        assert rig.secret not in told_by(error)
    assert contacts(rig) == 0


def test_parallel_requests_are_each_paid_once(rig: PaidRig) -> None:
    prompts = [f"Harbour number {number}" for number in range(16)]

    with ThreadPoolExecutor(8) as pool:
        ids = pool.map(
            lambda prompt: rig.provider.submit(request_for(rig, prompt, prompt)).request_id, prompts
        )

    assert len(set(ids)) == 16
    assert [rig.service.meter.paid_for(prompt) for prompt in prompts] == [1] * 16


def test_arguments_are_passed_through_and_never_replace_what_the_ledger_stands_on(
    rig: PaidRig,
) -> None:
    for name in ("prompt", "seed"):
        with pytest.raises(ProviderError, match=name) as caught:
            rig.provider.submit(request_for(rig, arguments={name: 1}))
        assert (caught.value.error_code, caught.value.charge) == (
            "argument_reserved",
            "not_charged",
        )
    assert contacts(rig) == 0
    assert rig.provider.submit(request_for(rig, arguments={"enhance": False})).request_id


@pytest.mark.parametrize("endpoint", ["flux?key=x", "../x/y", "a/b#c", "", "a b/c", "x" * 500])
def test_a_models_name_cannot_change_the_address(rig: PaidRig, endpoint: str) -> None:
    request = ImageRequest("g", endpoint, "A quiet harbour", 7, 512, 512)

    with pytest.raises(ProviderError) as caught:
        rig.provider.submit(request)

    assert (caught.value.error_code, caught.value.charge) == ("model_invalid", "not_charged")
    assert contacts(rig) == 0


def test_a_model_without_references_refuses_them_unpaid(rig: PaidRig) -> None:
    reference = ReferencePicture("0" * 64, "image/png", "https://x.test/a.png?sig=abc", "scene_2")
    endpoint = next(name for name, count in rig.reference_limits.items() if count == 0)
    request = ImageRequest("g", endpoint, "x", 7, 512, 512, references=(reference,))

    with pytest.raises(ProviderError) as caught:
        rig.provider.submit(request)

    assert (caught.value.error_code, caught.value.charge) == (
        "references_unsupported",
        "not_charged",
    )
    assert "sig=abc" not in told_by(caught.value)
    assert contacts(rig) == 0


def test_the_key_goes_to_the_service_and_to_nobody_else(
    rig: PaidRig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    request = request_for(rig)
    submission = rig.provider.submit(request)
    rig.provider.cancel(submission)
    rig.provider.find_lost(request, datetime.now(UTC))
    another = request_for(rig, generation_id="h")
    fresh = rig.provider.submit(another)
    completed(rig.provider, another, fresh)
    result = rig.provider.fetch_result(another, fresh)
    for image in result.images:
        if image.url is not None:
            rig.downloads(image.url)

    keyed = {contact.host for contact in rig.service.contacts if contact.has_key}
    assert keyed <= rig.own_hosts
    assert keyed
    assert rig.service.proxy.refused_hosts == []
    assert rig.secret not in caplog.text
    assert rig.secret not in repr(rig.provider) + repr(submission) + repr(result)


@pytest.mark.parametrize("key", ["", "  ", "one two", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_token(key, variable="REPLICATE_API_TOKEN", code="replicate_token_invalid")

    assert caught.value.error_code == "replicate_token_invalid"
    assert not key.strip() or key.strip() not in str(caught.value)
