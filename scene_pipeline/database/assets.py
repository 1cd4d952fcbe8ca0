"""The library's rows: `user_assets`, and generated frames shown as if they were among them.

Belongs here: what such a row is, and reading one. Does not belong here: pages of many
(`database.asset_search`), and writing (`database.asset_changes`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import (
    LibraryKind,
    frame_asset_id,
    parse_frame_asset_id,
)

AssetSource = Literal["file", "url", "upload"]


@dataclass(frozen=True, slots=True)
class FrameOrigin:
    """What the library tells of a generated frame besides what it tells of everything."""

    scene_id: str
    version: int
    is_current: bool
    is_external: bool
    """Whether its bytes are still at the provider only."""
    prompt: str | None
    """What was sent."""
    provider: str
    generation_id: UUID
    rejection: str | None


@dataclass(frozen=True, slots=True)
class AssetRow:
    """Something in the library: an asset of the user's, or a version of a scene's frame."""

    asset_id: str
    kind: LibraryKind
    name: str
    url: str = field(repr=False)
    """Permanent; of an external frame its provider's."""
    storage_key: str | None
    """None for an external frame."""
    mime_type: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    sha256: str | None
    is_animated: bool
    content_version: int
    tags: tuple[str, ...]
    source: AssetSource | Literal["generated"]
    source_url: str | None = field(repr=False)
    project_id: UUID | None
    project_key: str | None
    client_id: str | None
    campaign_id: str | None
    user_id: str | None
    model: str | None
    seed: int | None
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    frame: FrameOrigin | None = None
    """Of a generated frame."""


ASSET_COLUMNS: LiteralString = (
    "a.id AS row_id, a.asset_id, a.kind, a.name, a.url, a.storage_key, a.mime_type, a.width,"
    " a.height, a.size_bytes, a.sha256, a.is_animated, a.content_version, a.tags, a.source,"
    " a.source_url, a.project_id, p.key AS project_key, a.client_id, a.campaign_id, a.user_id,"
    " a.model, a.seed, a.metadata, a.created_at, a.updated_at, a.deleted_at"
)
FRAME_COLUMNS: LiteralString = (
    "i.id AS row_id, i.storage_url, i.storage_path, i.storage_status, i.content_type, i.width,"
    " i.height, i.file_size, i.sha256, i.scene_id, i.version, i.is_current, i.provider,"
    " i.generation_prompt, i.generation_id, i.rejection, i.generated_at, i.project_id,"
    " p.key AS project_key, g.endpoint, g.seed"
)


def asset_of(row: Mapping[str, Any]) -> AssetRow:
    """An asset of the user's, from a row with `ASSET_COLUMNS`."""
    values = {name: value for name, value in row.items() if name != "row_id"}
    return AssetRow(**{**values, "tags": tuple(row["tags"])})


def frame_of(row: Mapping[str, Any]) -> AssetRow:
    """A generated frame as the library shows it, from a row with `FRAME_COLUMNS`."""
    return AssetRow(
        asset_id=frame_asset_id(row["row_id"]),
        kind="frame",
        name=f"{row['scene_id']} v{row['version']}",
        url=row["storage_url"],
        storage_key=row["storage_path"],
        mime_type=row["content_type"],
        width=row["width"],
        height=row["height"],
        size_bytes=row["file_size"],
        sha256=row["sha256"],
        is_animated=False,
        content_version=1,
        tags=(),
        source="generated",
        source_url=None,
        project_id=row["project_id"],
        project_key=row["project_key"],
        client_id=None,
        campaign_id=None,
        user_id=None,
        model=row["endpoint"],
        seed=row["seed"],
        metadata={},
        created_at=row["generated_at"],
        updated_at=row["generated_at"],
        frame=FrameOrigin(
            scene_id=row["scene_id"],
            version=row["version"],
            is_current=row["is_current"],
            is_external=row["storage_status"] == "external",
            prompt=row["generation_prompt"],
            provider=row["provider"],
            generation_id=row["generation_id"],
            rejection=row["rejection"],
        ),
    )


async def get_asset(
    conn: Connection, asset_id: str, *, with_deleted: bool = False
) -> AssetRow | None:
    """Something in the library by its id, whichever sort it is of.

    Args:
        conn: Of the caller.
        asset_id: `ast_...`, or `frm_...` for a version of a scene's frame.
        with_deleted: Whether a tombstone is given too; a frame whose bytes retention gave up never
            is.
    """
    image_id = parse_frame_asset_id(asset_id)
    if image_id is not None:
        cursor = await conn.execute(
            f"SELECT {FRAME_COLUMNS} FROM scene_images i"
            " JOIN generations g ON g.id = i.generation_id JOIN projects p ON p.id = i.project_id"
            " WHERE i.id = %s AND i.storage_status <> 'removed' AND NOT p.is_scratch",
            (image_id,),
        )
        row = await cursor.fetchone()
        return frame_of(row) if row else None
    cursor = await conn.execute(
        f"SELECT {ASSET_COLUMNS} FROM user_assets a LEFT JOIN projects p ON p.id = a.project_id"
        " WHERE a.asset_id = %s AND (a.deleted_at IS NULL OR %s)",
        (asset_id, with_deleted),
    )
    row = await cursor.fetchone()
    return asset_of(row) if row else None
