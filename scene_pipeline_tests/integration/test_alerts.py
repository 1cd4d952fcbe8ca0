"""The outbox: what is told, once each, and that nothing is lost or told in vain."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.database import alerts as outbox
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import in_database
from scene_pipeline.pipeline.alerts.delivery import DeliveryReport, deliver_alerts, pause_seconds
from scene_pipeline.pipeline.alerts.text import Message
from scene_pipeline.pipeline.alerts.webhook import AlertWebhook, PostResult, open_webhook
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider
from scene_pipeline_tests.standins.webhook import WebhookReceiver, webhook_receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[WebhookReceiver]:
    with webhook_receiver(tmp_path) as running:
        yield running


@pytest.fixture
def scripted(provider: ScriptedProvider, database_url: str, tmp_path: Path) -> Studio:
    settings = provider.settings(
        tmp_path / "home",
        ambiguous_settle_seconds=0,
        ambiguous_patience_seconds=0,
        rejection_reseeds=0,
    )
    return Studio(settings, database_url, {"fal": provider})


def make_due(studio: Studio) -> None:
    """Let the time pass that alerts wait for."""
    studio.sql("UPDATE alerts SET due_at = now() WHERE settled_at IS NULL")


def tick(
    studio: Studio, receiver: WebhookReceiver | None = None, *, is_due: bool = True
) -> DeliveryReport:
    if is_due:
        make_due(studio)
    webhook = None if receiver is None else open_webhook(load_settings(**receiver.settings))
    return deliver(studio, webhook)


def deliver(studio: Studio, webhook: AlertWebhook | None) -> DeliveryReport:
    return in_database(studio.database_url, lambda conn: deliver_alerts(conn, webhook))


def rows(studio: Studio) -> list[dict[str, Any]]:
    return [dict(row) for row in studio.sql("SELECT * FROM alerts ORDER BY id")]


def outcomes(studio: Studio) -> list[str | None]:
    return [row["outcome"] for row in rows(studio)]


def insert(studio: Studio, count: int = 1, code: str = "died", key: str | None = None) -> None:
    studio.sql(
        "INSERT INTO alerts (fingerprint, code, message, next_action, project_id, scene_id)"
        " SELECT gen_random_uuid()::text, %s, 'It failed.', 'Try again.',"
        " (SELECT id FROM projects WHERE key = %s), 'scene_' || n FROM generate_series(1, %s) n",
        code,
        key,
        count,
    )


# ------------------------------------------------------------------------------ what is told


def test_a_failed_scene_is_told_once_however_often_it_is_run(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    provider.set_fault("dies_for_good")
    scripted.bring(film(["Dawn", "Dusk"]))

    for _ in range(3):
        assert set(scripted.run().statuses.values()) == {"failed"}
        tick(scripted, receiver)

    [sent] = receiver.posts
    for words in ("film", "scene_1", "scene_2", "[died]", "2 scenes", "It failed."):
        assert words in sent.body["text"]
    assert "Dawn" not in str(sent.body)  # no prompts
    assert outcomes(scripted) == ["delivered", "delivered"]
    run_ids = {row["run_id"] for row in rows(scripted)}
    assert run_ids < set(sent.body["text"].split()) | {None}


def test_a_failure_that_is_paid_again_and_fails_again_is_told_again(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    provider.set_fault("dies_charged")
    scripted.bring(film(["Dawn"]))
    scripted.run()
    tick(scripted, receiver)
    scripted.sql("UPDATE generations SET error_retryable = true")

    scripted.run()
    tick(scripted, receiver)

    [row] = scripted.sql("SELECT sum(submit_count)::int AS n FROM generations")
    assert len(receiver.posts) == row["n"] == 2


@pytest.mark.parametrize(
    ("fault", "code", "title"),
    [
        ("image_redirect", "redirect_", "Refused for safety"),
        ("content_policy", "content_rejected", "Failed"),
        ("exhausted_balance", "balance_exhausted", "Failed: film [balance_exhausted]"),
        ("invalid_input", "", "Failed"),  # tried again by every run, since it costs nothing
        ("image_html", "not_image", "Refused for safety"),
    ],
)
def test_each_kind_of_failure_is_told_from_end_to_end(
    fal_studio: Studio, receiver: WebhookReceiver, fault: str, code: str, title: str
) -> None:
    fal_studio.bring(film([f"A lighthouse [[fault:{fault}]]"]))

    first = fal_studio.run()
    fal_studio.run()
    tick(fal_studio, receiver)
    fal_studio.run()
    tick(fal_studio, receiver)

    failure = first.outcomes["scene_1"].failure
    assert failure is not None
    assert failure.code.startswith(code)
    [text] = receiver.texts
    assert text.startswith(title)
    assert failure.code in text
    assert "scene_1" in text
    assert "Next: " in text
    assert "lighthouse" not in text


def test_a_blown_budget_is_told_once_and_again_when_the_next_scene_meets_it(
    scripted: Studio, receiver: WebhookReceiver
) -> None:
    poor = replace(
        scripted, settings=scripted.settings.model_copy(update={"project_cap_usd": Decimal(0)})
    )
    poor.bring(film(["Dawn"]))

    for _ in range(3):
        assert poor.run().statuses == {"scene_1": "blocked"}
        tick(poor, receiver)
    poor.edit(["scenes", "scene_9"], {"scene_frame_prompt": "Noon"})
    poor.run("scene_1", "scene_9")
    tick(poor, receiver)

    assert ["scene_1" in text for text in receiver.texts] == [True, False]
    assert all("Held back by a cap" in text for text in receiver.texts)


def test_an_ambiguous_payment_is_told_with_the_command_that_decides(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    provider.set_fault("lost_and_history_down")
    scripted.bring(film(["Dawn"]))

    for _ in range(2):
        assert scripted.run().statuses == {"scene_1": "ambiguous"}
        tick(scripted, receiver)

    [text] = receiver.texts
    assert text.startswith("Payment in doubt: film [submit_ambiguous]")
    assert "scene-pipeline resolve film scene_1" in text


def test_a_frame_that_cannot_be_brought_home_any_more_is_told(
    scripted: Studio, receiver: WebhookReceiver
) -> None:
    scripted.bring(film(["Dawn"]))
    scripted.run()
    scripted.sql("UPDATE scene_images SET storage_status = 'external'")
    for code in ("connect", "result_lost", "result_lost"):
        scripted.sql(
            "UPDATE generations SET heal_error_code = %s, heal_error_message = 'It is gone.'", code
        )

    tick(scripted, receiver)

    [text] = receiver.texts
    assert "[result_lost]" in text


def test_a_scratch_project_tells_nothing(scripted: Studio, provider: ScriptedProvider) -> None:
    provider.set_fault("dies_for_good")
    scripted.bring(film(["Dawn"]))
    scripted.sql("UPDATE projects SET archived_at = now(), is_scratch = true")
    scripted.sql(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,"
        " error_code) SELECT id, 'scene_1', 'key', 'fal', 'x', '', '', '{}', '', '', 1, 1, 1,"
        " 'failed', 'died' FROM projects"
    )
    [project] = scripted.sql("SELECT id FROM projects")

    async def by_hand(conn: Connection) -> bool:
        return await outbox.raise_alert(
            conn, fingerprint="x", code="x", message="x", next_action="x", project_id=project["id"]
        )

    assert not in_database(scripted.database_url, by_hand)
    assert rows(scripted) == []


def test_an_alert_of_anybody_is_told_once_for_ever(
    studio: Studio, receiver: WebhookReceiver
) -> None:
    async def raise_it(conn: Connection) -> bool:
        return await outbox.raise_alert(
            conn,
            fingerprint="document:1",
            code="document_invalid",
            message="The document cannot be used." + "x" * 5000,
            next_action="Correct it.",
        )

    new = []
    for _ in range(2):
        new.append(in_database(studio.database_url, raise_it))
        tick(studio, receiver, is_due=False)

    assert new == [True, False]
    assert len(receiver.posts) == 1


# -------------------------------------------------------------------------- what is not told


def test_what_the_pipeline_cures_at_once_is_no_news(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    provider.set_fault("dies_uncharged")
    scripted.bring(film(["Dawn"]))

    assert scripted.run().statuses == {"scene_1": "generated"}
    report = tick(scripted, receiver)

    assert outcomes(scripted) == ["outdated"]  # it was written down, and cured before its time
    assert report == DeliveryReport(outdated_count=1)
    assert receiver.posts == []


def test_a_failure_waits_a_moment_before_it_is_told(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    provider.set_fault("dies_for_good")
    scripted.bring(film(["Dawn"]))
    scripted.run()

    tick(scripted, receiver, is_due=False)

    assert receiver.posts == []
    assert outcomes(scripted) == [None]


def test_a_failure_that_a_newer_generation_follows_is_told_by_what_came_of_that(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    provider.set_fault("dies_for_good")
    scripted.bring(film(["Dawn"]))
    scripted.run()
    provider.set_fault("none")

    assert scripted.run(mode="regenerate", token="asked").statuses == {"scene_1": "generated"}
    tick(scripted, receiver)

    assert outcomes(scripted) == ["outdated"]
    assert receiver.posts == []


def test_an_alert_that_was_outdated_may_come_back(
    scripted: Studio, receiver: WebhookReceiver
) -> None:
    """The cap was raised in time, and met again before anything was sent."""
    poor = replace(
        scripted, settings=scripted.settings.model_copy(update={"project_cap_usd": Decimal(0)})
    )
    poor.bring(film(["Dawn"]))
    poor.run()
    poor.sql("UPDATE generations SET error_code = NULL")
    tick(poor, receiver)
    assert outcomes(poor) == ["outdated"]

    poor.run()
    tick(poor, receiver)

    assert outcomes(poor) == ["delivered"]
    assert len(receiver.posts) == 1


def test_trouble_that_passes_is_not_told_unless_it_does_not_pass(
    scripted: Studio, provider: ScriptedProvider
) -> None:
    provider.set_fault("too_busy")
    scripted.bring(film(["Dawn"]))

    scripted.run()

    [row] = scripted.sql("SELECT state, error_retryable FROM generations")
    assert dict(row) == {"state": "planned", "error_retryable": True}
    assert rows(scripted) == []

    scripted.sql("UPDATE generations SET take_up_attempts = 5")
    scripted.run()

    [alert] = rows(scripted)
    assert alert["message"] == "Too many requests."


# ------------------------------------------------------------------------------- how it is told


def test_five_hundred_failures_are_one_post(studio: Studio, receiver: WebhookReceiver) -> None:
    studio.bring(film(["Dawn"]))
    insert(studio, 500, key="film")

    tick(studio, receiver)
    tick(studio, receiver)

    [sent] = receiver.posts
    assert "500 scenes" in sent.body["text"]
    assert len(sent.body["alert_ids"]) == 500
    assert set(outcomes(studio)) == {"delivered"}


def test_one_tick_sends_a_bounded_number_and_the_next_ones_the_rest(
    studio: Studio, receiver: WebhookReceiver
) -> None:
    for number in range(25):
        insert(studio, 2, code=f"code_{number}")

    counts = [len(tick(studio, receiver, is_due=False).told) for _ in range(4)]

    assert counts == [10, 10, 5, 0]
    assert len(receiver.told_ids) == len(set(receiver.told_ids)) == 50


def test_projects_and_codes_are_told_apart(studio: Studio, receiver: WebhookReceiver) -> None:
    studio.bring(film(["Dawn"]))
    studio.bring(film(["Dawn"], key="other"), project_key="other", origin="other.json")
    for key in ("film", "other"):
        for code in ("died", "timeout"):
            insert(studio, 2, code=code, key=key)

    tick(studio, receiver)

    assert sorted(post.body["text"].splitlines()[0] for post in receiver.posts) == [
        "Failed: film, 2 scenes [died]",
        "Failed: film, 2 scenes [timeout]",
        "Failed: other, 2 scenes [died]",
        "Failed: other, 2 scenes [timeout]",
    ]


def test_without_a_webhook_the_log_is_told_once(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    insert(studio)

    with caplog.at_level(logging.INFO):
        first, second = tick(studio), tick(studio)

    assert len(first.told) == 1
    assert second.told == ()
    assert outcomes(studio) == ["logged"]
    [record] = [record for record in caplog.records if "It failed." in record.getMessage()]
    assert record.levelno == logging.ERROR


# ------------------------------------------------------------------ receivers that are not well


def test_a_busy_receiver_is_tried_again_no_sooner_than_it_asked(
    studio: Studio, receiver: WebhookReceiver
) -> None:
    insert(studio)
    receiver.answers += [(429, {"Retry-After": "100"}), (503, {})]

    for _ in range(2):
        [problem] = tick(studio, receiver).problems
        assert "http_status_" in problem
        [row] = studio.sql("SELECT extract(epoch FROM due_at - now())::int AS wait FROM alerts")
        assert row["wait"] >= 55
        assert tick(studio, receiver, is_due=False) == DeliveryReport()
    tick(studio, receiver)

    assert outcomes(studio) == ["delivered"]
    assert len({post.headers["Idempotency-Key"] for post in receiver.posts}) == 1


def test_a_receiver_that_does_not_answer_ends_the_tick(
    studio: Studio, receiver: WebhookReceiver
) -> None:
    for number in range(5):
        insert(studio, code=f"code_{number}")
    receiver.answers += [(500, {})] * 5

    report = tick(studio, receiver)

    assert len(report.problems) == 1
    assert len(receiver.posts) == 1


def test_a_refusal_is_given_up_into_the_log(
    studio: Studio, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    insert(studio, code="code_1")
    insert(studio, code="code_2")
    receiver.answers.append((404, {}))

    report = tick(studio, receiver)

    assert outcomes(studio) == ["given_up", "delivered"]
    assert len(report.problems) == len(report.told) == 1
    [line] = [r.getMessage() for r in caplog.records if "Told here instead" in r.getMessage()]
    assert "It failed." in line
    assert "http_status_404" in line
    assert "SECRET" not in caplog.text


def test_nobody_is_tried_for_ever(studio: Studio, receiver: WebhookReceiver) -> None:
    insert(studio)
    studio.sql("UPDATE alerts SET attempts = 29")
    receiver.answers.append((500, {}))

    tick(studio, receiver)

    assert outcomes(studio) == ["given_up"]


def test_pauses_grow_to_an_hour() -> None:
    busy = PostResult("unreachable", "")
    pauses = [pause_seconds(attempt, busy) for attempt in range(1, 31)]

    assert pauses[:4] == [30, 60, 120, 240]
    assert max(pauses) == 3600
    assert 20 * 3600 < sum(pauses) < 30 * 3600


# ------------------------------------------------------------------------ crashes and company


class Dies(BaseException):
    """The worker is gone: nothing after this happens."""


class DyingWebhook(AlertWebhook):
    """Dies at a given moment of its post."""

    def __init__(self, receiver: WebhookReceiver, *, is_posted: bool) -> None:
        super().__init__(receiver.url, load_settings(**receiver.settings))
        self._is_posted = is_posted

    def post(self, message: Message) -> PostResult:
        if self._is_posted:
            super().post(message)
        raise Dies


def pass_lease(studio: Studio) -> None:
    studio.sql("UPDATE alerts SET due_at = due_at - interval '60 seconds'")


@pytest.mark.parametrize(("is_posted", "times"), [(False, 1), (True, 2)])
def test_a_worker_that_dies_loses_nothing_and_tells_twice_at_worst(
    studio: Studio, receiver: WebhookReceiver, is_posted: bool, times: int
) -> None:
    insert(studio, 3)

    with pytest.raises(Dies):
        deliver(studio, DyingWebhook(receiver, is_posted=is_posted))
    assert tick(studio, receiver, is_due=False) == DeliveryReport()  # not before its lease is over
    pass_lease(studio)
    tick(studio, receiver, is_due=False)
    pass_lease(studio)
    tick(studio, receiver, is_due=False)

    assert set(outcomes(studio)) == {"delivered"}
    assert receiver.told_ids == [row["id"] for row in rows(studio)] * times
    assert len({post.headers["Idempotency-Key"] for post in receiver.posts}) == 1


def test_two_ticks_at_once_do_not_tell_the_same(studio: Studio, receiver: WebhookReceiver) -> None:
    for number in range(8):
        insert(studio, 20, code=f"code_{number}")
    gate = threading.Barrier(3)

    def compete() -> None:
        gate.wait(10)
        tick(studio, receiver, is_due=False)

    threads = [threading.Thread(target=compete) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(receiver.told_ids) == [row["id"] for row in rows(studio)]
    assert set(outcomes(studio)) == {"delivered"}


def test_the_ledger_does_not_wait_for_a_post(
    scripted: Studio, provider: ScriptedProvider, receiver: WebhookReceiver
) -> None:
    """While an alert is on its way, its scene fails again under the same name."""
    provider.set_fault("dies_for_good")
    scripted.bring(film(["Dawn"]))
    scripted.run()
    arrived, released = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        released.wait(4)

    receiver.on_post = hold
    thread = threading.Thread(target=tick, args=(scripted, receiver))
    thread.start()
    assert arrived.wait(10)
    scripted.sql(
        "SET lock_timeout = '500ms'; UPDATE generations SET state = 'planned';"
        " UPDATE generations SET state = 'failed'"
    )
    released.set()
    thread.join(20)

    assert outcomes(scripted) == ["delivered"]
