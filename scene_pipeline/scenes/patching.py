"""Writing start frames back into the text that was imported, and nothing else.

Belongs here: where in a text a value stands. Does not belong here: which URLs are written
(publishing decides in the database; this is for `export`).

The standard library's decoder reads every value and says where it ends; only the punctuation
between members is walked here. The text has been through `parse_document` before.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scene_pipeline.errors import NotFoundError
from scene_pipeline.scenes.hashes import canonical_json
from scene_pipeline.scenes.json_text import parse_document

_START_FRAME = "scene_start_frame"
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of an object, or one element of a list, by its place in the text."""

    key: str | None
    """None in a list."""
    space_before: str
    """White space between the comma or bracket before it and itself."""
    colon: str
    """What stands between key and value, white space included; "" in a list."""
    value: Any
    start: int
    """First character of the value."""
    end: int
    """One past its last character."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replace `text[start:end]`."""

    start: int
    end: int
    replacement: str


def patch_start_frames(original_text: str, start_frames: Mapping[str, str]) -> str:
    """Write start frames into a document's text and keep every other character of it.

    A value that is there is replaced, unless it says the same in another spelling. Otherwise the
    member is added after the scene's last one, in the style of its neighbours.

    Args:
        original_text: A document that `parse_document` accepts.
        start_frames: URL by scene id.

    Raises:
        NotFoundError: A scene that the text does not hold.
    """
    edits: list[_Edit] = []
    missing = dict(start_frames)
    for scene_id, scene in _scenes(original_text):
        url = missing.pop(scene_id, None)
        if url is not None:
            edits.extend(_edit(original_text, scene, url))
    if missing:
        raise NotFoundError(f'The document has no scene "{next(iter(missing))[:80]}".')
    parts: list[str] = []
    position = 0
    for edit in edits:
        parts += (original_text[position : edit.start], edit.replacement)
        position = edit.end
    return "".join([*parts, original_text[position:]])


def export_document(imported: bytes | None, current: Mapping[str, Any]) -> bytes:
    """Write a project's document for its author.

    Args:
        imported: The file as it was imported; None where there was none.
        current: The document as it is now.

    Returns:
        UTF-8. Where nothing but start frames changed since the import, the imported bytes with just
        these values changed; else an equal document, indented by two spaces, whose members keep the
        imported order where they can.
    """
    if imported is None:
        return _dump(current)
    parsed = parse_document(imported)
    frames = _new_start_frames(parsed, current)
    patched = patch_start_frames(imported.decode("utf-8"), frames).encode("utf-8")
    if canonical_json(parse_document(patched)) == canonical_json(current):
        return patched
    return _dump(_in_order_of(parsed, current))


def _dump(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _new_start_frames(parsed: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, str]:
    """Find the start frames of scenes that both documents hold and that differ."""
    before = dict(_named_scenes(parsed.get("scenes")))
    frames = {}
    for scene_id, scene in _named_scenes(current.get("scenes")):
        url = scene.get(_START_FRAME)
        if (
            scene_id in before
            and isinstance(url, str)
            and before[scene_id].get(_START_FRAME) != url
        ):
            frames[scene_id] = url
    return frames


def _named_scenes(scenes: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(scenes, Mapping):
        yield from ((key, scene) for key, scene in scenes.items() if isinstance(scene, Mapping))
    elif isinstance(scenes, list):
        for scene in scenes:
            scene_id = scene.get("id") if isinstance(scene, Mapping) else None
            if isinstance(scene_id, str):
                yield scene_id, scene


def _in_order_of(pattern: Any, value: Any) -> Any:
    """Order an object's members as another document does; new ones go last."""
    if isinstance(pattern, Mapping) and isinstance(value, Mapping):
        keys = [*(key for key in pattern if key in value), *(k for k in value if k not in pattern)]
        return {key: _in_order_of(pattern.get(key), value[key]) for key in keys}
    if isinstance(pattern, list) and isinstance(value, list):
        padded = [*pattern, *[None] * len(value)]
        return [_in_order_of(*pair) for pair in zip(padded, value, strict=False)]
    return value


def _scenes(text: str) -> Iterator[tuple[str, _Member]]:
    """Give the scenes that have an id, in the order of the text."""
    start = _after_space(text, 1 if text.startswith("\ufeff") else 0)
    for top in _members(text, start):
        if top.key != "scenes":
            continue
        for scene in _members(text, top.start):
            if isinstance(scene.value, dict):
                scene_id = scene.value.get("id") if scene.key is None else scene.key
                if isinstance(scene_id, str):
                    yield scene_id, scene


def _edit(text: str, scene: _Member, url: str) -> Iterator[_Edit]:
    written = json.dumps(url)
    members = list(_members(text, scene.start))
    present = [member for member in members if member.key == _START_FRAME]
    if present:
        if present[0].value != url:
            yield _Edit(present[0].start, present[0].end, written)
        return
    if not members:
        yield _Edit(scene.start + 1, scene.start + 1, f'"{_START_FRAME}": {written}')
        return
    last = members[-1]
    space = last.space_before
    if len(members) == 1 and "\n" not in space:
        space = last.colon.partition(":")[2]  # `{"a": 1}` shows its style only after the colon
    addition = f',{space}"{_START_FRAME}"{last.colon}{written}'
    yield _Edit(last.end, last.end, addition)


def _members(text: str, start: int) -> Iterator[_Member]:
    """Walk the members of the object, or the elements of the list, that opens at `start`."""
    is_object = text.startswith("{", start)
    if not is_object and not text.startswith("[", start):
        return
    before = start + 1
    position = _after_space(text, before)
    while text[position] not in "}]":
        space_before = text[before:position]
        key, colon = None, ""
        if is_object:
            key, key_end = _DECODER.raw_decode(text, position)
            position = _after_space(text, _after_space(text, key_end) + 1)
            colon = text[key_end:position]
        value, end = _DECODER.raw_decode(text, position)
        yield _Member(key, space_before, colon, value, position, end)
        position = _after_space(text, end)
        if text[position] == ",":
            before = position + 1
            position = _after_space(text, before)


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
