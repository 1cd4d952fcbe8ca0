"""SVG: XML; checked for what is dangerous to parse, never drawn, kept as it is."""

import re
from xml.parsers import expat

from scene_pipeline.errors import FileRefusedError
from scene_pipeline.media.file_kinds.base import refused, truncated

MAX_SVG_BYTES = 5 * 2**20
_MAX_DEPTH = 256
_NAMESPACE = "http://www.w3.org/2000/svg"
_SEPARATOR = " "
# Entities grow a thousandfold, or name files; both need a declaration.
_DECLARATION = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def check(data: bytes) -> None:
    """Check that a drawing is well-formed, small, flat enough, and declares nothing.

    Raises:
        FileRefusedError: too_large, file_not_allowed, truncated_file.
    """
    if len(data) > MAX_SVG_BYTES:
        raise FileRefusedError(
            f"The SVG is larger than {MAX_SVG_BYTES // 2**20} MiB.",
            code="too_large",
            next_action="Give a smaller drawing.",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused("an SVG in another encoding than UTF-8") from error
    if _DECLARATION.search(text):
        raise refused("an SVG with a document type or entities")
    _parse(text)


def _parse(text: str) -> None:
    # the encoding that a file declares would make the parser see another text than was searched
    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    depth = 0

    def start(name: str, _: object) -> None:
        nonlocal depth
        if depth == 0 and name not in {"svg", f"{_NAMESPACE}{_SEPARATOR}svg"}:
            raise refused("XML other than SVG")
        depth += 1
        if depth > _MAX_DEPTH:
            raise refused("an SVG of too many levels")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise truncated("its XML is not well-formed") from error
