"""A project's fallbacks: who else may make its frames, in order.

The list stands in the project's row, where other programs may write it, too: what cannot be used
there is told and passed over, and nothing else suffers from it.

Belongs here: the list, its form, and the words of a version that one of them made. Does not belong
here: when one is asked (`pipeline.planning.fallbacks`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scene_pipeline.errors import UsageError
from scene_pipeline.providers.registry import PROVIDER_NAMES

MAX_FALLBACKS: Final = 5
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
"""What every provider's names of models have in common; the rest is its own to judge."""
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Fallback:
    """A provider and one of its models."""

    provider: str
    model: str

    def __str__(self) -> str:
        """In words: "offline/landscape at offline"."""
        return f"{self.model} at {self.provider}"


@dataclass(frozen=True, slots=True)
class FallbackList:
    """A project's list, as far as it can be used."""

    entries: tuple[tuple[int, Fallback], ...] = ()
    """With their places in the list, from 1."""
    length: int = 0
    """Entries of the list, with those that cannot be used."""
    problems: tuple[str, ...] = ()
    """Why an entry, or the list, cannot be used."""


def parse_fallback(text: str) -> Fallback:
    """Read "PROVIDER:MODEL".

    Raises:
        UsageError: code "fallback_invalid": no such provider, or no name of a model.
    """
    provider, _, model = text.partition(":")
    fallback = Fallback(provider, model)
    problem = _problem_of(fallback)
    if problem is not None:
        raise _invalid(f"--fallback {_shown(text)}: {problem}.")
    return fallback


def checked_fallbacks(fallbacks: Sequence[Fallback]) -> tuple[Fallback, ...]:
    """Give a list back that can be used whole.

    Raises:
        UsageError: code "fallback_invalid": one of them cannot be used, is there twice, or there
            are more than five.
    """
    found = read_list([{"provider": one.provider, "model": one.model} for one in fallbacks])
    if found.problems:
        raise _invalid(f"The fallbacks cannot be used: {found.problems[0]}.")
    return tuple(fallback for _, fallback in found.entries)


def read_list(stored: Any) -> FallbackList:
    """Read what stands in a project's row; never raises."""
    if not isinstance(stored, list):
        return FallbackList(problems=("they are not a list",))
    entries: dict[Fallback, int] = {}
    problems = []
    for number, entry in enumerate(stored[:MAX_FALLBACKS], start=1):
        provider, model = _members(entry)
        fallback = Fallback(provider, model)
        problem = _problem_of(fallback)
        if problem is None and fallback in entries:
            problem = f"{fallback} is there twice"
        if problem is None:
            entries[fallback] = number
        else:
            problems.append(f"fallback {number}: {problem}")
    if len(stored) > MAX_FALLBACKS:
        problems.append(f"there are {len(stored)}, and {MAX_FALLBACKS} at most are used")
    numbered = tuple((number, fallback) for fallback, number in entries.items())
    return FallbackList(numbered, min(len(stored), MAX_FALLBACKS), tuple(problems))


def made_by_fallback(fallback: Mapping[str, Any], provider: str, model: str) -> str:
    """Who made a picture, and why it was not the first model, in one sentence.

    Args:
        fallback: Of the generation.
        provider: Of the generation.
        model: Of the generation.
    """
    place = f"fallback {fallback.get('number')} of {fallback.get('of')}"
    return f"{fallback.get('because')}; made by {place}: {Fallback(provider, model)}"


def _members(entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict):
        return "", ""
    provider, model = entry.get("provider"), entry.get("model")
    if isinstance(provider, str) and isinstance(model, str):
        return provider, model
    return "", ""


def _problem_of(fallback: Fallback) -> str | None:
    if fallback.provider not in PROVIDER_NAMES:
        return (
            f"there is no provider {_shown(fallback.provider)}"
            if fallback.provider
            else "it names no provider"
        )
    if not _MODEL.fullmatch(fallback.model):
        return f"{_shown(fallback.model)} is not the name of a model"
    return None


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_CHARACTERS])


def _invalid(message: str) -> UsageError:
    return UsageError(
        message,
        code="fallback_invalid",
        next_action="Write each as PROVIDER:MODEL (--fallback fal:fal-ai/flux/dev), five at most;"
        f" providers are {', '.join(PROVIDER_NAMES)}.",
    )
