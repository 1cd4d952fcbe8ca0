"""Posting to a webhook: what an honest receiver gets, and what a hostile one can do."""

import contextlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.pipeline.alerts import webhook as alert_webhook
from scene_pipeline.pipeline.alerts.text import Message
from scene_pipeline.pipeline.alerts.webhook import AlertWebhook, PostResult, open_webhook
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.standins.hostile_http import HostileServer, Line, Script, answer, redirect
from scene_pipeline_tests.standins.webhook import SECRET, WebhookReceiver, webhook_receiver

MESSAGE = Message("Failed: film [died]", ("scene_1: It failed.",), (3, 4))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[WebhookReceiver]:
    with webhook_receiver(tmp_path) as running:
        yield running


def opened(**settings: Any) -> AlertWebhook:
    webhook = open_webhook(load_settings(**settings))
    assert webhook is not None
    return webhook


def post(**settings: Any) -> PostResult:
    webhook = opened(**settings)
    try:
        return webhook.post(MESSAGE)
    finally:
        webhook.close()


def test_a_message_arrives_as_slack_wants_it(receiver: WebhookReceiver) -> None:
    assert post(**receiver.settings).verdict == "delivered"

    [sent] = receiver.posts
    assert sent.path == f"/services/{SECRET}?token={SECRET}"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.body == MESSAGE.payload()


def test_the_same_alerts_carry_the_same_key_and_others_another(receiver: WebhookReceiver) -> None:
    webhook = opened(**receiver.settings)
    for ids in ((3, 4), (3, 4), (3, 5)):
        webhook.post(Message("x", (), ids))
    webhook.close()

    first, again, other = (sent.headers["Idempotency-Key"] for sent in receiver.posts)
    assert first == again != other


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 422])
def test_a_refusal_is_for_good(receiver: WebhookReceiver, status: int) -> None:
    receiver.answers.append((status, {"Location": receiver.url}))

    result = post(**receiver.settings)

    assert result.verdict == "refused"
    assert f"http_status_{status}" in result.reason
    assert len(receiver.posts) == 1  # redirects are not followed


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_being_busy_is_not(receiver: WebhookReceiver, status: int) -> None:
    receiver.answers.append((status, {"Retry-After": "45"}))

    assert post(**receiver.settings) == PostResult(
        "unreachable", f"The webhook answered {status}. [http_status_{status}]", 45.0
    )


def test_an_absurd_wait_is_cut(receiver: WebhookReceiver) -> None:
    receiver.answers.append((429, {"Retry-After": "999999999"}))

    assert post(**receiver.settings).retry_after_seconds == 120.0


@pytest.fixture
def hostile(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[HostileServer, dict[str, Any]]]:
    """A server with one script, and the settings that lead to it."""
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HostileServer({"/hook": request.param}, tls=context) as server:
        yield (
            server,
            {
                "alert_webhook_url": server.url("/hook", scheme="https"),
                "trusted_private_hosts": (f"127.0.0.1:{server.port}",),
                "ssl_cert_file": ca_file,
            },
        )


def take_body(line: Line) -> None:
    """Read what was sent: a server that closes before it resets the connection."""
    line.connection.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while line.connection.recv(65536):
            pass
    line.connection.settimeout(5.0)


def endless(line: Line) -> None:
    take_body(line)
    line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        line.send(b"x" * 65536)


def silent(line: Line) -> None:
    line.hang()


def dripping(line: Line) -> None:
    line.drip(b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 100_000)


def shorter_than_it_says(line: Line) -> None:
    take_body(line)
    line.send(answer(b"x" * 100, length=10**9))


def redirecting(line: Line) -> None:
    take_body(line)
    line.send(redirect("http://169.254.169.254/latest"))


def hangs_up(line: Line) -> None:
    line.reset()


@pytest.mark.parametrize(
    ("hostile", "verdict"),
    [
        (endless, "delivered"),
        (silent, "unreachable"),
        (dripping, "unreachable"),
        (hangs_up, "unreachable"),
        (b"this is no HTTP\r\n\r\n", "unreachable"),
        (shorter_than_it_says, "delivered"),
        (redirecting, "refused"),
    ],
    indirect=["hostile"],
    ids=["endless", "silent", "dripping", "hangs-up", "no-http", "short-body", "redirect"],
)
def test_a_hostile_answer_costs_little(
    hostile: tuple[HostileServer, dict[str, Any]], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_webhook, "POST_SECONDS", 0.8)
    server, settings = hostile
    begun_at = time.monotonic()

    result = post(**settings)

    assert result.verdict == verdict
    assert time.monotonic() - begun_at < 3.0
    assert server.connection_count == 1


def test_nothing_that_is_said_gives_the_address_away(receiver: WebhookReceiver) -> None:
    receiver.answers.append((404, {}))
    settings = load_settings(**receiver.settings)
    webhook = AlertWebhook(receiver.url, settings)
    said = [repr(settings), repr(webhook), webhook.post(MESSAGE).reason]
    webhook.close()
    said.append(post(**{**receiver.settings, "ssl_cert_file": None}).reason)
    with pytest.raises(ConfigurationError) as caught:
        load_and_open(f"https://user@hooks.example/{SECRET}")
    said += [str(caught.value), caught.value.next_action]

    assert not any("SECRET" in words for words in said)


def load_and_open(url: str, **settings: Any) -> AlertWebhook | None:
    return open_webhook(load_settings(alert_webhook_url=url, **settings))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/x",
        "ftp://hooks.example/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://2130706433/x",
        "https://user:pw@hooks.example/x",
        "https://hooks.example:8443/x",
        "https://ho oks.example/x",
        "https:///x",
        "hooks.example/x",
        "https://[bad/x",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SCENE_PIPELINE_ALERT_WEBHOOK_URL") as caught:
        load_and_open(url)

    assert caught.value.error_code == "alert_webhook_invalid"


def test_a_name_that_leads_into_a_private_network_is_not_dialled(receiver: WebhookReceiver) -> None:
    """localhost on the port of https is public by its text alone."""
    result = post(alert_webhook_url="https://localhost/x", ssl_cert_file=receiver.ca_file)

    assert result.verdict == "unreachable"
    assert "blocked_address" in result.reason


def test_a_receiver_that_cannot_prove_who_it_is_gets_nothing(receiver: WebhookReceiver) -> None:
    settings = {**receiver.settings, "ssl_cert_file": None}

    result = post(**settings)

    assert result.verdict == "unreachable"
    assert "[tls]" in result.reason
    assert receiver.posts == []


def test_without_an_address_there_is_no_webhook() -> None:
    assert open_webhook(load_settings()) is None


def test_the_environments_proxies_are_ignored(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert post(**receiver.settings).verdict == "delivered"


def test_the_egress_proxy_is_used_for_what_is_not_ours() -> None:
    scripts: dict[str, Script] = {
        "hooks.example:443": answer(status="403 Forbidden"),
    }
    with HostileServer(scripts) as proxy:
        result = post(
            alert_webhook_url=f"https://hooks.example/{SECRET}",
            egress_proxy=f"http://127.0.0.1:{proxy.port}",
        )

    assert result.verdict == "unreachable"
    assert "proxy_refused" in result.reason
    assert proxy.heads[0].startswith(b"CONNECT hooks.example:443 ")
