"""When the provider's address may stand in for a frame, and what planning makes of it."""

from datetime import UTC, datetime

import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.keeping.external import external_address, external_note
from scene_pipeline.scenes.planning import Standing, decide

DOWN = StorageError("S3 bucket frames cannot be reached.", code="storage_unreachable")


def standing(**changes: object) -> Standing:
    values: dict[str, object] = {
        "is_valid": True,
        "is_locked": False,
        "has_frame": True,
        "is_stale": False,
        "stale_causes": (),
        "has_open_generation": False,
        "has_request": False,
        "is_in_document": True,
        "last_failure": None,
        "is_external": True,
    }
    return Standing(**{**values, **changes})  # type: ignore[arg-type]  # plain values by name


def test_a_plain_address_stands_in() -> None:
    url = "https://v3.fal.media/files/b/picture.jpg"

    assert external_address(url, DOWN) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://host/picture.jpg?X-Amz-Signature=abc",
        "https://host/picture.jpg?",
        "https://host/picture.jpg#token",
        "https://user:secret@host/picture.jpg",
    ],
)
def test_an_address_that_may_hold_a_secret_does_not(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        external_address(url, DOWN)

    assert caught.value.error_code == "storage_failed"
    assert caught.value.retryable
    assert "secret" not in caught.value.message
    assert "Signature" not in caught.value.message


def test_without_an_address_the_stores_own_error_is_told() -> None:
    with pytest.raises(StorageError) as caught:
        external_address(None, DOWN)

    assert caught.value is DOWN


def test_other_bytes_under_our_key_are_an_alarm_and_no_outage() -> None:
    alarm = StorageError("Other bytes are there.", code="object_exists")

    with pytest.raises(StorageError) as caught:
        external_address("https://host/picture.jpg", alarm)

    assert caught.value is alarm


def test_the_note_says_until_when() -> None:
    known = external_note("scene_1", "fal", datetime(2030, 1, 2, 3, 4, tzinfo=UTC))
    unknown = external_note("scene_1", "fal", None)

    assert "2030-01-02 03:04 UTC" in known.message
    assert "nobody knows" in unknown.message
    assert "scene-pipeline heal" in known.next_action


@pytest.mark.parametrize("changes", [{}, {"is_locked": True}, {"is_in_document": False}])
def test_a_frame_at_the_provider_only_is_healed(changes: dict[str, object]) -> None:
    decision = decide(standing(**changes), regenerate=False, refresh_stale=False)

    assert decision.action == "heal"


def test_a_stored_frame_is_not_healed() -> None:
    kept = decide(standing(is_external=False), regenerate=False, refresh_stale=False)

    assert kept.action == "keep"


def test_an_edited_scene_stays_stale() -> None:
    """The old picture is healed on the way; what is told is that the scene was edited."""
    edited = decide(
        standing(is_stale=True, stale_causes=("prompt",)), regenerate=False, refresh_stale=False
    )

    assert edited.action == "stale"
