"""The one metadata block of a stored frame: how it came about, in the picture file itself.

Mode of operation: the facts are written several times over, each time as another kind of program
looks for them, without touching a pixel: XMP and EXIF in all three formats, text in PNG too. XMP is
what we read back; the others are for programs that know no XMP, and what is left where one of them
has copied a picture's remarks to another file. The block holds nothing but what it is given, no
time and no version, so that equal frames have equal bytes.

Belongs here: writing and reading our block. Does not belong here: which facts go into it
(`pipeline`), and where a container keeps it (`media.containers`). docs/frame-metadata.md is the
list of what is where.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scene_pipeline.media.containers.base import COMMENT, Blocks
from scene_pipeline.media.exif_block import build_exif, find_comment
from scene_pipeline.media.formats import CONTAINERS, ImageFormat, sniff
from scene_pipeline.media.xmp_packet import (
    SOFTWARE,
    Edition,
    build_packet,
    description_of,
    edition_of,
    find_facts,
)

CURRENT_EDITION: Edition = 2
MAX_BLOCK_BYTES = 60_000
"""Of XMP, of EXIF and of PNG's comment each: a JPEG segment ends at 64 KiB."""
MAX_FACTS = 64
"""More are no block of ours."""
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Characters that XML 1.0 cannot hold at all, lone surrogates included.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Characters that a value keeps: three quarters of so few and "…" are as many again.
_SHORTEST = 4
_COMMENT_FORM = "scene_pipeline_frame"
"""What makes a JSON comment one of ours."""
# Keywords of PNG texts beside those that PNG itself names; viewers list whatever there is.
_PNG_TEXTS = {
    "Project": "project",
    "Scene": "scene_id",
    "Model": "model",
    "Seed": "seed",
    "Generation ID": "generation_id",
}


def embed_metadata(
    data: bytes,
    image_format: ImageFormat,
    metadata: Mapping[str, str],
    *,
    edition: Edition = CURRENT_EDITION,
    max_block_bytes: int = MAX_BLOCK_BYTES,
) -> bytes:
    """Put our block into a stripped file, without touching a pixel.

    Args:
        data: A file as `media.formats.strip` gives it.
        image_format: Its format.
        metadata: Facts by lower-case name. `prompt` is also what viewers show as description. The
            longest values are shortened, ending in "…", where all of them exceed what a block
            takes.
        edition: How the block is laid out; another one than today's only to make the bytes of a
            frame that was stored before.
        max_block_bytes: What XMP, EXIF and PNG's comment each take at most; no more than 60,000.

    Returns:
        The file; the same bytes for the same facts, whatever their order.

    Raises:
        ValueError: A name is not made of lower-case letters, digits and underscores, or there are
            more names than fit.
    """
    for name in metadata:
        if not is_metadata_name(name):
            message = f"{name!r} is not a metadata name."
            raise ValueError(message)
    facts = {name: _NOT_XML.sub("\ufffd", value) for name, value in sorted(metadata.items())}
    facts, packet = _fitting(facts, lambda shown: build_packet(shown, edition), max_block_bytes)
    # made of what is in the packet: what is read back from it makes the same blocks again
    beside = Blocks() if edition == 1 else _beside_xmp(facts, max_block_bytes)
    return CONTAINERS[image_format].insert_blocks(data, replace(beside, xmp=packet))


def is_metadata_name(name: str) -> bool:
    """Whether a fact may have this name: lower-case letters, digits and underscores."""
    return _KEY.fullmatch(name) is not None


def read_metadata(data: bytes) -> dict[str, str]:
    """Read our block back, or what another program has left of it.

    Returns:
        The facts; empty where the file holds no block of ours.

    Raises:
        ImageError: The bytes are no PNG, JPEG or WebP file, or a damaged one.
    """
    blocks = CONTAINERS[sniff(data)].find_blocks(data)
    facts = _strings(_parsed(find_facts(blocks.xmp or b"")))
    if facts:
        return facts
    for comment in (find_comment(blocks.exif or b""), blocks.texts.get(COMMENT)):
        parsed = _parsed(comment)
        facts = _strings(parsed.get(_COMMENT_FORM) if isinstance(parsed, dict) else None)
        if facts:
            return facts
    return {}


def own_facts(data: bytes) -> dict[str, str]:
    """The facts of a picture that we made; none where the block could not be written again.

    Raises:
        ImageError: As `read_metadata`.
    """
    facts = read_metadata(data)
    is_ours = len(facts) <= MAX_FACTS and all(map(is_metadata_name, facts))
    return facts if is_ours else {}


def metadata_edition(data: bytes) -> Edition:
    """The edition of the block that a file holds; today's where it holds none.

    Raises:
        ImageError: As `read_metadata`.
    """
    packet = CONTAINERS[sniff(data)].find_blocks(data).xmp or b""
    return CURRENT_EDITION if find_facts(packet) is None else edition_of(packet)


def _beside_xmp(facts: Mapping[str, str], max_bytes: int) -> Blocks:
    """What is there for programs that know no XMP; text is PNG's alone."""
    _, exif = _fitting(
        facts,
        lambda shown: build_exif(description_of(shown), SOFTWARE, _comment(shown)),
        max_bytes,
    )
    fitted, comment = _fitting(facts, lambda shown: _comment(shown).encode(), max_bytes)
    texts = {
        "Description": description_of(fitted),
        "Software": SOFTWARE,
        **{keyword: fitted.get(name, "") for keyword, name in _PNG_TEXTS.items()},
        COMMENT: comment.decode(),
    }
    return Blocks(exif=exif, texts={word: text for word, text in texts.items() if text})


def _comment(facts: Mapping[str, str]) -> str:
    return json.dumps({_COMMENT_FORM: facts}, ensure_ascii=False, separators=(",", ":"))


def _fitting(
    given: Mapping[str, str], build: Callable[[Mapping[str, str]], bytes], max_bytes: int
) -> tuple[dict[str, str], bytes]:
    """Shorten the longest facts until what is built of them fits; gives both."""
    facts = dict(given)
    while True:
        built = build(facts)
        longest = max(facts, key=lambda name: len(facts[name]), default=None)
        if len(built) <= max_bytes:
            return facts, built
        if longest is None or len(facts[longest]) <= _SHORTEST:
            message = f"{len(facts)} metadata values are too many."
            raise ValueError(message)
        facts[longest] = facts[longest][: len(facts[longest]) * 3 // 4].removesuffix("…") + "…"


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _strings(parsed: Any) -> dict[str, str]:
    if not isinstance(parsed, dict):
        return {}
    # JSON may spell out characters that nobody can write anywhere: halves of a pair, and NUL
    return {
        _NOT_XML.sub("\ufffd", name): _NOT_XML.sub("\ufffd", value)
        for name, value in parsed.items()
        if isinstance(value, str)
    }
