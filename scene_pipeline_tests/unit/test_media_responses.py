"""What statuses and headers mean, where it takes no server to tell."""

from datetime import UTC, datetime

import pytest

from scene_pipeline.errors import FetchError
from scene_pipeline.media.responses import Headers, check_headers, check_status

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
WHERE = "https://fal.media/x"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b"0", 0.0),
        (b"9999999999999999999999", 120.0),
        (b"Fri, 01 May 2026 12:00:30 GMT", 30.0),
        (b"Fri, 01 May 2026 11:00:00 GMT", 0.0),
        (b"Fri, 01 May 2037 12:00:00 GMT", 120.0),
        (b"soon", None),
        (b"-5", None),
        (b"", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(value: bytes, seconds: float | None) -> None:
    with pytest.raises(FetchError) as caught:
        check_status(429, Headers([(b"Retry-After", value)]), WHERE, NOW)
    assert caught.value.retryable
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "declared",
    [
        b"image/png", b"IMAGE/JPEG; charset=binary", b"image/webp", b"image/jpg",
        b"application/octet-stream", b"binary/octet-stream", b"",
    ],
)  # fmt: skip
def test_types_that_may_be_pictures_are_read_on(declared: bytes) -> None:
    headers = Headers([(b"content-type", declared), (b"content-length", b"10")])
    assert check_headers(headers, 10, WHERE) == 10


def test_an_absent_type_and_length_are_read_on() -> None:
    assert check_headers(Headers([]), 10, WHERE) is None


@pytest.mark.parametrize(
    "declared",
    [
        b"text/html", b"application/json", b"application/xml", b"image/svg+xml", b"text/plain",
        b"image/gif", b"image/avif", b"application/pdf", b"video/mp4", b"\xff\xfe\x00<script>",
    ],
)  # fmt: skip
def test_other_types_are_refused_by_name_in_plain_characters(declared: bytes) -> None:
    with pytest.raises(FetchError) as caught:
        check_headers(Headers([(b"content-type", declared)]), 10, WHERE)
    assert caught.value.error_code == "not_image"
    assert caught.value.message.isprintable()
    assert "<" not in caught.value.message
