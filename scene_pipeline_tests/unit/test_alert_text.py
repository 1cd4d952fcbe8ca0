"""What alerts say: bounded, escaped, and without what must not leave."""

import json
from dataclasses import replace

import pytest

from scene_pipeline.database.alerts import AlertRow
from scene_pipeline.pipeline.alerts.text import NAMED_SCENES, clean, compose

ALERT = AlertRow(
    id=7,
    code="died",
    message="The picture of scene scene_3 could not be made.",
    next_action="Run `scene-pipeline regenerate film scene_3`.",
    project_key="film",
    scene_id="scene_3",
    run_id="run-1",
    attempts=1,
)


def test_one_alert_names_project_scene_code_action_and_run() -> None:
    payload = compose([ALERT]).payload()

    assert payload["alert_ids"] == [7]
    for words in ("film", "scene_3", "[died]", "could not be made", "Next: Run", "run-1"):
        assert words in payload["text"]
    sections = [block["text"]["text"] for block in payload["blocks"]]
    assert sections[0] == "*Failed: film [died]*"
    assert {block["type"] for block in payload["blocks"]} == {"section"}


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("budget_exhausted", "Held back by a cap"),
        ("price_unknown", "Held back, price unknown"),
        ("submit_ambiguous", "Payment in doubt"),
        ("blocked_address", "Refused for safety"),
        ("redirect_blocked_host", "Refused for safety"),
        ("not_image", "Refused for safety"),
        ("run_failed", "Run failed"),
        ("timeout", "Failed"),
    ],
)
def test_the_title_says_what_kind_of_trouble_it_is(code: str, title: str) -> None:
    assert compose([replace(ALERT, code=code)]).title.startswith(f"{title}: film")


def test_five_hundred_alerts_are_one_bounded_message() -> None:
    alerts = [
        replace(ALERT, id=number, scene_id=f"scene_{number}", message=f"Scene {number} " * 300)
        for number in range(500)
    ]

    payload = compose(alerts).payload()

    assert len(payload["alert_ids"]) == 500
    assert len(payload["text"]) <= 8000
    assert len(payload["blocks"]) <= 50
    assert all(len(block["text"]["text"]) <= 3000 for block in payload["blocks"])
    assert "500 scenes" in payload["text"]
    assert "And 490 more" in json.dumps(payload)


def test_scenes_with_the_same_trouble_share_a_line() -> None:
    alerts = [
        replace(ALERT, id=number, scene_id=f"scene_{number}", message="The balance is exhausted.")
        for number in range(40)
    ]

    message = compose(alerts)

    assert sum("The balance is exhausted." in line for line in message.lines) == 1
    assert message.lines[0].startswith("scene_0, scene_1, ")
    assert f"and {40 - NAMED_SCENES} more: " in message.lines[0]


def test_nothing_in_a_message_can_call_upon_people_or_link_anywhere() -> None:
    hostile = replace(
        ALERT,
        project_key="<!channel> & co",
        message="<https://evil.example|click> \n\x1b[31m\u202e <!here>",
    )

    payload = compose([hostile]).payload()

    shown = json.dumps(payload, ensure_ascii=False)
    assert "<" not in shown
    assert ">" not in shown
    assert "&lt;!channel&gt; &amp; co" in payload["text"]
    assert "\x1b" not in payload["text"]
    assert "\u202e" not in payload["text"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "https://h.example/a.png?X-Amz-Signature=abc#x is gone",
            "https://h.example/a.png?... is gone",
        ),
        ("postgresql://user:pa@host/db failed", "postgresql://host/db failed"),
        ("https://user:secret@h.example/a", "https://h.example/a"),
        ("two\nlines\tof  it", "two lines of it"),
        ("is it? yes", "is it? yes"),
    ],
)
def test_addresses_lose_what_they_may_keep_secret(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_the_log_gets_one_line() -> None:
    alerts = [ALERT, replace(ALERT, id=8, scene_id="scene_4\nERROR forged")]

    assert "\n" not in compose(alerts).plain


def test_an_alert_of_no_project_says_what_it_can() -> None:
    message = compose([replace(ALERT, project_key=None, scene_id=None, run_id=None)])

    assert message.title == "Failed [died]"
    assert message.lines == (f"{ALERT.message} Next: {ALERT.next_action}",)
