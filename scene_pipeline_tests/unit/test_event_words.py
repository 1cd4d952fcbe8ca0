"""Events in words: every kind, with its facts, on one harmless line."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import uuid4

import pytest

from scene_pipeline.cli.event_words import MAX_LENGTH, event_line, event_words, failure_of
from scene_pipeline.cli.watch import event_json
from scene_pipeline.database.event_feed import FeedEvent
from scene_pipeline.database.events import EventKind

FACTS: dict[str, Mapping[str, Any]] = {
    "generation_progress": {"state": "queued", "message": "queued at fal", "queue_position": 3},
    "generation_complete": {"cost_micros": 3000, "cost_kind": "metered"},
    "generation_failed": {"code": "content_rejected"},
    "version_recorded": {"version": 2, "is_current": True, "rejection": None},
    "frame_check_failed": {
        "check": "prompt_unchanged_since",
        "version": 2,
        "severity": "warn",
        "words": "The prompt was edited.",
    },
    "frame_check_passed": {"check": "not_blank", "version": 3, "words": "It is a picture."},
    "upload_progress": {"source": "a.png", "bytes_received": 2**20, "bytes_total": 4 * 2**20},
    "upload_failed": {
        "source": "a.png",
        "code": "http_status_404",
        "message": "It is gone.",
        "next_action": "Look for it.",
        "is_tried_again": True,
    },
}
WORDS = {
    "generation_progress": "queued, place 3: queued at fal",
    "generation_complete": "fal has made the picture, $0.003 metered",
    "generation_failed": "failed: [content_rejected] The prompt was refused. Reword it.",
    "version_recorded": "version 2 stored, now current",
    "frame_check_failed": "check prompt unchanged since failed: The prompt was edited.",
    "frame_check_passed": "check not blank passes again: It is a picture.",
    "upload_progress": "1.0 MiB of 4.0 MiB received: a.png",
    "upload_failed": "a.png failed: [http_status_404] It is gone. Look for it."
    " It is tried again by itself.",
}


def event(kind: str, data: Mapping[str, Any], **members: Any) -> FeedEvent:
    values: dict[str, Any] = {
        "id": 7,
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "kind": kind,
        "project_key": "film",
        "scene_id": "scene_1",
        "generation_id": uuid4(),
        "import_id": None,
        "run_id": None,
        "data": data,
        "provider": "fal",
        "model": "fal-ai/flux/schnell",
        "error_code": "content_rejected",
        "error_message": "The prompt was refused.",
        "error_next_action": "Reword it.",
    }
    return FeedEvent(**values | members)


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_kind_has_words_whatever_its_facts_are(kind: str) -> None:
    hostile: Mapping[str, Any] = {"version": "\x1b[2J", "message": None, "of": []}
    for data in ({}, FACTS.get(kind, {}), hostile):
        line = event_line(event(kind, data))

        assert "film/scene_1" in line
        assert kind not in line
        assert "None" not in line
        assert line.isprintable()


@pytest.mark.parametrize(("kind", "words"), WORDS.items())
def test_an_event_is_told_with_its_facts(kind: str, words: str) -> None:
    assert event_words(event(kind, FACTS[kind])) == words


def test_a_kind_that_is_not_known_yet_is_shown_all_the_same() -> None:
    assert event_words(event("frame_gilded", {"carats": 18})) == "frame gilded (carats: 18)"


def test_what_a_provider_says_is_harmless_and_bounded() -> None:
    line = event_line(
        event(
            "generation_progress", {"state": "running", "message": "\x1b[31m\n\u202e" + "x" * 9999}
        )
    )

    assert line.isprintable()
    assert len(line) == MAX_LENGTH


def test_a_failure_that_the_ledger_no_longer_holds_is_told_by_its_code_alone() -> None:
    later = event("generation_failed", {"code": "provider_down"})

    assert failure_of(later) == {"code": "provider_down", "message": None, "next_action": None}


def test_a_program_gets_code_and_next_action_of_failures_and_of_nothing_else() -> None:
    failed = event_json(event("generation_failed", {"code": "content_rejected"}))
    sound = event_json(event("version_recorded", FACTS["version_recorded"]))

    assert failed["error"] == {
        "code": "content_rejected",
        "message": "The prompt was refused.",
        "next_action": "Reword it.",
    }
    assert sound["error"] is None
