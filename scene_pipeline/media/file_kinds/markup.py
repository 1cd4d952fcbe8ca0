"""SVG, told from HTML and other markup by the first element."""

import re

from scene_pipeline.media.file_kinds.base import FileView, refused

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What may come before the first element: space, instructions, comments, a document type.
_PROLOGUE = re.compile(
    rb"\s+|<\?.*?\?>|<!--.*?-->|<!doctype\s[^>\[]*(?:\[[^\]]*\]\s*)?>", re.S | re.I
)
_ELEMENT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)[\s/>]")
_HTML_TYPE = re.compile(rb"<!doctype\s+html", re.I)
_HTML_ELEMENTS = frozenset(
    {
        b"html", b"head", b"body", b"title", b"meta", b"link", b"script", b"style", b"iframe",
        b"img", b"a", b"p", b"b", b"div", b"span", b"table", b"form", b"br", b"h1",
    }
)  # fmt: skip


def is_markup(view: FileView) -> bool:
    """Whether the file begins like markup of any kind."""
    return view.head.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"<")


def read(view: FileView) -> str:
    """Find the first element, which must be that of a drawing.

    Raises:
        FileRefusedError: file_not_allowed.
    """
    text = view.head.removeprefix(_BYTE_ORDER_MARK)
    place = 0
    while match := _PROLOGUE.match(text, place):
        if _HTML_TYPE.match(text, match.start()):
            raise refused("an HTML page")
        place = match.end()
    element = _ELEMENT.match(text, place)
    name = element[1] if element else b""
    if name == b"svg":
        return "svg"
    raise refused("an HTML page" if name.lower() in _HTML_ELEMENTS else "XML or other markup")
