"""A version beside the one before it, and the attempts that led to it, as the UI shows them.

Belongs here: pictures, words and tables about what came before. Does not belong here: what is shown
of the version itself (`frame_metadata`).
"""

from collections.abc import Sequence
from typing import Final

import dagster as dg

from scene_pipeline.defs.catalogue import table_schema
from scene_pipeline.defs.glances import look
from scene_pipeline.defs.markdown import diff_markdown
from scene_pipeline.defs.metadata import MetadataValues, picture_markdown
from scene_pipeline.pipeline.orders import Attempt, Change, FrameFacts, PreviousVersion
from scene_pipeline.scenes.prompt_diff import ELLIPSIS

MAX_CHANGES_LENGTH: Final = 900
"""Characters; the UI shows in place what is shorter than 1000."""
_MAX_VALUE_LENGTH = 100
_ATTEMPT_COLUMNS = (
    ("version", "string", "The version that it became; empty where it became none."),
    ("state", "string", "How far it came."),
    ("code", "string", "Why it failed."),
    ("model", "string", "Model that was asked."),
    ("seconds", "string", "From the request to the provider's answer."),
    ("cost_usd", "float", "What was paid for it, in US dollars."),
    ("cost_kind", "string", "Whether that is estimated, metered or free."),
    ("when", "string", "When it was planned, in UTC."),
)
"""In the order in which they matter: Dagster's page cuts wide tables off at the right, and with
them the prompts above. A version's generation stands beside it."""


def comparison_metadata(frame: FrameFacts) -> MetadataValues:
    """What is said of the version before this one; nothing for the first."""
    previous = frame.previous
    if previous is None:
        return {}
    values: MetadataValues = {"previous_version": dg.MetadataValue.int(previous.version)}
    difference = diff_markdown(previous.prompt, frame.prompt)
    if difference is not None:
        values["prompt_diff"] = difference
    values["changes"] = dg.MetadataValue.text(_changes_in_words(frame, previous))
    return values


def side_by_side(frame: FrameFacts) -> dg.MarkdownMetadataValue | None:
    """Both pictures large, the older one left; None where one of them is not at hand."""
    previous = frame.previous
    if previous is None or previous.thumbnail is None or frame.thumbnail is None:
        return None
    before, after = look(previous.thumbnail), look(frame.thumbnail)
    if before is None or after is None:
        return None
    return dg.MetadataValue.md(
        f"| version {previous.version} | version {frame.version} |\n"
        "| --- | --- |\n"
        f"| {picture_markdown(before, 'image/webp')} | {picture_markdown(after, 'image/webp')} |"
    )


def attempts_metadata(attempts: Sequence[Attempt], total: int) -> MetadataValues:
    """The attempts as a table, the newest first, and how many there are."""
    if not attempts:
        return {}
    return {
        "attempts": dg.MetadataValue.table(
            records=[_attempt_row(attempt) for attempt in attempts],
            schema=table_schema(_ATTEMPT_COLUMNS),
        ),
        "attempts_total": dg.MetadataValue.int(max(total, len(attempts))),
    }


def _attempt_row(attempt: Attempt) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "version": "" if attempt.version is None else str(attempt.version),
            "state": attempt.state,
            "code": attempt.code or "",
            "model": f"{attempt.provider}: {_short(attempt.model)}",
            "seconds": "" if attempt.seconds is None else f"{attempt.seconds:.1f}",
            "cost_usd": float(attempt.cost_usd),
            "cost_kind": attempt.cost_kind or "",
            "when": f"{attempt.started_at:%Y-%m-%d %H:%M:%S}",
        }
    )


def _changes_in_words(frame: FrameFacts, previous: PreviousVersion) -> str:
    """What was asked for otherwise: "prompt; seed 7 -> 12 (since version 1)"."""
    words = [_change_in_words(change) for change in previous.changes]
    if previous.prompt != frame.prompt:
        words.insert(0, "prompt")
    line = "; ".join(words) or "nothing that was asked for"
    removed = ", whose picture was removed" if previous.storage_status == "removed" else ""
    since = f" (since version {previous.version}{removed})"
    return _short(line, MAX_CHANGES_LENGTH - len(since)) + since


def _change_in_words(change: Change) -> str:
    return f"{_short(change.what)} {_short(change.before)} \u2192 {_short(change.after)}"


def _short(text: str, max_length: int = _MAX_VALUE_LENGTH) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_length else line[: max_length - 1] + ELLIPSIS
