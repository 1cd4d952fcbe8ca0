"""What changed between two prompts, word by word, so that a person sees it at a glance.

Belongs here: comparing, shortening, and the one way a difference is written. Does not belong here:
colours (`cli.plan`).

Written as `git diff --word-diff` writes it: "a [-red-]{+blue+} boat at dawn".
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

StretchKind = Literal["same", "removed", "added"]

MAX_COMPARED_WORDS = 500
"""Comparing costs the product of both lengths; what is longer is told as replaced altogether."""
CONTEXT_WORDS = 4
"""What is shown of an unchanged stretch next to a change."""
MAX_CHANGED_WORDS = 30
"""What is shown of a changed stretch."""
ELLIPSIS = "\u2026"

# Scripts that are written without spaces: each character is a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
_PUNCTUATION = "!-&(-,./:-@\\[-^`{-~\u2010-\u2027\u3000-\u303f\uff00-\uff0f"
_WORD = re.compile(
    rf"(?P<space>\s*)(?P<word>[{_UNSPACED}]|[{_PUNCTUATION}]|[^\s{_UNSPACED}{_PUNCTUATION}]+|\Z)"
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of text that both prompts have, or only one of them."""

    kind: StretchKind
    text: str


@dataclass(frozen=True, slots=True)
class _Word:
    space: str
    """What stands before it."""
    word: str
    """Empty for the end of the text."""


def compare_prompts(old: str, new: str) -> tuple[Stretch, ...]:
    """Find what was taken out and what was put in.

    Returns:
        Stretches in order, no two neighbours of one kind: "same" and "removed" together are the old
        text, "same" and "added" the new one, exactly. Equal texts give at most one stretch.
    """
    before, after = _words(old), _words(new)
    return tuple(_in_one_piece(_without_torn_spaces(_raw_stretches(before, after))))


def shortened(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Cut long unchanged stretches down to the words next to a change, and long changes as well."""
    last = len(stretches) - 1
    cut = []
    for place, stretch in enumerate(stretches):
        if stretch.kind == "same":
            text = _cut(
                stretch.text,
                head=0 if place == 0 else CONTEXT_WORDS,
                tail=0 if place == last else CONTEXT_WORDS,
            )
        else:
            text = _cut(stretch.text, head=MAX_CHANGED_WORDS - CONTEXT_WORDS, tail=CONTEXT_WORDS)
        cut.append(Stretch(stretch.kind, text))
    return tuple(cut)


def with_brackets(stretch: Stretch) -> str:
    """A stretch as it is written where there are no colours."""
    match stretch.kind:
        case "removed":
            return f"[-{stretch.text}-]"
        case "added":
            return f"{{+{stretch.text}+}}"
        case _:
            return stretch.text


def diff_in_words(old: str, new: str) -> str:
    """The difference on one line: "a [-red-]{+blue+} boat at dawn"."""
    return "".join(with_brackets(stretch) for stretch in shortened(compare_prompts(old, new)))


def _words(text: str) -> list[_Word]:
    found = [_Word(match["space"], match["word"]) for match in _WORD.finditer(text)]
    # Behind spaces at the end the pattern finds the end twice.
    return found[:-1] if len(found) > 1 and not found[-2].word else found


def _raw_stretches(before: Sequence[_Word], after: Sequence[_Word]) -> Iterator[Stretch]:
    for tag, i1, i2, j1, j2 in _opcodes([w.word for w in before], [w.word for w in after]):
        if tag != "equal":
            yield Stretch("removed", _text(before[i1:i2]))
            yield Stretch("added", _text(after[j1:j2]))
            continue
        for old, new in zip(before[i1:i2], after[j1:j2], strict=True):
            if old.space == new.space:
                yield Stretch("same", old.space + old.word)
            else:
                yield Stretch("removed", old.space)
                yield Stretch("added", new.space)
                yield Stretch("same", old.word)


def _opcodes(
    before: Sequence[str], after: Sequence[str]
) -> Iterable[tuple[str, int, int, int, int]]:
    """What difflib says of the part that differs, as far as that is short enough to compare."""
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    tail = next(
        (n for n in range(shorter - head) if before[-1 - n] != after[-1 - n]), shorter - head
    )
    ends = len(before) - tail, len(after) - tail
    yield "equal", 0, head, 0, head
    if max(ends) - head > MAX_COMPARED_WORDS:
        yield "replace", head, ends[0], head, ends[1]
    else:
        middle = SequenceMatcher(
            None, before[head : ends[0]], after[head : ends[1]], autojunk=False
        )
        for tag, i1, i2, j1, j2 in middle.get_opcodes():
            yield tag, head + i1, head + i2, head + j1, head + j2
    yield "equal", ends[0], len(before), ends[1], len(after)


def _text(words: Iterable[_Word]) -> str:
    return "".join(word.space + word.word for word in words)


def _without_torn_spaces(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Collect what changed in one place, and leave the spaces around it out of it."""
    removed = added = ""
    for stretch in stretches:
        if stretch.kind == "removed":
            removed += stretch.text
        elif stretch.kind == "added":
            added += stretch.text
        elif stretch.text:
            yield from _change(removed, added, following=stretch.text)
            removed = added = ""
    yield from _change(removed, added, following="")


def _change(removed: str, added: str, *, following: str) -> Iterator[Stretch]:
    """A change without the space that it shares, and the unchanged text after it."""
    if removed and added:
        space = _common_start(_leading_space(removed), _leading_space(added))
        removed, added = removed[len(space) :], added[len(space) :]
    else:
        space = _leading_space(removed or added)
        if following.startswith(space):
            # "a[- red-] boat" reads better as "a [-red -]boat".
            removed = removed and removed[len(space) :] + space
            added = added and added[len(space) :] + space
            following = following[len(space) :]
        else:
            space = ""
    yield Stretch("same", space)
    yield Stretch("removed", removed)
    yield Stretch("added", added)
    yield Stretch("same", following)


def _leading_space(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _common_start(one: str, other: str) -> str:
    shorter = min(len(one), len(other))
    length = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    return one[:length]


def _in_one_piece(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    pending: Stretch | None = None
    for stretch in stretches:
        if not stretch.text:
            continue
        if pending is not None and pending.kind == stretch.kind:
            pending = Stretch(pending.kind, pending.text + stretch.text)
            continue
        if pending is not None:
            yield pending
        pending = stretch
    if pending is not None:
        yield pending


def _cut(text: str, *, head: int, tail: int) -> str:
    words = _words(text)
    if len(words) - 1 <= head + tail + 1:
        return text
    parts = [_text(words[:head]), ELLIPSIS, _text(words[len(words) - 1 - tail : -1]).lstrip()]
    return " ".join(part for part in parts if part) + (words[-1].space if tail else "")
