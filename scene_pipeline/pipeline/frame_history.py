"""What is told beside a version: the one before it, what changed since, and the attempts.

Belongs here: from rows to the values that doors show. Does not belong here: reading the rows
(`database.frame_history`) and how they are shown (`defs`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from scene_pipeline.database.frame_history import AskedFor, AttemptRow, Attempts, FrameHistory
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.orders import Attempt, Change, FrameFacts, PreviousVersion

_PARAMETERS = (("steps", "steps"), ("guidance", "guidance"), ("output_format", "file format"))
"""What a request may hold beside what has a column of its own, and how people call it."""


def with_history(frame: FrameFacts, history: FrameHistory | None) -> FrameFacts:
    """Complete the facts of a version by what came before it.

    Args:
        frame: As its row has it.
        history: Of its generation; None where it is not known, which leaves the frame as it is.
    """
    if history is None:
        return frame
    return replace(
        frame,
        stage_seconds=stage_seconds(history),
        previous=_previous(frame, history),
        attempts=attempts_of(history),
        attempts_total=history.attempts_total,
    )


def attempts_of(history: FrameHistory) -> tuple[Attempt, ...]:
    """The scene's generations up to this one, newest first."""
    return tuple(_attempt(row) for row in history.attempts)


def stage_seconds(history: FrameHistory) -> dict[str, float]:
    """How long each stage took, by name, as far as the ledger's times tell."""
    known = {
        "generation": history.generation_seconds,
        "storing": history.storing_seconds,
        "publishing": history.publishing_seconds,
    }
    # The clock is the database's; one that was set back has nothing to tell.
    return {
        name: round(seconds, 3)
        for name, seconds in known.items()
        if seconds is not None and seconds >= 0
    }


def generation_history(attempts: Attempts | None) -> dict[str, Any]:
    """What `generated_frame` shows of the attempts, by metadata name."""
    if attempts is None:
        return {}
    shown = tuple(map(_attempt, attempts.rows))
    facts: dict[str, Any] = {"attempts": shown, "attempts_total": attempts.total}
    seconds = attempts.rows[0].seconds  # its own
    if seconds is None or seconds < 0:
        return facts
    return {"generation_seconds": round(seconds, 3), **facts}


def _previous(frame: FrameFacts, history: FrameHistory) -> PreviousVersion | None:
    before = history.previous
    if before is None:
        return None
    is_known_size = before.width is not None and before.height is not None
    sizes = (f"{before.width}x{before.height}", f"{frame.width}x{frame.height}")
    size = [Change("size", *sizes)] if is_known_size and sizes[0] != sizes[1] else []
    return PreviousVersion(
        version=before.version,
        url=before.storage_url,
        model=before.asked.endpoint,
        seed=before.asked.seed,
        prompt=before.asked.prompt,
        storage_status=before.storage_status,
        changes=(*_changes(before.asked, history.asked), *size),
        thumbnail=before.thumbnail,
    )


def _changes(before: AskedFor, after: AskedFor) -> Iterator[Change]:
    """What was asked for otherwise, but for the prompt, whose difference is shown in full."""
    pairs: list[tuple[str, object, object]] = [
        ("provider", before.provider, after.provider),
        ("model", before.endpoint, after.endpoint),
        ("seed", before.seed, after.seed),
        ("negative prompt", before.negative_prompt or "", after.negative_prompt or ""),
    ]
    pairs += [
        (words, before.parameters.get(name), after.parameters.get(name))
        for name, words in _PARAMETERS
    ]
    pairs.append(("references", ", ".join(before.references), ", ".join(after.references)))
    for what, old, new in pairs:
        if old != new:
            yield Change(what, _words(old), _words(new))
    for name in after.references:
        old_digest = before.reference_digests.get(name)
        new_digest = after.reference_digests.get(name)
        if name in before.references and old_digest and new_digest and old_digest != new_digest:
            yield Change(f"picture of reference {name}", old_digest[:8], new_digest[:8])
    if before.parameters.get("arguments") != after.parameters.get("arguments"):
        yield Change("arguments", "others", "those of this version")


def _words(value: object) -> str:
    return "none" if value is None or value == "" else str(value)


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        generation_id=str(row.generation_id),
        provider=row.provider,
        model=row.endpoint,
        state=row.state,
        version=row.version,
        code=row.error_code,
        seconds=None if row.seconds is None else round(max(row.seconds, 0.0), 3),
        cost_usd=usd(row.cost_micros),
        cost_kind=row.cost_kind,
        started_at=row.created_at,
    )
