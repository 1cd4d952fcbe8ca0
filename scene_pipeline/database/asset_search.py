"""Pages of the library, newest first: assets of the user's, and generated frames.

Each page is a bounded scan of an index from a place on; nothing is skipped over and nothing is
counted. Every condition has an index of its own (migration 0003).

Belongs here: SQL of one of the two tables at a time. Does not belong here: putting both together,
and what people may ask (`pipeline.library.searching`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.assets import (
    ASSET_COLUMNS,
    FRAME_COLUMNS,
    AssetRow,
    asset_of,
    frame_of,
)
from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import AssetKind

Shelf = Literal["assets", "frames"]
"""At the same moment, assets come before frames."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is asked, as SQL can hold it; None asks nothing."""

    words: str | None = None
    """A query of PostgreSQL's text search."""
    tags: Sequence[str] = ()
    """All of them."""
    kind: AssetKind | None = None
    project_id: UUID | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    model: str | None = None
    seed: int | None = None
    created_after: datetime | None = None
    """From this moment on."""
    created_before: datetime | None = None
    """Up to this moment, itself left out."""

    @property
    def may_be_frames(self) -> bool:
        """Whether a generated frame can meet them: frames have no tags, clients and campaigns."""
        return not self.tags and (self.kind, self.client_id, self.campaign_id) == (None,) * 3


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of the library: after this row, the next page begins."""

    created_at: datetime
    shelf: Shelf
    row_id: int | UUID
    """Of the shelf's own table."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something found, and where it stands."""

    asset: AssetRow
    position: Position


# By field of `Conditions`; the names of columns differ between the two tables.
_ASSET_CONDITIONS: dict[str, LiteralString] = {
    "words": "asset_words(a.name, a.tags, a.source_url, a.metadata)"
    " @@ to_tsquery('simple'::regconfig, %(words)s)",
    "tags": "a.tags @> %(tags)s",
    "kind": "a.kind = %(kind)s",
    "project_id": "a.project_id = %(project_id)s",
    "client_id": "a.client_id = %(client_id)s",
    "campaign_id": "a.campaign_id = %(campaign_id)s",
    "model": "a.model = %(model)s",
    "seed": "a.seed = %(seed)s",
    "created_after": "a.created_at >= %(created_after)s",
    "created_before": "a.created_at < %(created_before)s",
}
_FRAME_CONDITIONS: dict[str, LiteralString] = {
    "words": "frame_words(i.scene_id, i.generation_prompt)"
    " @@ to_tsquery('simple'::regconfig, %(words)s)",
    "project_id": "i.project_id = %(project_id)s",
    "model": "m.endpoint = %(model)s",
    "seed": "m.seed = %(seed)s",
    "created_after": "i.generated_at >= %(created_after)s",
    "created_before": "i.generated_at < %(created_before)s",
}
_ASSETS_BEYOND: dict[Shelf, LiteralString] = {
    "assets": "(a.created_at, a.id) < (%(at)s, %(row_id)s)",
    "frames": "a.created_at < %(at)s",
}
_FRAMES_BEYOND: dict[Shelf, LiteralString] = {
    "assets": "i.generated_at <= %(at)s",
    "frames": "(i.generated_at, i.id) < (%(at)s, %(row_id)s)",
}


async def assets_page(
    conn: Connection, asked: Conditions, after: Position | None, limit: int
) -> list[Found]:
    """The newest assets of the user's that meet the conditions, from a place on."""
    statement, values = assets_statement(asked, after, limit)
    cursor = await conn.execute(statement.encode(), values, prepare=False)
    return [
        Found(asset_of(row), Position(row["created_at"], "assets", row["row_id"]))
        for row in await cursor.fetchall()
    ]


async def frames_page(
    conn: Connection, asked: Conditions, after: Position | None, limit: int
) -> list[Found]:
    """The newest frames that meet the conditions, from a place on; a drill's are left out."""
    statement, values = frames_statement(asked, after, limit)
    cursor = await conn.execute(statement.encode(), values, prepare=False)
    return [
        Found(frame_of(row), Position(row["generated_at"], "frames", row["row_id"]))
        for row in await cursor.fetchall()
    ]


def assets_statement(
    asked: Conditions, after: Position | None, limit: int
) -> tuple[str, dict[str, Any]]:
    """The statement of `assets_page`, and its values."""
    where = ["a.deleted_at IS NULL", *_conditions(asked, _ASSET_CONDITIONS)]
    if after is not None:
        where.append(_ASSETS_BEYOND[after.shelf])
    statement = (
        f"SELECT {ASSET_COLUMNS} FROM user_assets a LEFT JOIN projects p ON p.id = a.project_id"
        f" WHERE {' AND '.join(where)} ORDER BY a.created_at DESC, a.id DESC LIMIT %(limit)s"
    )
    return statement, _values(asked, after, limit)


def frames_statement(
    asked: Conditions, after: Position | None, limit: int
) -> tuple[str, dict[str, Any]]:
    """The statement of `frames_page`, and its values.

    What a page shows is joined to the few rows that are on it.
    """
    where = [
        "i.storage_status <> 'removed'",
        "i.project_id NOT IN (SELECT id FROM projects WHERE is_scratch)",
        *_conditions(asked, _FRAME_CONDITIONS),
    ]
    if after is not None:
        where.append(_FRAMES_BEYOND[after.shelf])
    is_about_request = asked.model is not None or asked.seed is not None
    made_by = " JOIN generations m ON m.id = i.generation_id" if is_about_request else ""
    statement = (
        f"SELECT {FRAME_COLUMNS} FROM (SELECT i.* FROM scene_images i{made_by}"
        f" WHERE {' AND '.join(where)} ORDER BY i.generated_at DESC, i.id DESC LIMIT %(limit)s) i"
        " JOIN generations g ON g.id = i.generation_id JOIN projects p ON p.id = i.project_id"
        " ORDER BY i.generated_at DESC, i.id DESC"
    )
    return statement, _values(asked, after, limit)


def _conditions(asked: Conditions, known: dict[str, LiteralString]) -> list[str]:
    return [sql for name, sql in known.items() if getattr(asked, name) not in (None, ())]


def _values(asked: Conditions, after: Position | None, limit: int) -> dict[str, Any]:
    values = {name: getattr(asked, name) for name in Conditions.__dataclass_fields__}
    values |= {"tags": list(asked.tags), "limit": limit}
    if after is not None:
        values |= {"at": after.created_at, "row_id": after.row_id}
    return values
