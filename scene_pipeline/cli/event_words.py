"""An event of the feed in one line for a person.

Belongs here: words, from what the row says and nothing else. Does not belong here: reading the feed
(`database.event_feed`), following it (`cli.watch`). An event of a kind that is not known here is
shown all the same, by its name and facts.
"""

from collections.abc import Callable, Mapping
from typing import Any

from scene_pipeline.cli.terminal import plain
from scene_pipeline.cli.wording import dollars_of, size_words
from scene_pipeline.database.event_feed import FeedEvent

MAX_LENGTH = 400
"""Characters of a line: provider's messages may be long, and a terminal is not."""
_FAILURES = frozenset({"generation_failed", "upload_failed"})
_STYLES = {
    "generation_progress": "dim",
    "upload_progress": "dim",
    "generation_failed": "red",
    "upload_failed": "red",
    "generation_fallback": "yellow",
    "generation_paid_again": "yellow",
    "submit_resolved": "yellow",
    "frame_check_failed": "yellow",
    "frame_check_passed": "green",
    "version_recorded": "green",
    "frame_published": "green",
    "upload_complete": "green",
}


def event_line(event: FeedEvent) -> str:
    """When, of what, and what happened; one line of bounded length without control characters."""
    when = event.at.astimezone().strftime("%H:%M:%S")
    place = "/".join(part for part in (event.project_key, event.scene_id) if part) or "library"
    return bounded(f"{when}  {place}  {event_words(event)}")


def event_words(event: FeedEvent) -> str:
    """What happened, with its facts; a failure with its code and next action."""
    words = _WORDS.get(event.kind)
    if words is None:
        facts = ", ".join(f"{name}: {value}" for name, value in event.data.items())
        return f"{event.kind.replace('_', ' ')}{f' ({facts})' if facts else ''}"
    return words(event, event.data)


def event_style(event: FeedEvent) -> str:
    """The colour of a line."""
    return _STYLES.get(event.kind, "")


def failure_of(event: FeedEvent) -> Mapping[str, str | None] | None:
    """Code, message and next action of an event that tells of a failure; None of others."""
    if event.kind not in _FAILURES:
        return None
    told = event.data
    code = _text(told, "code") or None
    if "message" in told or event.error_code != code:
        return {
            "code": code,
            "message": told.get("message"),
            "next_action": told.get("next_action"),
        }
    # The event has the code alone; the words are the ledger's, as long as it holds this failure.
    return {
        "code": code,
        "message": event.error_message,
        "next_action": event.error_next_action,
    }


def bounded(text: str) -> str:
    """A foreign text made harmless, and cut where it is too long."""
    harmless = plain(text)
    return harmless if len(harmless) <= MAX_LENGTH else f"{harmless[: MAX_LENGTH - 3]}..."


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return "" if value is None else str(value)


