"""The one question that the library answers: what is there, newest first, page by page.

Assets of the user's and generated frames stand in one order. A page goes on where the one before it
ended, whatever was added meanwhile; a cursor is an opaque text.
"""

import base64
import heapq
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scene_pipeline.database import asset_search
from scene_pipeline.database.asset_search import Conditions, Found, Position, Shelf
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import MAX_BIGINT, Connection
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.tagging import normalised_tags
from scene_pipeline.scenes.identity import ASSET_KINDS, LibraryKind

MAX_PAGE = 200
MAX_TEXT_LENGTH = 200
_MAX_WORDS = 12
_MAX_CURSOR_LENGTH = 300
# At the same moment assets come first; the order of a page is newest first.
_SHELF_RANK: dict[Shelf, int] = {"assets": 1, "frames": 0}


@dataclass(frozen=True, slots=True)
class LibraryQuery:
    """What is asked of the library; what is left out is not asked. All conditions must hold."""

    text: str | None = None
    """Words, or beginnings of words, of names, tags, addresses of origin and metadata, and of the
    prompts and scenes of frames."""
    tags: tuple[str, ...] = ()
    kind: LibraryKind | None = None
    project_key: str | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    model: str | None = None
    """The provider's name of it, whole."""
    seed: int | None = None
    created_after: datetime | None = None
    """From this moment on; aware."""
    created_before: datetime | None = None
    """Up to this moment, itself left out; aware."""
    include_frames: bool = True
    """Whether generated frames are shown, where their kind is not asked for."""
    limit: int = 50
    """Of one page, at most MAX_PAGE."""
    cursor: str | None = None
    """As the page before gave it."""


@dataclass(frozen=True, slots=True)
class LibraryPage:
    """A page of the library."""

    items: tuple[AssetRow, ...]
    """Newest first."""
    next_cursor: str | None
    """Of the next page; None where this is the last."""


async def search(conn: Connection, query: LibraryQuery) -> LibraryPage:
    """Find what is in the library.

    Raises:
        UsageError: code "query_invalid" or "cursor_invalid".
        NotFoundError: There is no such project.
    """
    _check(query)
    after = None if query.cursor is None else _parse_cursor(query.cursor)
    asked = await _conditions(conn, query)
    if asked is None:
        return LibraryPage((), None)
    wanted = query.limit + 1  # one more tells whether there is another page
    found: list[Sequence[Found]] = []
    if query.kind != "frame":
        found.append(await asset_search.assets_page(conn, asked, after, wanted))
    if asked.may_be_frames and (query.include_frames or query.kind == "frame"):
        found.append(await asset_search.frames_page(conn, asked, after, wanted))
    merged = list(heapq.merge(*found, key=_order, reverse=True))
    page = merged[: query.limit]
    next_cursor = _cursor(page[-1].position) if len(merged) > query.limit else None
    return LibraryPage(tuple(each.asset for each in page), next_cursor)


async def _conditions(conn: Connection, query: LibraryQuery) -> Conditions | None:
    """The question as SQL can hold it; None where nothing can be the answer."""
    words = None
    if query.text is not None and query.text.strip():
        words = _text_query(query.text)
        if words is None:
            return None
    project_id = None
    if query.project_key is not None:
        project_id = (await get_project(conn, query.project_key)).id
    return Conditions(
        words=words,
        tags=normalised_tags(query.tags),
        kind=None if query.kind == "frame" else query.kind,
        project_id=project_id,
        client_id=query.client_id,
        campaign_id=query.campaign_id,
        model=query.model,
        seed=query.seed,
        created_after=query.created_after,
        created_before=query.created_before,
    )


def _text_query(text: str) -> str | None:
    """Every word, or the beginning of one, in PostgreSQL's notation; None where there is none."""
    return " & ".join(_word_query(word) for word in _words(text)[:_MAX_WORDS]) or None


def _words(text: str) -> list[str]:
    """Runs of letters, digits and the marks upon them; composed, as names are kept."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(char if _is_of_word(char) else " " for char in composed).split()


def _is_of_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char).startswith("M")


def _word_query(word: str) -> str:
    """A word in any case: a database of the locale "C" folds the case of ASCII letters alone."""
    if word.isascii():
        return f"'{word}':*"
    spellings = dict.fromkeys((word, word.lower(), word.upper(), word.capitalize()))
    return "(" + " | ".join(f"'{spelling}':*" for spelling in spellings) + ")"


def _check(query: LibraryQuery) -> None:
    if not 1 <= query.limit <= MAX_PAGE:
        raise _query_invalid(f"A page has 1 to {MAX_PAGE} entries, not {query.limit}")
    if query.kind is not None and query.kind not in ("frame", *ASSET_KINDS):
        raise _query_invalid(f"{str(query.kind)[:40]!r} is no kind of the library")
    if query.seed is not None and not 0 <= query.seed <= MAX_BIGINT:
        raise _query_invalid(f"{query.seed} is no seed")
    texts = (query.text, query.client_id, query.campaign_id, query.model)
    for text in texts:
        if text is not None and (len(text) > MAX_TEXT_LENGTH or "\x00" in text):
            raise _query_invalid(f"{text[:40]!r}... is too long or cannot be looked for")
    for moment in (query.created_after, query.created_before):
        if moment is not None and moment.tzinfo is None:
            raise _query_invalid(f"{moment.isoformat()} says no time zone")


def _query_invalid(reason: str) -> UsageError:
    return UsageError(
        f"{reason}.", code="query_invalid", next_action="See `scene-pipeline assets list --help`."
    )


def _order(found: Found) -> tuple[datetime, int, int]:
    at = found.position
    return at.created_at, _SHELF_RANK[at.shelf], int(at.row_id)


def _cursor(at: Position) -> str:
    parts = [at.created_at.isoformat(), at.shelf, str(at.row_id)]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _parse_cursor(text: str) -> Position:
    try:
        return _read_cursor(text)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UsageError(
            "The cursor is none that the library gave.",
            code="cursor_invalid",
            next_action="Begin without one.",
        ) from error


def _read_cursor(text: str) -> Position:
    padded = text[:_MAX_CURSOR_LENGTH] + "=" * (-len(text) % 4)
    created_at, shelf, row_id = json.loads(base64.urlsafe_b64decode(padded.encode()))
    at = datetime.fromisoformat(created_at)
    if at.tzinfo is None or shelf not in _SHELF_RANK:
        raise ValueError(shelf)
    if shelf == "frames":
        return Position(at, shelf, UUID(row_id))
    return Position(at, shelf, min(max(int(row_id), 0), MAX_BIGINT))
