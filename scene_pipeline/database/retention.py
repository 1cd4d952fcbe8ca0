"""Versions that are old enough to be given up, and why the others are kept.

Belongs here: SQL that finds. Does not belong here: what keeps a version
(`database.retention_verdicts`), giving up (`database.giving_up`), in which order, how much, and the
report (`pipeline.upkeep.retain`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from scene_pipeline.database.collection import Amount
from scene_pipeline.database.retention_verdicts import (
    NAMES,
    RULE,
    VERDICTS,
    RetentionRule,
    verdict_values,
)
from scene_pipeline.database.rows import Connection

KeepReason = Literal["current", "locked", "newest", "young", "referenced"]
"""Why a version is kept: the first of these that is true. "referenced" are those that no rule would
keep, and that something still needs."""


@dataclass(frozen=True, slots=True)
class OldVersion:
    """A version that nothing needs and no rule keeps."""

    id: UUID
    project_id: UUID
    storage_path: str
    file_size: int
    refcount: int
    """How many rows need its object, this one among them."""
    object_bytes: int
    cost_micros: int
    """What was paid for it: of a request for several pictures, its share."""
    is_metered: bool
    """Whether the provider said so; otherwise it was estimated."""
    derived_keys: Sequence[str]
    """Of its other forms, which go with it."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Versions that were given up, or would be."""

    versions: Amount = field(default_factory=Amount)
    """With their bytes as they were recorded."""
    freed_bytes: int = 0
    """Of objects that nothing needs afterwards; an object may be shared."""
    metered_micros: int = 0
    estimated_micros: int = 0
    """What the versions had cost, in micro-dollars; it stays spent."""

    def __add__(self, other: "GivenUp") -> "GivenUp":
        """Both together."""
        return GivenUp(
            self.versions + other.versions,
            self.freed_bytes + other.freed_bytes,
            self.metered_micros + other.metered_micros,
            self.estimated_micros + other.estimated_micros,
        )

    @property
    def cost_micros(self) -> int:
        """What the versions had cost, metered or estimated."""
        return self.metered_micros + self.estimated_micros


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """What is kept in one project."""

    project_id: UUID
    project_key: str
    rule: RetentionRule
    is_own: bool
    """Whether the project has any value of its own; else the installation's hold."""


async def projects_page(conn: Connection, after: UUID | None, limit: int) -> list[UUID]:
    """Projects that are no drill's, in the order of their ids: retention goes through all."""
    cursor = await conn.execute(
        "SELECT id FROM projects WHERE NOT is_scratch"
        " AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def project_rules(
    conn: Connection, project_ids: Sequence[UUID], rule: RetentionRule
) -> list[ProjectRule]:
    """What is kept in each of these projects.

    Args:
        conn: Of the caller.
        project_ids: The projects.
        rule: What holds where a project says nothing.
    """
    cursor = await conn.execute(
        f"SELECT p.id, p.key, {RULE}, p.keep_versions IS NOT NULL OR p.keep_days IS NOT NULL"
        " AS is_own FROM projects p WHERE p.id = ANY(%(projects)s) ORDER BY p.id",
        verdict_values(project_ids, rule),
    )
    return [
        ProjectRule(
            row["id"],
            row["key"],
            RetentionRule(row["keep_versions"], row["keep_days"]),
            row["is_own"],
        )
        for row in await cursor.fetchall()
    ]


async def named_elsewhere(conn: Connection, project_ids: Sequence[UUID]) -> set[str]:
    """What these projects' documents name of other projects' frames: keys, and ids of any.

    Keys of other forms are told of all frames, since they do not say whose they are.
    """
    cursor = await conn.execute(
        "SELECT DISTINCT m[1] AS name FROM projects p,"
        " regexp_matches(p.master_json::text, %(pattern)s, 'g') AS m"
        " WHERE p.id = ANY(%(projects)s) AND split_part(m[1], '/', 2) <> p.id::text",
        {"pattern": NAMES, "projects": list(project_ids)},
    )
    return {row["name"] for row in await cursor.fetchall()}


async def kept_versions(
    conn: Connection, project_ids: Sequence[UUID], rule: RetentionRule
) -> dict[UUID, dict[KeepReason, int]]:
    """How many versions each project keeps and why, as far as its own document says."""
    cursor = await conn.execute(
        VERDICTS + "SELECT project_id, kept_for, count(*) AS n FROM verdicts"
        " WHERE kept_for IS NOT NULL GROUP BY project_id, kept_for",
        verdict_values(project_ids, rule),
    )
    kept: dict[UUID, dict[KeepReason, int]] = {}
    for row in await cursor.fetchall():
        kept.setdefault(row["project_id"], {})[row["kept_for"]] = row["n"]
    return kept


async def old_versions(
    conn: Connection, project_ids: Sequence[UUID], rule: RetentionRule
) -> list[OldVersion]:
    """What could be given up of these projects' versions, as far as their own documents say.

    Args:
        conn: Of the caller.
        project_ids: The projects to look at.
        rule: What is kept in any case, where a project says nothing else.

    Returns:
        By project, oldest first.
    """
    cursor = await conn.execute(
        VERDICTS
        + "SELECT id, project_id, storage_path, file_size, refcount, object_bytes, cost_micros,"
        " is_metered, ARRAY(SELECT w.storage_key FROM derivatives w"
        "   WHERE w.source_key = due.storage_path) AS derived_keys"
        " FROM due ORDER BY project_id, scene_id, version",
        verdict_values(project_ids, rule),
    )
    return [OldVersion(**row) for row in await cursor.fetchall()]
