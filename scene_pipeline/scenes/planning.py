"""What is to be done about a scene, decided from plain facts.

Belongs here: the rules of *ensure* and *regenerate*. Does not belong here: reading the facts and
carrying the decision out (`pipeline.planning.plan`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Action = Literal[
    "generate", "reuse", "resume", "keep", "republish", "heal", "stale", "failed", "invalid"
]
"""generate: a new picture, or the failed one again where nothing was charged for it. reuse: a
version that exists stands in; nothing is paid. resume: finish the open generation. keep: nothing.
republish: the document lost its frame's URL; write it again. heal: the picture is only at the
provider; bring it into our store. stale, failed, invalid: nothing, and say so."""

ReuseKind = Literal["own", "renamed", "identical"]
"""own: the scene has a version of what the document says (again). renamed: a scene that left the
document has one, and this one has none. identical: the very same request made one elsewhere."""


@dataclass(frozen=True, slots=True)
class LastFailure:
    """How the scene's newest generation failed."""

    is_same_content: bool
    """Whether it was made from what the document holds now."""
    is_retryable: bool
    is_uncharged: bool
    """Whether it is proven that nothing was charged for it."""


@dataclass(frozen=True, slots=True)
class Reusable:
    """A version that can stand in for a new picture."""

    kind: ReuseKind
    words: str
    """Which one, as people call it: "version 2"."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The facts a decision needs."""

    is_valid: bool
    is_locked: bool
    has_frame: bool
    is_stale: bool
    stale_causes: Sequence[str]
    has_open_generation: bool
    has_request: bool
    is_in_document: bool
    """Whether the document's start frame is the current version's URL."""
    last_failure: LastFailure | None
    is_external: bool = False
    """Whether the current version's picture is at the provider only."""
    chosen_version: int | None = None
    """The current version, where somebody chose it by hand for what the document says now."""
    reusable: Reusable | None = None
    is_archived: bool = False
    """Whether the project is closed: what was sent is finished, and nothing new is made."""
    is_unsent: bool = False
    """Whether nothing was sent yet for the open generation."""
    is_foreign: bool = False
    """Whether the document's start frame is an address that never was one of ours."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why in words that are shown."""

    action: Action
    reason: str
    code: str | None = None
    """Why nothing can be done, where it is not for the last generation's failure."""


PROJECT_ARCHIVED: Final = "project_archived"
FOREIGN_FRAME: Final = "foreign_frame"
"""Code of making a frame in the place of an address that somebody else wrote: only when asked."""

_CAUSES = {
    "prompt": "prompt",
    "expanded_prompt": "style or characters",
    "negative_prompt": "negative prompt",
    "references": "references",
    "size": "size",
    "expansion_version": "way prompts are expanded",
}


def readable_causes(parts: Sequence[str]) -> list[str]:
    """Name the parts of a scene's content that changed, as people call them.

    The expanded prompt always changes along with the scene's own words, so it is named only when
    they did not.
    """
    shown = [part for part in parts if part != "expanded_prompt" or "prompt" not in parts]
    return [_CAUSES.get(part, part) for part in shown] or ["content"]


def decide(standing: Standing, *, regenerate: bool, refresh_stale: bool) -> Decision:
    """Choose what happens to one scene.

    Args:
        standing: Where it stands.
        regenerate: Whether a new version was asked for explicitly (the mode).
        refresh_stale: Whether edited scenes may be bought again.
    """
    if standing.has_open_generation and not _is_given_up(standing):
        return Decision("resume", "an unfinished generation is taken up")
    if not standing.is_valid:
        return Decision("invalid", "the document's entry cannot be used")
    if standing.has_frame and (standing.is_locked or standing.is_archived):
        reason = "locked: never replaced" if standing.is_locked else "the project is archived"
        return _keep(standing, reason)
    if standing.is_archived:
        return Decision("failed", "the project is archived: nothing is made", PROJECT_ARCHIVED)
    if regenerate or standing.has_request:
        return Decision("generate", "a new version was asked for")
    return _by_itself(standing, refresh_stale=refresh_stale)


def _is_given_up(standing: Standing) -> bool:
    """Whether what is open is not to be sent any more; what was sent is finished in any case."""
    is_kept = standing.is_locked and standing.has_frame
    return standing.is_unsent and (standing.is_archived or is_kept or not standing.is_valid)


def _by_itself(standing: Standing, *, refresh_stale: bool) -> Decision:
    """What a run does that nobody asked for a new version."""
    if standing.has_frame:
        return _with_frame(standing, refresh_stale=refresh_stale)
    return _without_frame(standing)


def _with_frame(standing: Standing, *, refresh_stale: bool) -> Decision:
    if not standing.is_stale:
        return _keep(standing, "up to date")
    if standing.chosen_version is not None:
        return _keep(standing, f"chosen by hand: version {standing.chosen_version}")
    reusable = standing.reusable
    if reusable is not None and (reusable.kind == "own" or refresh_stale):
        return _reuse(reusable)
    causes = " and ".join(readable_causes(standing.stale_causes))
    if refresh_stale and _is_final(standing.last_failure):
        return Decision("failed", "the last attempt to replace it failed for good")
    if refresh_stale:
        return Decision("generate", f"edited since: {causes}")
    return Decision("stale", f"edited since: {causes}")


def _reuse(reusable: Reusable) -> Decision:
    made = {
        "own": "was made from exactly this",
        "renamed": "was made from exactly this, and its scene is gone",
        "identical": "was made by exactly this request",
    }
    return Decision("reuse", f"{reusable.words} {made[reusable.kind]}")


def _is_final(failure: LastFailure | None) -> bool:
    """Whether what the document says now was tried, and trying again would only cost again."""
    return (
        failure is not None
        and failure.is_same_content
        and not failure.is_uncharged
        and not failure.is_retryable
    )


def _without_frame(standing: Standing) -> Decision:
    if standing.is_foreign:
        return Decision("generate", "the document's frame is not one of ours", FOREIGN_FRAME)
    if standing.reusable is not None:
        return _reuse(standing.reusable)
    failure = standing.last_failure
    if failure is None or not failure.is_same_content:
        return Decision("generate", "no frame yet")
    if failure.is_uncharged:
        return Decision("generate", "the last attempt failed and cost nothing")
    if failure.is_retryable:
        return Decision("generate", "the last attempt failed and may be repeated")
    return Decision("failed", "the last attempt failed for good")


def _keep(standing: Standing, reason: str) -> Decision:
    if standing.is_foreign:
        return Decision("keep", "the document's frame is not one of ours: left alone")
    if standing.is_external:
        return Decision("heal", "its picture is at the provider only")
    if standing.is_in_document:
        return Decision("keep", reason)
    return Decision("republish", "the document does not hold its frame's URL")
