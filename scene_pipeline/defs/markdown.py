"""Foreign words as markdown that Dagster's UI can show without harm.

Belongs here: escaping, shortening, and marking what changed. Does not belong here: which words are
shown where (`frame_metadata`).

A prompt is anybody's text: as live markdown it could make every viewer's browser fetch a picture
from somewhere.
"""

import json
import re
from bisect import bisect_right
from functools import lru_cache
from typing import Final

import dagster as dg

from scene_pipeline.scenes.prompt_diff import ELLIPSIS, Stretch, compare_prompts, shortened

MAX_PROMPT_BYTES: Final = 12 * 1024
"""What one prompt takes of an event at most, as it is written to the event log. A prompt of 5,000
letters fits; the whole of a longer one stands in the document and in the ledger."""
MAX_DIFF_BYTES: Final = 6 * 1024
"""The same for the difference of two prompts, which is shortened before."""

MAX_COMPARED_CHARACTERS: Final = 20_000
"""What of a prompt is compared: a moment's work, and no film has prompts as long."""

_KEPT_DIFFERENCES = 64
"""Each is shown by two stages of its scene, one shortly after the other."""

_ADDRESS = re.compile(r"https?:(?=//)|www(?=\.)|@(?=\w)", re.IGNORECASE)
_WORD_JOINER = "\u2060"
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@/=])")


def escaped(text: str) -> str:
    """Words that markdown takes for nothing but words.

    An address is also parted by a sign that nobody sees: the UI makes links of what looks like one
    even where every sign of it is escaped.
    """
    return _PUNCTUATION.sub(r"\\\1", _ADDRESS.sub(rf"\g<0>{_WORD_JOINER}", text))


def prompt_markdown(text: str) -> dg.MarkdownMetadataValue:
    """Show a prompt as its author wrote it, as far as it fits into an event.

    Spaces at the beginning of a line are left out, since they would make code of it.
    """
    lines = [escaped(line.lstrip()) for line in _cut(text, MAX_PROMPT_BYTES).splitlines()]
    return dg.MetadataValue.md("  \n".join(lines))


@lru_cache(_KEPT_DIFFERENCES)
def diff_markdown(before: str, after: str) -> dg.MarkdownMetadataValue | None:
    """Show what changed between two prompts: ~~removed~~ and **added**; None where nothing did."""
    if before == after:
        return None
    compared = before[:MAX_COMPARED_CHARACTERS], after[:MAX_COMPARED_CHARACTERS]
    if compared[0] == compared[1]:
        return dg.MetadataValue.md(f"Behind the first {MAX_COMPARED_CHARACTERS:,} characters.")
    stretches = shortened(compare_prompts(*compared))
    marked = [shown for stretch in stretches if (shown := _marked(stretch))]
    # Written with spaces around it, as markdown wants it next to punctuation.
    return dg.MetadataValue.md(_whole_words(marked, MAX_DIFF_BYTES))


def _marked(stretch: Stretch) -> str:
    """One stretch, its line breaks as spaces: a mark does not reach across lines."""
    words = escaped(" ".join(_cut(stretch.text, MAX_DIFF_BYTES // 4).split()))
    if not words:
        return ""
    match stretch.kind:
        case "removed":
            return f"~~{words}~~"
        case "added":
            return f"**{words}**"
        case _:
            return words


def _whole_words(stretches: list[str], max_bytes: int) -> str:
    """As many stretches as fit: one that is cut in two would lose its mark."""
    taken: list[str] = []
    room = max_bytes
    for stretch in stretches:
        room -= _written_bytes(stretch) + 1
        if room < 0:
            return " ".join([*taken, ELLIPSIS])
        taken.append(stretch)
    return " ".join(taken)


def _cut(text: str, max_bytes: int) -> str:
    """The beginning of a text that takes no more than this once it is escaped and written."""
    text, is_whole = text[:max_bytes], len(text) <= max_bytes
    if is_whole and _written_bytes(escaped(text)) <= max_bytes:
        return text
    room = max_bytes - _written_bytes(ELLIPSIS)
    place = bisect_right(
        range(len(text)), room, key=lambda length: _written_bytes(escaped(text[:length]))
    )
    return text[: max(place - 1, 0)] + ELLIPSIS


def _written_bytes(text: str) -> int:
    """What the event log's JSON makes of it: six bytes for a letter that is not ASCII."""
    return len(json.dumps(text)) - 2
