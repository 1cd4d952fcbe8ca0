"""The one metadata block of a stored frame: how it came about, in the picture file itself.

Belongs here: writing and reading our block. Does not belong here: which facts go into it
(`pipeline`), and where a container keeps it (`media.containers`).

The block is an XMP packet, which all three formats carry without touching a pixel: the prompt as
`dc:description`, IPTC's marker of synthetic media, and all facts as one JSON text. It holds nothing
but what it is given, no time and no version, so that equal frames have equal bytes.
"""

import json
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, unescape

from scene_pipeline.media.formats import CONTAINERS, ImageFormat, sniff

# A JPEG segment ends at 64 KiB; the rest of the packet takes less than 2 KiB.
MAX_PACKET_BYTES = 60_000
_MAX_DESCRIPTION_CHARACTERS = 2_000
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Characters that XML 1.0 cannot hold at all, lone surrogates included.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OUR_BLOCK = re.compile(rb"<sp:generation>(.*?)</sp:generation>", re.DOTALL)
_ENTITIES = {"\r": "&#13;"}
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:sp="urn:scene-pipeline:frame:1#">
<dc:description><rdf:Alt>
<rdf:li xml:lang="x-default">{description}</rdf:li>
</rdf:Alt></dc:description>
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
<sp:generation>{facts}</sp:generation>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def embed_metadata(data: bytes, image_format: ImageFormat, metadata: Mapping[str, str]) -> bytes:
    """Put our block into a stripped file, without touching a pixel.

    Args:
        data: A file as `media.formats.strip` gives it.
        image_format: Its format.
        metadata: Facts by lower-case name. `prompt` is also what viewers show as description. The
            longest values are shortened, ending in "…", where all of them exceed 60,000 bytes.

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
    return CONTAINERS[image_format].insert_xmp(data, _fitting_packet(metadata))


def is_metadata_name(name: str) -> bool:
    """Whether a fact may have this name: lower-case letters, digits and underscores."""
    return _KEY.fullmatch(name) is not None


def read_metadata(data: bytes) -> dict[str, str]:
    """Read our block back.

    Returns:
        The facts; empty where the file holds no block of ours.

    Raises:
        ImageError: The bytes are no PNG, JPEG or WebP file, or a damaged one.
    """
    packet = CONTAINERS[sniff(data)].find_xmp(data) or b""
    match = _OUR_BLOCK.search(packet)
    if match is None:
        return {}
    try:
        facts = json.loads(unescape(match[1].decode("utf-8"), {"&#13;": "\r"}))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(facts, dict):
        return {}
    return {str(name): value for name, value in facts.items() if isinstance(value, str)}


def _fitting_packet(metadata: Mapping[str, str]) -> bytes:
    facts = {name: _NOT_XML.sub("\ufffd", value) for name, value in sorted(metadata.items())}
    while True:
        packet = _packet(facts)
        longest = max(facts, key=lambda name: len(facts[name]), default=None)
        if len(packet) <= MAX_PACKET_BYTES:
            return packet
        if longest is None or len(facts[longest]) <= 1:
            message = f"{len(facts)} metadata values are too many."
            raise ValueError(message)
        facts[longest] = facts[longest][: len(facts[longest]) * 3 // 4].removesuffix("…") + "…"


def _packet(facts: Mapping[str, str]) -> bytes:
    text = _PACKET.format(
        description=escape(facts.get("prompt", "")[:_MAX_DESCRIPTION_CHARACTERS], _ENTITIES),
        source_type=_SOURCE_TYPE,
        facts=escape(json.dumps(facts, ensure_ascii=False, separators=(",", ":")), _ENTITIES),
    )
    return text.encode("utf-8")
