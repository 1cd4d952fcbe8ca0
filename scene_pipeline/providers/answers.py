"""What services answer: one HTTP answer as a value, and its foreign text made fit for messages.

Belongs here: what is read out of an answer the same way whoever gave it. Does not belong here:
connections (`wire`), and what follows from an answer, which is for each adapter.
"""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

MAX_DETAIL_LENGTH = 300
"""Characters of foreign text in one message."""
MAX_RETRY_AFTER_SECONDS = 120.0

_QUERY_STRING = re.compile(r"((?:https?://|/)[^\s?\"']*)\?[^\s\"']+")
_QUOTED_ADDRESS = re.compile(r"https?%3a[^\s\"']*", re.IGNORECASE)
"""An address within another one; it may be signed, and its query has no mark of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole within its bounds."""

    status: int
    headers: Mapping[str, str]
    """Looked up case-insensitively (`httpx.Headers`)."""
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def clean_text(text: str, secrets: tuple[str, ...], *, max_length: int = MAX_DETAIL_LENGTH) -> str:
    """Make foreign text fit for messages: one bounded, printable line without secrets."""
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    text = _QUERY_STRING.sub(r"\1?[hidden]", text)
    text = _QUOTED_ADDRESS.sub("[hidden]", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds from a Retry-After header, as number or date, between 0 and 120."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
