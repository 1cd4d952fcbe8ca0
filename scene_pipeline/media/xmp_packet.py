"""The XMP packet of our metadata block: written whole, and searched without parsing any XML.

Belongs here: the packets of every edition, and finding our facts in one. Does not belong here:
which facts there are and how many fit (`media.metadata`).

A packet of somebody else's may declare entities and nest as deep as it likes: nothing here expands
or follows them, since only the text of one property is looked for.
"""

import html
import json
from collections.abc import Mapping
from typing import Literal
from xml.sax.saxutils import escape

Edition = Literal[1, 2]
"""How the block of a frame is laid out. 1: XMP alone, with the facts as one JSON text. 2: each fact
as a property too, and beside XMP what its format calls text or EXIF. Frames of the first edition
are still stored, and brought home byte by byte: neither edition is ever changed."""

SOFTWARE = "Scene Pipeline"
MAX_DESCRIPTION_CHARACTERS = 2_000
PLAIN_PROPERTIES = {
    "project": "project",
    "scene_id": "sceneId",
    "candidate": "candidate",
    "model": "model",
    "provider": "provider",
    "seed": "seed",
    "generation_id": "generationId",
    "project_id": "projectId",
}
"""Names of facts that every tool reads as properties of our namespace, and how they are called."""

_MAX_READ_BYTES = 2**20
_EDITION_MARK = b"<sp:edition>2</sp:edition>"
_ENTITIES = {"\r": "&#13;"}
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"
"""
_DESCRIPTION = """<dc:description><rdf:Alt>
<rdf:li xml:lang="x-default">{description}</rdf:li>
</rdf:Alt></dc:description>
"""
_TAIL = """<sp:generation>{facts}</sp:generation>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_NAMESPACES = """ xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:sp="urn:scene-pipeline:frame:1#">
"""
_SYNTHETIC = f"<Iptc4xmpExt:DigitalSourceType>{_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>\n"
_SECOND_NAMESPACE = ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n'


def build_packet(facts: Mapping[str, str], edition: Edition) -> bytes:
    """Make a packet of facts that XML can hold.

    Returns:
        The same bytes for the same facts in the same order.
    """
    parts = _first_edition(facts) if edition == 1 else _second_edition(facts)
    tail = _TAIL.format(facts=_text(json.dumps(facts, ensure_ascii=False, separators=(",", ":"))))
    return (_HEAD + parts + tail).encode("utf-8")


def description_of(facts: Mapping[str, str]) -> str:
    """The prompt as viewers show it; a long one ends in "…"."""
    prompt = facts.get("prompt", "")
    if len(prompt) <= MAX_DESCRIPTION_CHARACTERS:
        return prompt
    return prompt[: MAX_DESCRIPTION_CHARACTERS - 1] + "…"


def find_facts(packet: bytes) -> str | None:
    """The JSON text of our facts in a packet, as we wrote it or as another program wrote it anew.

    Returns:
        None where there is none, or the packet is larger than a MiB.
    """
    if len(packet) > _MAX_READ_BYTES:
        return None
    for opening, closing in (
        (b"<sp:generation>", b"</sp:generation>"),
        (b"sp:generation='", b"'"),
        (b'sp:generation="', b'"'),
    ):
        # no pattern: one that begins a thousand times and never ends would be searched for ever
        _, found, rest = packet.partition(opening)
        text, ended, _ = rest.partition(closing)
        if found and ended:
            return html.unescape(text.decode("utf-8", "replace"))
    return None


def edition_of(packet: bytes) -> Edition:
    """Which edition a packet is that holds facts of ours."""
    return 2 if _EDITION_MARK in packet[:_MAX_READ_BYTES] else 1


def _first_edition(facts: Mapping[str, str]) -> str:
    description = _text(facts.get("prompt", "")[:MAX_DESCRIPTION_CHARACTERS])
    return _NAMESPACES + _DESCRIPTION.format(description=description) + _SYNTHETIC


def _second_edition(facts: Mapping[str, str]) -> str:
    description = _text(description_of(facts))
    system = " ".join(facts[name] for name in ("provider", "model") if name in facts)
    properties = [
        ("xmp:CreatorTool", SOFTWARE),
        ("Iptc4xmpExt:AISystemUsed", system),
        ("Iptc4xmpExt:AIPromptInformation", description_of(facts)),
        *((f"sp:{called}", facts.get(name, "")) for name, called in PLAIN_PROPERTIES.items()),
    ]
    return "".join(
        (
            _SECOND_NAMESPACE,
            _NAMESPACES,
            _DESCRIPTION.format(description=description) if description else "",
            _SYNTHETIC,
            *(f"<{name}>{_text(value)}</{name}>\n" for name, value in properties if value),
            f"{_EDITION_MARK.decode()}\n",
        )
    )


def _text(value: str) -> str:
    return escape(value, _ENTITIES)
