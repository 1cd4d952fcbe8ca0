"""What alerts say: bounded, escaped, and without what must not leave."""

import json
from dataclasses import replace

import pytest

from scene_pipeline.database.alerts import AlertRow
from scene_pipeline.pipeline.alerts.text import NAMED_SCENES, clean, compose, shortened

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


def test_a_long_list_is_shortened_and_neither_code_nor_next_action_is() -> None:
    scenes = ", ".join(f"film/a-scene-with-a-long-name-{number}" for number in range(60))
    words = (
        f"The run failed: [urls_broken] Current URLs that do not serve their bytes, 60: {scenes}"
    )
    action = "See what is lost and can be repaired: `scene-pipeline reconcile film`."

    told = shortened(f"{words} and 3 more. {action}")

    assert len(told) <= 600
    assert told.startswith("The run failed: [urls_broken] Current URLs that")
    assert told.endswith(f" [...] {action}")
    [line, _] = compose([replace(ALERT, message=f"{words}. {action}", next_action="")]).lines
    assert line.startswith("scene_3: The run failed: [urls_broken]")
    assert line.endswith(action)


def test_a_message_of_one_endless_word_is_bounded_too() -> None:
    assert len(shortened("x" * 5000)) == 600


def test_the_end_of_a_signed_address_is_not_what_is_left_of_it() -> None:
    address = f"https://b.s3.example/c.png?X-Amz-Security-Token={'T' * 700}&X-Amz-Signature=5e5e5e"

    told = shortened(f"The run failed: ConnectionError: could not read {address}")

    assert told.endswith("could not read https://b.s3.example/c.png?...")


def test_what_is_short_is_told_whole() -> None:
    assert shortened("Short.") == "Short."


@pytest.mark.parametrize("letter", ["x", "&"])
@pytest.mark.parametrize("scenes", [1, 40])
def test_every_next_action_arrives_whole(letter: str, scenes: int) -> None:
    action = f"Run `scene-pipeline run film --scene {letter * 200}`, or `scene-pipeline heal`."
    alerts = [
        replace(
            ALERT, id=n, scene_id=f"{n}" + letter * 90, message=letter * 1500, next_action=action
        )
        for n in range(scenes)
    ]
    others = [
        replace(ALERT, id=100 + n, message=f"{n} {'y ' * 700}", next_action=f"{n}: {action}")
        for n in range(20)
    ]

    payload = compose([*alerts, *others]).payload()

    shown = action.replace("&", "&amp;")
    sections = [block["text"]["text"] for block in payload["blocks"]]
    told = [section for section in sections if "Next: " in section]
    assert told
    assert all(section.endswith(shown) for section in told)
    assert all(len(section) <= 2900 for section in sections)
    assert payload["text"].count(shown) == len(told)
    assert len(payload["text"]) <= 8000
    assert f"And {20 - (len(told) - 1)} more" in payload["text"]


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