def _number(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    return value if isinstance(value, int) else None


def _size(data: Mapping[str, Any], name: str) -> str:
    number = _number(data, name)
    return "?" if number is None else size_words(number)


def _started(event: FeedEvent, _data: Mapping[str, Any]) -> str:
    return f"asking {event.provider} for a picture ({event.model})"


def _progress(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    place = _number(data, "queue_position")
    state, message = _text(data, "state"), _text(data, "message")
    if place is not None and f"place {place}" not in message:
        return f"{state}, place {place}: {message}"
    return message or state


def _complete(event: FeedEvent, data: Mapping[str, Any]) -> str:
    cost = _number(data, "cost_micros")
    price = "" if cost is None else f", {dollars_of(cost)} {_text(data, 'cost_kind')}".rstrip()
    return f"{event.provider} has made the picture{price}"


def _failed(event: FeedEvent, data: Mapping[str, Any]) -> str:
    failure = failure_of(event) or {}
    told = [f"failed: [{failure.get('code') or 'unknown'}]"]
    told += [str(failure[name]) for name in ("message", "next_action") if failure.get(name)]
    if data.get("is_tried_again"):
        told.append("It is tried again by itself.")
    return " ".join(told)


def _recorded(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    words = f"version {_text(data, 'version')} stored"
    if rejection := _text(data, "rejection"):
        return f"{words}, not to be used: {rejection}"
    return f"{words}, now current" if data.get("is_current") else f"{words}, not current"


def _promoted(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    before = _text(data, "instead_of")
    instead = f" instead of version {before}" if before else ""
    by = f" by {_text(data, 'by')}" if _text(data, "by") else ""
    return f"version {_text(data, 'version')} made current{instead}{by}"


def _resolved(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    verdict = _text(data, "verdict").replace("_", " ")
    return f"lost request decided by {_text(data, 'decided_by')}: {verdict}"


def _fallback(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    which = f"fallback {_text(data, 'number')} of {_text(data, 'of')}"
    names = f"{_text(data, 'provider')} {_text(data, 'model')}"
    return f"{which} takes over, {names}: {_text(data, 'because')}"


def _settings(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    changed = data.get("changed")
    names = ", ".join(map(str, changed)) if isinstance(changed, list) else _text(data, "changed")
    return f"settings changed: {names}"


def _received(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    total = _number(data, "bytes_total")
    of = "" if total is None else f" of {size_words(total)}"
    return f"{_size(data, 'bytes_received')}{of} received: {_text(data, 'source')}"


def _imported(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    there = "was there already as" if data.get("is_duplicate") else "is in the library as"
    size = _size(data, "size_bytes")
    return f"{_text(data, 'source')} {there} {_text(data, 'asset_id')} ({size})"


def _asset(doing: str) -> Callable[[FeedEvent, Mapping[str, Any]], str]:
    def words(_event: FeedEvent, data: Mapping[str, Any]) -> str:
        name = _text(data, "name")
        return f"{doing} {_text(data, 'asset_id')} ({_text(data, 'kind')}{name and f', {name}'})"

    return words


def _check(data: Mapping[str, Any]) -> str:
    return _text(data, "check").replace("_", " ")


def _drift(_event: FeedEvent, data: Mapping[str, Any]) -> str:
    of = _text(data, "subject") or f"version {_text(data, 'version') or '?'}"
    return f"repaired: {_text(data, 'kind').replace('_', ' ')} ({of})"


_WORDS: Mapping[str, Callable[[FeedEvent, Mapping[str, Any]], str]] = {
    "generation_started": _started,
    "generation_progress": _progress,
    "generation_complete": _complete,
    "generation_failed": _failed,
    "generation_fallback": _fallback,
    "generation_paid_again": lambda _, data: (
        "sent again; the lost request is counted as"
        f" {dollars_of(_number(data, 'counted_as_spent_micros') or 0)}"
    ),
    "submit_resolved": _resolved,
    "version_recorded": _recorded,
    "version_promoted": _promoted,
    "version_reused": lambda _event, _data: "takes over a picture that was made before",
    "version_healed": lambda _, data: f"version {_text(data, 'version')} brought home",
    "version_removed": lambda _, data: f"version {_text(data, 'version')} given up to make room",
    "addresses_changed": lambda _, data: (
        f"addresses of {_text(data, 'versions')} versions corrected,"
        f" {_text(data, 'in_document')} in the document"
    ),
    "drift_repaired": _drift,
    "frame_published": lambda _, data: f"published: {_text(data, 'url')}",
    "frame_check_failed": lambda _, data: f"check {_check(data)} failed: {_text(data, 'words')}",
    "frame_check_passed": lambda _, data: (
        f"check {_check(data)} passes again: {_text(data, 'words')}"
    ),
    "project_imported": lambda _, data: f"imported, revision {_text(data, 'revision')}",
    "project_settings_changed": _settings,
    "scene_locked": lambda _event, _data: "locked",
    "scene_unlocked": lambda _event, _data: "unlocked",
    "upload_started": lambda _, data: f"importing {_text(data, 'source')}",
    "upload_progress": _received,
    "upload_complete": _imported,
    "upload_failed": lambda event, data: f"{_text(data, 'source')} {_failed(event, data)}",
    "asset_added": _asset("added"),
    "asset_replaced": _asset("replaced the bytes of"),
    "asset_renamed": _asset("renamed"),
    "asset_tagged": _asset("changed the tags of"),
    "asset_removed": _asset("removed"),
}
