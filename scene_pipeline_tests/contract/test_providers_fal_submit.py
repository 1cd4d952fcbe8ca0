"""The one paid call: whatever happens to the answer, exactly one request is on the wire."""

import ssl
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fal_client
import httpx
import pytest

from scene_pipeline.drill.standin.faults import LOST_ANSWERS, STAGES
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import AmbiguousSubmitError, ConfigurationError, ProviderError
from scene_pipeline.providers import fal_submit
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.providers.fal import FalProvider
from scene_pipeline.providers.fal_submit import SubmitGuard
from scene_pipeline_tests.contract.provider_rigs import ANSWER_SECONDS

Connect = Callable[..., FalProvider]

REFUSALS = {
    "bad_request": "request_invalid",
    "unauthorized": "key_rejected",
    "payment_required": "balance_exhausted",
    "exhausted_balance": "balance_exhausted",
    "model_missing": "model_unknown",
    "too_large": "request_too_large",
    "invalid_input": "request_invalid",
    "content_policy_at_submit": "content_rejected",
    "echo_key": "key_rejected",
}


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path, hang_seconds=5.0) as running:
        yield running


@pytest.fixture
def connect(standin: FalStandIn) -> Iterator[Connect]:
    opened: list[FalProvider] = []

    def build(
        *, tls_context: ssl.SSLContext | None = None, proxy: str | None = None
    ) -> FalProvider:
        provider = FalProvider(
            standin.key,
            tls_context or standin.tls_context(),
            proxy or standin.proxy_url,
            submit_timeout_seconds=ANSWER_SECONDS,
        )
        opened.append(provider)
        return provider

    yield build
    for provider in opened:
        provider.close()


@pytest.fixture
def provider(connect: Connect) -> FalProvider:
    return connect()


