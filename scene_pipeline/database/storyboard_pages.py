"""What a project's page tells beside its scenes' states: all versions, and what they cost.

Belongs here: SQL; two statements, however many scenes there are. Does not belong here: laying it
out (`pipeline.reporting`).
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from scene_pipeline.database.rows import Connection

VERSIONS_SHOWN = 20
"""Of one scene, newest first."""
PICTURED_VERSIONS = 300
"""A project with more versions shows the pictures of its current ones alone: each takes 12 kB."""


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version as a page shows it."""

    scene_id: str
    version: int
    version_count: int
    """Of its scene."""
    is_current: bool
    storage_url: str
    storage_status: Literal["stored", "external", "removed"]
    file_size: int
    content_type: str
    width: int
    height: int
    sha256: str
    thumbnail: bytes | None = field(repr=False)
    """None of older ones where there are too many of them."""
    generated_at: datetime
    rejection: str | None
    generation_id: UUID
    provider: str
    endpoint: str
    prompt: str
    """What was sent."""
    seed: int
    cost_micros: int | None
    cost_kind: Literal["estimated", "metered", "free"] | None


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What one model has cost a project, by how well that is known."""

    provider: str
    endpoint: str
    cost_kind: Literal["estimated", "metered", "free"]
    generations: int
    cost_micros: int
    doubtful_micros: int
    """For lost requests that were followed by another: counted, never confirmed."""


async def shown_versions(conn: Connection, project_id: UUID) -> dict[str, list[ShownVersion]]:
    """The newest versions of every scene of a project's document, newest first, by scene id."""
    names = ", ".join(f"v.{name}" for name in ShownVersion.__dataclass_fields__)
    cursor = await conn.execute(
        f"SELECT {names} FROM ("
        "  SELECT i.scene_id, i.version, i.is_current, i.storage_url, i.storage_status,"
        "  i.file_size, i.content_type, i.width, i.height, i.sha256, i.generated_at, i.rejection,"
        "  i.generation_id, g.provider, g.endpoint, g.prompt, g.seed, g.cost_micros, g.cost_kind,"
        "  CASE WHEN i.is_current OR count(*) OVER () <= %(pictured)s THEN i.thumbnail END"
        "    AS thumbnail,"
        "  count(*) OVER (PARTITION BY i.scene_id)::integer AS version_count,"
        "  row_number() OVER (PARTITION BY i.scene_id ORDER BY i.version DESC) AS place"
        "  FROM scene_images i JOIN generations g ON g.id = i.generation_id"
        "  JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id"
        "  WHERE i.project_id = %(project)s AND s.retired_at IS NULL"
        # One beyond what is shown, whose prompt the oldest shown one is compared with.
        ") v WHERE v.place <= %(shown)s + 1 OR v.is_current ORDER BY v.scene_id, v.version DESC",
        {"project": project_id, "pictured": PICTURED_VERSIONS, "shown": VERSIONS_SHOWN},
    )
    found: dict[str, list[ShownVersion]] = {}
    for row in await cursor.fetchall():
        found.setdefault(row["scene_id"], []).append(ShownVersion(**row))
    return found


async def costs_by_model(conn: Connection, project_id: UUID) -> list[ModelCost]:
    """What was spent on a project, scenes that are gone included, the dearest first."""
    cursor = await conn.execute(
        "SELECT provider, endpoint, coalesce(cost_kind, 'estimated') AS cost_kind,"
        " count(*)::integer AS generations, coalesce(sum(cost_micros), 0)::bigint AS cost_micros,"
        " sum(doubtful_micros)::bigint AS doubtful_micros FROM generations"
        " WHERE project_id = %s AND (cost_micros IS NOT NULL OR doubtful_micros > 0)"
        " GROUP BY 1, 2, 3 ORDER BY 5 DESC, 1, 2, 3",
        (project_id,),
    )
    return [ModelCost(**row) for row in await cursor.fetchall()]
