"""What Fal's answers complain of: read out of their bodies, made fit for messages.

Belongs here: the forms that a complaint comes in. Does not belong here: what follows from it
(`fal_errors`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scene_pipeline.errors import FlaggedInput
from scene_pipeline.providers.answers import Answer, clean_text

CONTENT_TYPES = frozenset({"content_policy_violation", "no_media_generated"})
"""Error types of content checks."""
_REFERENCE_PLACES = frozenset({"image_url", "image_urls"})
_PROMPT_PLACES = frozenset({"prompt", "negative_prompt"})


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an answer says is wrong."""

    text: str
    """One bounded line, without secrets and query strings; may be empty."""
    error_type: str | None
    flagged_input: FlaggedInput | None = None
    """What a content check objects to, by the place that it names."""


def read_complaint(answer: Answer, secrets: tuple[str, ...]) -> Complaint:
    """Read `detail` (a text, or for 422 a list of objects) and the error's type."""
    body = answer.json()
    detail: object = None
    error_type: object = None
    flagged_input: FlaggedInput | None = None
    if isinstance(body, dict):
        detail = body.get("detail", body.get("error"))
        error_type = body.get("error_type")
    if isinstance(detail, list):
        entries = [entry for entry in detail if isinstance(entry, dict)]
        flagged_input = _flagged_input(entries)
        error_type = error_type or next((entry.get("type") for entry in entries), None)
        detail = "; ".join(_entry_text(entry) for entry in entries[:3])
    error_type = error_type or answer.headers.get("x-fal-error-type")
    return Complaint(
        text=clean_text(detail, secrets) if isinstance(detail, str) else "",
        error_type=error_type if isinstance(error_type, str) else None,
        flagged_input=flagged_input,
    )


def _flagged_input(entries: Sequence[Mapping[str, Any]]) -> FlaggedInput | None:
    """Read off `detail[].loc` what is objected to: ["body", "image_urls", 0] is a reference.

    A reference outweighs the prompt: what is wrong with it does not go away with other words.
    """
    places = [
        {str(part) for part in location}
        for entry in entries
        if entry.get("type") in CONTENT_TYPES and isinstance(location := entry.get("loc"), list)
    ]
    if any(_REFERENCE_PLACES & place for place in places):
        return "reference"
    return "prompt" if any(_PROMPT_PLACES & place for place in places) else None


def _entry_text(entry: Mapping[str, Any]) -> str:
    location = entry.get("loc")
    place = ".".join(str(part) for part in location) if isinstance(location, list) else ""
    return ": ".join(part for part in (place, str(entry.get("msg", ""))) if part)
