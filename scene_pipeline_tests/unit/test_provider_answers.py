"""Reading what any service answers: bounded, printable, without secrets."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

import scene_pipeline.providers
from scene_pipeline.providers.answers import Answer, clean_text, retry_after_seconds
from scene_pipeline.providers.registry import PROVIDER_NAMES

ADAPTERS = "|".join(PROVIDER_NAMES)


def test_no_provider_is_built_of_parts_of_another() -> None:
    borrowed = [
        (path.stem, imported)
        for path in Path(scene_pipeline.providers.__path__[0]).glob("*.py")
        for imported in re.findall(
            rf"^ *from scene_pipeline\.providers\.({ADAPTERS})\w* import",
            path.read_text("utf-8"),
            re.MULTILINE,
        )
        if path.stem != imported and not path.stem.startswith(f"{imported}_")
    ]

    assert borrowed == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_none(body: bytes) -> None:
    assert Answer(200, {}, body).json() is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("500", 120.0),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
def test_waiting_times_are_bounded(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": text}) == seconds


def test_a_waiting_time_may_be_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=60)
    seconds = retry_after_seconds({"retry-after": format_datetime(moment, usegmt=True)})

    assert seconds is not None
    assert 50 < seconds <= 60


def test_messages_hide_secrets_and_signed_queries_and_stay_one_line() -> None:
    text = "Key abc-secret\nrefused at https://x.test/a?X-Amz-Signature=1f \x1b[31m" + "y" * 900

    cleaned = clean_text(text, ("abc-secret",))

    assert cleaned.startswith("Key [hidden] refused at https://x.test/a?[hidden] ")
    assert cleaned.isprintable()
    assert len(cleaned) == 300


@pytest.mark.parametrize(
    "text",
    [
        "Cannot GET /image/pier?model=flux&image=https%3A%2F%2Fx.test%2Fa%3FX-Amz-Signature%3D1f",
        "no picture at HTTPS%3a%2f%2Fx.test%2Fa%3FX-Amz-Signature%3D1f",
        "no picture at https://x.test/a?image=https://y.test/b?X-Amz-Signature=1f",
    ],
)
def test_a_signed_address_is_hidden_however_a_service_repeats_it(text: str) -> None:
    assert "1f" not in clean_text(text, ())
