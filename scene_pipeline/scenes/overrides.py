"""What a command or a regeneration request sets over everything, and how such a request is read.

Belongs here: the values, and what is wrong with them. Does not belong here: how they take effect
(`scenes.requests`).

Regeneration requests are written by other programs in plain SQL, so their JSON is read strictly: a
misspelt wish would be paid for without being granted.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.fields import SeedPolicy
from scene_pipeline.scenes.json_text import kind_of
from scene_pipeline.scenes.sizes import parse_size

MAX_CANDIDATES = 8
MAX_REFERENCES = 16
MAX_SEED = 2**31 - 1
MAX_STEPS = 200
MAX_PROMPT_LENGTH = 10_000
"""Characters, as for a scene's prompt in the document."""

_PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ADDRESS = re.compile(r"https://[!-~]{1,2000}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True, slots=True)
class RequestOverrides:
    """What a command or a regeneration request sets over everything; None leaves a value alone.

    None of it is content of the document: a frame that was made with overrides is as current as one
    that was made without, until the document itself changes.
    """

    provider: str | None = None
    model: str | None = None
    image_size: str | None = None
    """A preset or "1024x576". The frame has this size and counts as up to date all the same: it is
    the document's size that decides whether it is stale."""
    seed: int | None = None
    seed_policy: SeedPolicy | None = None
    steps: int | None = None
    candidates: int | None = None
    """Pictures to ask for at once, 1 to `MAX_CANDIDATES`; each becomes a version."""
    references: tuple[str, ...] | None = None
    """Addresses of reference pictures: sent along, in the place of a continuity group's frame."""
    prompt: str | None = None
    """Takes the place of the scene's own words; style and characters stay around it. Like a suffix,
    it changes what is sent and not the content hash."""
    prompt_suffix: str | None = None
    """Added to the prompt that is sent. It changes the request and is recorded with it, but not the
    content hash: that speaks of the document alone, or the new version would be stale at once."""


def read_overrides(given: Mapping[str, Any]) -> RequestOverrides:
    """Read the overrides of a regeneration request, as JSON has them; null leaves a value alone.

    Raises:
        UsageError: code "overrides_invalid": a name that there is not, or a value that is none of
            its name's; the message names the first one.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        field = _FIELDS.get(name)
        if field is None:
            raise _invalid(f'There is no override "{name[:60]}".')
        if value is None:
            continue
        must, read = field
        known = read(value)
        if known is None:
            is_told = isinstance(value, str | int | float) and not isinstance(value, bool)
            shown = f'"{str(value)[:60]}"' if is_told else kind_of(value)
            raise _invalid(f'The override "{name}" must be {must}; it is {shown}.')
        values[name] = known
    return RequestOverrides(**values)


def given_overrides(overrides: RequestOverrides) -> dict[str, Any]:
    """What a row holds: the overrides that were given, as JSON gives them back."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(overrides).items()
        if value is not None
    }


def _whole_number(lowest: int, highest: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # other programs' serializers write 7 as 7.0
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return value if lowest <= value <= highest else None

    return read


def _text(pattern: re.Pattern[str]) -> Callable[[Any], str | None]:
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _words(value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_PROMPT_LENGTH:
        return None
    return value


def _policy(value: Any) -> SeedPolicy | None:
    return next((policy for policy in get_args(SeedPolicy) if policy == value), None)


def _size(value: Any) -> str | None:
    if not isinstance(value, str | Mapping):
        return None
    try:
        size = parse_size(value)
    except UsageError:
        return None
    return value if isinstance(value, str) else str(size)


def _references(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_REFERENCES:
        return None
    if not all(isinstance(element, str) and _ADDRESS.fullmatch(element) for element in value):
        return None
    return tuple(dict.fromkeys(value))


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "provider": ("the name of a provider", _text(_PROVIDER)),
    "model": ("a provider's name of a model", _text(_MODEL)),
    "image_size": (
        "a preset such as landscape_16_9, a text like 1024x576, or `width` and `height`, within"
        " bounds",
        _size,
    ),
    "seed": (f"a whole number from 0 to {MAX_SEED}", _whole_number(0, MAX_SEED)),
    "seed_policy": (f"one of {', '.join(get_args(SeedPolicy))}", _policy),
    "steps": (f"a whole number from 1 to {MAX_STEPS}", _whole_number(1, MAX_STEPS)),
    "candidates": (
        f"a whole number from 1 to {MAX_CANDIDATES}",
        _whole_number(1, MAX_CANDIDATES),
    ),
    "references": (f"a list of 1 to {MAX_REFERENCES} https addresses", _references),
    "prompt": (f"a text of 1 to {MAX_PROMPT_LENGTH} characters", _words),
    "prompt_suffix": (f"a text of 1 to {MAX_PROMPT_LENGTH} characters", _words),
}


def _invalid(message: str) -> UsageError:
    return UsageError(
        message,
        code="overrides_invalid",
        next_action=f"Ask again; there are {', '.join(_FIELDS)}.",
    )
