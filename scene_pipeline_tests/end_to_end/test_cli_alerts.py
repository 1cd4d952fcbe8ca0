"""`doctor` says where alerts go, and tries it when asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.standins.webhook import WebhookReceiver, webhook_receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[WebhookReceiver]:
    with webhook_receiver(tmp_path) as running:
        yield running


def finding(cli: CommandLine, *options: str, **env: str) -> dict[str, object]:
    answer = cli("doctor", "--json", *options, env=env)
    assert "SECRET" not in answer.out + answer.err
    [found] = [entry for entry in answer.document["findings"] if entry["name"] == "alerts"]
    return dict(found)


def test_doctor_tries_the_webhook_when_asked(cli: CommandLine, receiver: WebhookReceiver) -> None:
    env = {
        "SCENE_PIPELINE_ALERT_WEBHOOK_URL": receiver.url,
        "SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS": receiver.authority,
        "SSL_CERT_FILE": str(receiver.ca_file),
    }

    unset = finding(cli)
    untried = finding(cli, **env)
    assert receiver.posts == []
    tried = finding(cli, "--alert-test", **env)
    receiver.answers.append((404, {}))
    refused = finding(cli, "--alert-test", **env)
    wrong = finding(cli, SCENE_PIPELINE_ALERT_WEBHOOK_URL="http://hooks.example/SECRET")

    assert [entry["is_ok"] for entry in (unset, untried, tried, refused, wrong)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert "in the log" in str(unset["detail"])
    assert receiver.authority in str(untried["detail"])
    assert "http_status_404" in str(refused["detail"])
    assert [text.splitlines()[0] for text in receiver.texts] == ["Test", "Test"]
