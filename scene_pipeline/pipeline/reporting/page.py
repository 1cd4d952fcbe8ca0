"""A page for people: one HTML file that asks for nothing, with pictures inside.

Belongs here: what a page is made of, its bounds and its bytes. Does not belong here: gathering it
(`pipeline.reporting.scene_pages`), storing it (`pipeline.reporting.stored_files`).

Prompts, ids and messages are anybody's text. The template escapes all of it, addresses are links
only where they are HTTP's, and the page's own policy forbids scripts and every request. Equal
content gives equal bytes: no time of making stands in a page.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from scene_pipeline.scenes.prompt_diff import Stretch

if TYPE_CHECKING:
    from jinja2 import Template

CONTENT_TYPE: Final = "text/html"
MAX_PAGE_BYTES: Final = 12 * 1000 * 1000
"""A page that a mail takes and a browser opens at once."""
MAX_TABLE_ROWS: Final = 1000
_MAX_CELL_CHARACTERS = 500

Cell = str | int | float | Decimal | bool | None
"""None is shown as nothing."""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table; at most `MAX_TABLE_ROWS` of its rows are shown, and the rest are counted."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class PageVersion:
    """One version of a scene's frame."""

    version: int
    is_current: bool
    url: str | None
    """None where its bytes are gone."""
    model: str
    """Provider and model."""
    seed: int
    cost_usd: Decimal | None
    cost_kind: str | None
    """"estimated", "metered" or "free"."""
    size: str
    """"1024x576"."""
    size_bytes: int
    made_at: str
    """UTC."""
    remark: str
    """Why it is not to be used; empty where it may be."""
    prompt: str
    """What was sent."""
    changes: Sequence[Stretch] = ()
    """Against the prompt of the version before; empty where that is the same."""
    shows_prompt: bool = False
    """Whether its prompt is shown whole: there is none before it that it was compared with."""
    picture: bytes | None = field(default=None, repr=False)
    """A JPEG of ours; not needed of the current one, which is the scene's."""


@dataclass(frozen=True, slots=True)
class PageScene:
    """One scene as it stands."""

    scene_id: str
    state: str
    is_ready: bool
    """Whether its frame may go to video."""
    is_locked: bool
    why: str
    """Why it stands so; empty where there is nothing to say."""
    next_action: str
    """What cures that; empty where nothing is to be done."""
    prompt: str
    """The scene's own words in the document."""
    version: int | None
    url: str | None
    cost_usd: Decimal
    """Of all its versions and failures."""
    picture: bytes | None = field(default=None, repr=False)
    """A JPEG of ours."""
    versions: Sequence[PageVersion] = ()
    """Newest first."""
    hidden_versions: int = 0
    """Older ones that are not among them."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that a page shows, but for further tables."""

    title: str
    subtitle: str
    counts: Mapping[str, int] = field(default_factory=dict)
    """Scenes by state."""
    notes: Sequence[str] = ()
    """Sentences that stand above everything."""
    tables: Sequence[PageTable] = ()
    scenes: Sequence[PageScene] = ()


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much of a page is shown."""

    versions: int
    characters: int
    has_pictures: bool
    has_older_pictures: bool
    note: str


_DETAILS = (
    _Detail(10_000, 20_000, True, True, ""),
    _Detail(10_000, 4000, True, False, "Pictures of older versions are left out to keep it small."),
    _Detail(5, 1000, True, False, "Only the newest five versions are shown to keep it small."),
    _Detail(3, 500, False, False, "Pictures and older versions are left out to keep it small."),
    _Detail(0, 100, False, False, "Pictures and versions are left out to keep it small."),
)
"""From everything to what fits for the largest film; the first whose page is small enough is it."""


def render_page(page: Page, *, further_tables: Sequence[PageTable] = ()) -> bytes:
    """Write a page.

    Args:
        page: What it shows. Without scenes it is a page of tables.
        further_tables: Shown behind the page's own and before the scenes.

    Returns:
        UTF-8, at most about `MAX_PAGE_BYTES`: what is too much is left out step by step, and the
        page says what.
    """
    *richer, last = _DETAILS
    for detail in richer:
        rendered = _rendered(page, further_tables, detail, MAX_PAGE_BYTES)
        if rendered is not None:
            return rendered
    return _rendered(page, further_tables, last, None) or b""


def _rendered(
    page: Page, further_tables: Sequence[PageTable], detail: _Detail, max_bytes: int | None
) -> bytes | None:
    """The page in so much detail; None as soon as it is too large."""
    written = bytearray()
    for piece in _template().generate(
        page=page,
        tables=[table for table in (*page.tables, *further_tables) if table.columns],
        detail=detail,
        max_rows=MAX_TABLE_ROWS,
        notes=[*page.notes, *([detail.note] if detail.note else [])],
    ):
        written += piece.encode("utf-8", "replace")
        if max_bytes is not None and len(written) > max_bytes:
            return None
    return bytes(written)


@lru_cache(maxsize=1)
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # where pages are made

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "cell": _cell_text,
        "cut": _cut,
        "dollars": _dollars,
        "jpeg": _data_uri,
    }
    environment.tests |= {"number": _is_number, "link": _is_link}
    source = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _is_link(url: Cell) -> bool:
    return isinstance(url, str) and url.startswith(("https://", "http://"))


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cell_text(value: Cell) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() | Decimal():
            return f"{value:,.4f}".rstrip("0").rstrip(".")
        case _:
            return _cut(value, _MAX_CELL_CHARACTERS)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}\u2026"


def _dollars(amount: Decimal | None) -> str:
    """Dollars with the cents, and smaller parts of them where there are any."""
    if amount is None:
        return ""
    shown = f"{amount:,.6f}".rstrip("0")
    whole, _, part = shown.partition(".")
    return f"${whole}.{part:0<2}"


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
