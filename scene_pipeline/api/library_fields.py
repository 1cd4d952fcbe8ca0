"""What callers of the library's routes say: queries and JSON bodies into typed values.

Belongs here: form. Does not belong here: meaning, which the use cases check (`pipeline.library`).
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from starlette.datastructures import QueryParams
from starlette.requests import Request

from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.pipeline.library.naming import asset_name, checked_metadata
from scene_pipeline.pipeline.library.tagging import normalised_tags, raise_unknown
from scene_pipeline.scenes.identity import ASSET_KINDS, AssetKind, is_asset_id

MAX_TEXT_LENGTH = 300
MAX_URL_LENGTH = 2048
DETAIL_FIELDS = frozenset(
    {"name", "tags", "project", "client_id", "campaign_id", "user_id", "metadata"}
)
"""What may be said of anything that comes in."""
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_FLAGS: Mapping[object, bool] = {"true": True, "1": True, "false": False, "0": False}


class Fields:
    """Named values of one request, each read once as what it is to be.

    A value that is left out, null or empty is not given.

    Args:
        values: By name.
        known: All names that this route takes.

    Raises:
        UsageError: code "field_unknown"; every method: code "field_invalid".
    """

    def __init__(self, values: Mapping[str, Any], known: Collection[str]) -> None:
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UsageError(
                f"{unknown[0][:40]!r} is not known here.",
                code="field_unknown",
                next_action=f"Known are: {', '.join(sorted(known)) or 'none'}.",
            )
        self._values = values

    @classmethod
    def of_query(cls, query: QueryParams, known: Collection[str]) -> "Fields":
        """Read a query string; `tag` may be given several times and is one of `tags`."""
        values: dict[str, Any] = {}
        for name in query:
            given = query.getlist(name)
            if name == "tag":
                values["tags"] = given
            elif len(given) > 1:
                _invalid(name, "is given twice")
            else:
                values[name] = given[0]
        return cls(values, known)

    def text(self, name: str, *, max_length: int = MAX_TEXT_LENGTH) -> str | None:
        """A text that the database can hold."""
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or "\0" in value or len(value) > max_length:
            _invalid(name, f"must be a text of at most {max_length} characters")
        return value

    def required(self, name: str, *, max_length: int = MAX_TEXT_LENGTH) -> str:
        """A text without which nothing can be done."""
        return self.text(name, max_length=max_length) or _invalid(name, "is missing")

    def texts(self, name: str, *, most: int = 100) -> tuple[str, ...] | None:
        """Several texts, none of them empty."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > most:
            _invalid(name, f"must be a list of at most {most} texts")
        return tuple(Fields({name: one}, (name,)).required(name) for one in value)

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number within bounds, themselves included."""
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            _invalid(name, f"must be a whole number from {least} to {most}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Yes or no."""
        value = self._values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        chosen = _FLAGS.get(value.lower()) if isinstance(value, str) else None
        return _invalid(name, "must be true or false") if chosen is None else chosen

    def moment(self, name: str) -> datetime | None:
        """A moment with its time zone."""
        text = self.text(name)
        if text is None:
            return None
        try:
            # In a query an unescaped "+" has become a space.
            moment = datetime.fromisoformat(text.replace(" ", "+"))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            _invalid(name, "must be a moment with a time zone, as 2026-01-31T18:00:00Z")
        return moment

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A JSON object."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            _invalid(name, "must be a JSON object")
        return value

    def kind(self) -> AssetKind | None:
        """A kind of the library, without that of generated frames."""
        text = self.text("kind")
        if text is None:
            return None
        for kind in ASSET_KINDS:
            if kind == text:
                return kind
        return _invalid("kind", f"must be one of {', '.join(ASSET_KINDS)}")


async def read_details(conn: Connection, fields: Fields) -> dict[str, Any]:
    """What is said of something that comes in, by the names that requests for it have.

    Raises:
        UsageError: A name, tag or metadata cannot be kept.
        NotFoundError: There is no such project.
    """
    key = fields.text("project")
    name = fields.text("name")
    return {
        "name": None if name is None else asset_name(name, Path()),
        "tags": normalised_tags(fields.texts("tags") or ()),
        "project_id": None if key is None else (await get_project(conn, key)).id,
        "client_id": fields.text("client_id"),
        "campaign_id": fields.text("campaign_id"),
        "user_id": fields.text("user_id"),
        "metadata": checked_metadata(fields.mapping("metadata")),
    }


def asset_id_of(request: Request) -> str:
    """The asset that a path names.

    Raises:
        NotFoundError: code "asset_unknown": nothing has an id of this form.
    """
    text: str = request.path_params["asset_id"]
    if not is_asset_id(text):
        raise_unknown(text)
    return text


def import_id_of(request: Request) -> UUID:
    """The import that a path names.

    Raises:
        NotFoundError: code "import_unknown".
    """
    text: str = request.path_params["import_id"]
    try:
        return UUID(text)
    except ValueError:
        raise_no_import(text)


def raise_no_import(import_id: object) -> NoReturn:
    """Say that an id is no import's.

    Raises:
        NotFoundError: code "import_unknown", always.
    """
    raise NotFoundError(
        f"There is no import {str(import_id)[:80]!r}.",
        code="import_unknown",
        next_action="Use the import_id of the answer that it began with.",
    )


def _invalid(name: str, reason: str) -> NoReturn:
    raise UsageError(
        f"{name[:40]} {reason}.", code="field_invalid", next_action="Correct it and send it again."
    )