def request_for(prompt: str = "A quiet harbour", **changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "g",
        "endpoint": "fal-ai/flux/schnell",
        "prompt": prompt,
        "seed": 7,
        "width": 1024,
        "height": 576,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


def posts(standin: FalStandIn) -> int:
    return sum(contact.method == "POST" for contact in standin.contacts)


@pytest.mark.parametrize("fault", LOST_ANSWERS)
def test_a_lost_answer_is_ambiguous_and_was_paid_once(
    fault: str, standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add(fault)

    with pytest.raises(AmbiguousSubmitError) as caught:
        provider.submit(request_for())

    assert len(standin.meter.accepted) == 1
    assert posts(standin) == 1
    assert caught.value.charge == "unknown"
    assert not caught.value.retryable
    assert "held back" not in str(caught.value)  # fal-client did not even try again


def test_a_lost_request_is_found_in_the_history_and_adopted(
    standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    standin.faults.add("drop_after_accept")
    before = datetime.now(UTC)
    with pytest.raises(AmbiguousSubmitError):
        provider.submit(request)
    (paid,) = standin.meter.accepted
    wait_for_end(standin, paid.request_id)

    lost = provider.find_lost(request, before)

    assert lost.submission is not None
    assert lost.submission.request_id == paid.request_id
    assert provider.poll(request, lost.submission).state == "completed"
    assert len(provider.fetch_result(request, lost.submission).images) == 1


def wait_for_end(standin: FalStandIn, request_id: str) -> None:
    job = standin.jobs.find(request_id)
    assert job is not None
    job.queue_seconds = job.run_seconds = 0.0


@pytest.mark.parametrize(("fault", "code"), REFUSALS.items())
def test_a_refusal_proves_that_nothing_was_charged(
    fault: str, code: str, standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    error = caught.value
    assert not isinstance(error, AmbiguousSubmitError)
    assert (error.error_code, error.charge, error.retryable) == (code, "not_charged", False)
    assert error.stops_the_line == (code in {"key_rejected", "balance_exhausted"})
    assert (len(standin.meter.accepted), posts(standin)) == (0, 1)


def test_every_refusal_of_the_standin_is_in_the_table_above() -> None:
    before = {name for name, stage in STAGES.items() if stage == "before"}
    assert before == {*REFUSALS, "rate_limited", "drop_before_accept"}


def test_a_rate_limit_is_handed_on_with_its_waiting_time(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add("rate_limited")

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    error = caught.value
    assert (error.error_code, error.charge, error.retryable) == (
        "rate_limited",
        "not_charged",
        True,
    )
    assert error.retry_after_seconds == 1.0
    assert posts(standin) == 1
    assert provider.submit(request_for()).request_id


def test_a_connection_dropped_before_acceptance_is_ambiguous_too(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add("drop_before_accept")

    with pytest.raises(AmbiguousSubmitError):
        provider.submit(request_for())

    assert provider.find_lost(request_for(), datetime.now(UTC)).verdict == "absent"


def test_a_proxy_that_does_not_get_through_costs_nothing(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.proxy.connect_failures = 1

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    assert caught.value.error_code == "provider_unreachable"
    assert (caught.value.charge, caught.value.retryable) == ("not_charged", True)
    assert provider.submit(request_for()).request_id


def test_a_proxy_that_is_down_costs_nothing(connect: Connect) -> None:
    with pytest.raises(ProviderError) as caught:
        connect(proxy="http://127.0.0.1:9").submit(request_for())

    assert caught.value.error_code == "provider_unreachable"
    assert caught.value.charge == "not_charged"


def test_a_certificate_that_is_not_trusted_ends_it_before_anything_is_sent(
    standin: FalStandIn, connect: Connect
) -> None:
    with pytest.raises(ProviderError) as caught:
        connect(tls_context=ssl.create_default_context()).submit(request_for())

    assert caught.value.error_code == "provider_unreachable"
    assert caught.value.charge == "not_charged"
    assert standin.contacts == []


def test_addresses_on_foreign_hosts_are_rebuilt_and_never_asked(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add("wrong_hosts")
    request = request_for()

    submission = provider.submit(request)
    provider.poll(request, submission)
    provider.cancel(submission)

    base = f"https://queue.fal.run/fal-ai/flux/requests/{submission.request_id}"
    assert submission.status_url == f"{base}/status"
    assert submission.response_url == base
    assert submission.cancel_url == f"{base}/cancel"
    assert standin.proxy.refused_hosts == []


def test_an_answer_with_nothing_but_an_id_is_enough(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add("no_urls")
    request = request_for()

    submission = provider.submit(request)

    assert provider.poll(request, submission).state in {"queued", "running", "completed"}


def test_a_foreign_queue_host_is_refused_before_anything_is_sent(
    standin: FalStandIn, provider: FalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAL_QUEUE_RUN_HOST is read by fal-client itself; the key must not follow it."""
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", "https://queue.fal.run.evil.test/")

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    assert (caught.value.error_code, caught.value.charge) == ("foreign_host", "not_charged")
    assert standin.proxy.refused_hosts == []


@pytest.mark.parametrize("name", ["prompt", "seed", "num_images", "sync_mode", "image_size"])
def test_what_the_ledger_stands_on_cannot_be_passed_through(
    name: str, standin: FalStandIn, provider: FalProvider
) -> None:
    with pytest.raises(ProviderError, match=name) as caught:
        provider.submit(request_for(arguments={name: 1}))

    assert (caught.value.error_code, caught.value.charge) == ("argument_reserved", "not_charged")
    assert standin.contacts == []


@pytest.mark.parametrize(
    "endpoint", ["flux", "fal-ai/flux?fal_webhook=https://evil.test", "../x/y", "a/../b", "a/b#c"]
)
def test_an_endpoint_cannot_change_the_address(
    endpoint: str, standin: FalStandIn, provider: FalProvider
) -> None:
    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for(endpoint=endpoint))

    assert (caught.value.error_code, caught.value.charge) == ("model_invalid", "not_charged")
    assert standin.contacts == []


def test_arguments_that_are_no_json_are_never_sent(
    standin: FalStandIn, provider: FalProvider
) -> None:
    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for(arguments={"loras": object()}))

    assert (caught.value.error_code, caught.value.charge) == ("request_invalid", "not_charged")
    assert standin.contacts == []


def test_parallel_submits_are_each_paid_once(standin: FalStandIn, provider: FalProvider) -> None:
    prompts = [f"Harbour number {number}" for number in range(32)]

    with ThreadPoolExecutor(16) as pool:
        submissions = list(pool.map(lambda prompt: provider.submit(request_for(prompt)), prompts))

    assert len({submission.request_id for submission in submissions}) == 32
    assert [standin.meter.paid_for(prompt) for prompt in prompts] == [1] * 32


@pytest.mark.parametrize("fault", [*LOST_ANSWERS, *REFUSALS, "rate_limited"])
def test_no_error_carries_the_key_or_a_signed_query(
    fault: str, standin: FalStandIn, provider: FalProvider
) -> None:
    standin.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    told += caught.value.next_action + repr(vars(caught.value)) + repr(provider)
    assert "sig=abc" not in told
    for secret in (standin.key, *standin.key.split(":")):
        assert secret not in told


@pytest.mark.parametrize("key", ["", "  ", "one two", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(
    key: str, standin: FalStandIn
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FalProvider(key, standin.tls_context(), standin.proxy_url)

    assert caught.value.error_code == "fal_key_invalid"
    assert not key.strip() or key.strip() not in str(caught.value)


class TestTheGuardIsNeeded:
    """Takes the guard out, one part at a time: something must then be seen to break."""

    def test_without_the_guard_fal_client_pays_again(self, standin: FalStandIn) -> None:
        for _ in range(2):
            standin.faults.add("drop_after_accept")
        client = fal_client.SyncClient(key=standin.key)
        headers = {"Authorization": f"Key {standin.key}"}
        with httpx.Client(
            verify=standin.tls_context(), proxy=standin.proxy_url, trust_env=False, headers=headers
        ) as unguarded:
            vars(client)["_client"] = unguarded
            client.submit("fal-ai/flux/schnell", {"prompt": "A quiet harbour", "seed": 7})

        assert len(standin.meter.accepted) == 3

    def test_fal_client_sends_through_the_client_that_was_put_into_its_slot(self) -> None:
        seen: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            names = ("request_id", "response_url", "status_url", "cancel_url")
            return httpx.Response(200, json=dict.fromkeys(names, "x"))

        client = fal_client.SyncClient(key="unused")
        with httpx.Client(transport=httpx.MockTransport(answer)) as replaced:
            vars(client)["_client"] = replaced
            client.submit("fal-ai/flux/schnell", {"prompt": "x"})

        assert [request.method for request in seen] == ["POST"]
        assert "authorization" not in seen[0].headers

    def test_a_fal_client_without_the_slot_is_refused(
        self, standin: FalStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fal_client, "SyncClient", type("SyncClient", (), {"_client": None}))

        with pytest.raises(ConfigurationError) as caught:
            FalProvider(standin.key, standin.tls_context(), standin.proxy_url)

        assert caught.value.error_code == "fal_client_unsupported"

    def test_a_fal_client_that_goes_around_the_guard_is_told_as_ambiguous(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        headers = {"Authorization": f"Key {standin.key}"}
        with httpx.Client(
            verify=standin.tls_context(), proxy=standin.proxy_url, trust_env=False, headers=headers
        ) as around:
            vars(provider._client)["_client"] = around
            with pytest.raises(AmbiguousSubmitError, match="guard"):
                provider.submit(request_for())

    def test_a_second_post_within_one_submit_is_held_back(
        self, standin: FalStandIn, provider: FalProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even where a lost answer looked to fal-client like an error that it retries."""
        monkeypatch.setattr(
            fal_submit, "ambiguous_submit", lambda *_: httpx.ReadError("as if untranslated")
        )
        monkeypatch.setattr(fal_client.client, "BASE_DELAY", 0.001)
        standin.faults.add("drop_after_accept")

        with pytest.raises(AmbiguousSubmitError):
            provider.submit(request_for())

        assert posts(standin) == 1

    def test_a_thread_without_a_permit_sends_nothing(
        self, standin: FalStandIn, provider: FalProvider
    ) -> None:
        with pytest.raises(AmbiguousSubmitError):
            provider._client.submit("fal-ai/flux/schnell", {"prompt": "x"})

        assert isinstance(provider._guard, SubmitGuard)
        assert standin.contacts == []


def test_history_of_another_account_or_time_does_not_match(
    standin: FalStandIn, provider: FalProvider
) -> None:
    request = request_for()
    provider.submit(request)
    (paid,) = standin.meter.accepted
    wait_for_end(standin, paid.request_id)

    later = datetime.now(UTC) + timedelta(minutes=10)

    assert provider.find_lost(request_for(seed=8), datetime.now(UTC)).verdict == "absent"
    assert provider.find_lost(request_for("Another"), datetime.now(UTC)).verdict == "absent"
    assert provider.find_lost(request, later).verdict == "absent"


def test_a_request_of_another_generation_is_not_found_for_this_one(
    standin: FalStandIn, provider: FalProvider
) -> None:
    """With a seed that was given, two generations may send exactly the same."""
    older = provider.submit(request_for())
    wait_for_end(standin, older.request_id)
    known = {older.request_id}

    assert provider.find_lost(request_for(), datetime.now(UTC), known).verdict == "absent"

    newer = provider.submit(request_for())
    wait_for_end(standin, newer.request_id)
    found = provider.find_lost(request_for(), datetime.now(UTC), known)
    assert found.submission is not None
    assert found.submission.request_id == newer.request_id
