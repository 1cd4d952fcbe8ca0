"""Versions that are old enough to be given up: found, and turned into tombstones.

A version is kept while anything needs it: it is current, its scene is locked, it is among the
newest or the youngest, or it is referred to: a document names its object, another form of it
(thumbnail, WebP: they go with it) or its id in the library, an unfinished generation sends it, a
scene is made after it, something in the library shares its object. All of it is asked again, under
locks, in the transaction that gives it up; its object loses one reference and is the collector's
from then on.

Belongs here: SQL. Does not belong here: in which order, how much, and the report
(`pipeline.upkeep.retain`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.collection import Amount
from scene_pipeline.database.rows import OPEN, Connection

KeepReason = Literal["current", "locked", "newest", "young", "referenced"]
"""Why a version is kept: the first of these that is true. "referenced" are those that no rule would
keep, and that something still needs."""

MAX_KEEP_DAYS = 100_000
"""About 270 years; whatever another program writes into a project's row, no date goes beyond it."""

_NAMED_IN_DOCUMENT = (
    r"projects/[0-9a-f-]{36}/scenes/[A-Za-z0-9_-]+\.[a-z]+|assets/derived/d_[0-9A-Za-z_]+\.[a-z]+"
    r"|frm_[0-9a-f]{32}"
)
"""How the key of a frame, or of another form of one, stands within any URL, whatever comes before
it, or its id in the library (`scenes.identity.frame_asset_id`)."""


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What is kept of each scene although nothing needs it."""

    keep_versions: int
    """The newest versions of each scene."""
    keep_days: float
    """Everything younger than this."""


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


_RULE: LiteralString = (
    "coalesce(p.keep_versions, %(keep_versions)s) AS keep_versions,"
    " least(coalesce(p.keep_days, %(keep_days)s), %(max_days)s)::float8 AS keep_days"
)
_VERDICTS: LiteralString = f"""
WITH rules AS (SELECT p.id AS project_id, {_RULE} FROM projects p WHERE p.id = ANY(%(projects)s)),
ranked AS (
    SELECT i.id, i.project_id, i.scene_id, i.version, i.storage_status, i.storage_path,
           i.file_size, i.is_current, i.generated_at, i.generation_id, row_number() OVER (
        PARTITION BY i.project_id, i.scene_id ORDER BY i.version DESC) AS place
    FROM scene_images i WHERE i.project_id = ANY(%(projects)s)),
judged AS MATERIALIZED (
    SELECT i.id, i.project_id, i.storage_path, i.file_size, i.scene_id, i.version,
           i.generation_id, CASE
        WHEN i.is_current THEN 'current'
        WHEN s.locked THEN 'locked'
        WHEN i.place <= r.keep_versions THEN 'newest'
        WHEN i.generated_at >= now() - make_interval(secs => r.keep_days * 86400) THEN 'young'
        WHEN g.{OPEN}
            OR EXISTS (SELECT 1 FROM generations o WHERE o.{OPEN} AND (
                o.reused_image_id = i.id OR o.reference_images @> jsonb_build_array(
                    jsonb_build_object('storage_key', i.storage_path))))
            OR EXISTS (SELECT 1 FROM reference_pictures f WHERE f.storage_key = i.storage_path)
            OR EXISTS (SELECT 1 FROM user_assets u
                       WHERE u.storage_key = i.storage_path AND u.deleted_at IS NULL)
        THEN 'referenced' END AS reason
    FROM ranked i
    JOIN rules r ON r.project_id = i.project_id
    JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id
    JOIN generations g ON g.id = i.generation_id
    WHERE i.storage_status = 'stored'),
documents AS MATERIALIZED (
    SELECT p.id, p.master_json::text AS body FROM projects p
    WHERE p.id IN (SELECT j.project_id FROM judged j WHERE j.reason IS NULL)),
verdicts AS MATERIALIZED (
    SELECT j.*, CASE WHEN j.reason IS NULL AND (position(j.storage_path IN d.body) > 0
        OR position('frm_' || replace(j.id::text, '-', '') IN d.body) > 0
        OR EXISTS (SELECT 1 FROM derivatives w
                   WHERE w.source_key = j.storage_path AND position(w.storage_key IN d.body) > 0))
        THEN 'referenced' ELSE j.reason END AS kept_for
    FROM judged j LEFT JOIN documents d ON d.id = j.project_id),
due AS (
    SELECT v.*, o.refcount, o.size_bytes AS object_bytes,
        coalesce(g.cost_micros, 0) / (SELECT count(*) FROM scene_images x
            WHERE x.generation_id = g.id) AS cost_micros,
        coalesce(g.cost_kind, '') = 'metered' AS is_metered
    FROM verdicts v
    JOIN storage_objects o ON o.key = v.storage_path
    JOIN generations g ON g.id = v.generation_id
    WHERE v.kept_for IS NULL)
"""


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
        f"SELECT p.id, p.key, {_RULE}, p.keep_versions IS NOT NULL OR p.keep_days IS NOT NULL"
        " AS is_own FROM projects p WHERE p.id = ANY(%(projects)s) ORDER BY p.id",
        _values(project_ids, rule),
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
        {"pattern": f"({_NAMED_IN_DOCUMENT})", "projects": list(project_ids)},
    )
    return {row["name"] for row in await cursor.fetchall()}


async def kept_versions(
    conn: Connection, project_ids: Sequence[UUID], rule: RetentionRule
) -> dict[UUID, dict[KeepReason, int]]:
    """How many versions each project keeps and why, as far as its own document says."""
    cursor = await conn.execute(
        _VERDICTS + "SELECT project_id, kept_for, count(*) AS n FROM verdicts"
        " WHERE kept_for IS NOT NULL GROUP BY project_id, kept_for",
        _values(project_ids, rule),
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
        _VERDICTS
        + "SELECT id, project_id, storage_path, file_size, refcount, object_bytes, cost_micros,"
        " is_metered, ARRAY(SELECT w.storage_key FROM derivatives w"
        "   WHERE w.source_key = due.storage_path) AS derived_keys"
        " FROM due ORDER BY project_id, scene_id, version",
        _values(project_ids, rule),
    )
    return [OldVersion(**row) for row in await cursor.fetchall()]


async def give_up(
    conn: Connection, project_id: UUID, versions: Sequence[OldVersion], rule: RetentionRule
) -> GivenUp:
    """Turn versions of one project into tombstones, as far as nothing needs them now either.

    A version whose object is counted lower than it is referred to is left for `reconcile`.

    Args:
        conn: Not inside a transaction; this is one.
        project_id: The project of all of them.
        versions: As `old_versions` found them.
        rule: What is kept in any case, where the project says nothing else.

    Returns:
        What was given up. The objects get a new period of grace before they are collected.
    """
    values = _values([project_id], rule)
    values["ids"] = [version.id for version in versions]
    keys = sorted({version.storage_path for version in versions})
    async with conn.transaction():
        await conn.execute("SELECT set_config('scene_pipeline.retention', 'on', true)")
        # No edit of the document, and no new reference to an object, can come between the questions
        # of the next statement and what it does: both wait for these rows.
        await conn.execute("SELECT 1 FROM projects WHERE id = %s FOR SHARE", (project_id,))
        await conn.execute(
            "SELECT 1 FROM storage_objects WHERE key = ANY(%s) ORDER BY key FOR UPDATE", (keys,)
        )
        cursor = await conn.execute(
            f"{_VERDICTS}, removed AS ("
            "  UPDATE scene_images i SET storage_status = 'removed', removed_at = now(),"
            "    storage_path = NULL"
            "  FROM due d JOIN storage_objects o ON o.key = d.storage_path"
            "  WHERE i.id = d.id AND i.id = ANY(%(ids)s) AND o.state = 'present'"
            "    AND o.refcount >= (SELECT count(*) FROM scene_images x"
            "                       WHERE x.storage_path = o.key)"
            # Asked of the row as it is once it is locked: a promotion may have been quicker.
            "    AND NOT i.is_current AND i.storage_status = 'stored'"
            "  RETURNING i.project_id, i.scene_id, i.version, i.generation_id, i.file_size,"
            "    d.storage_path, d.cost_micros, d.is_metered),"
            " released AS (UPDATE storage_objects o SET refcount = o.refcount - c.n,"
            "    created_at = now()"
            "  FROM (SELECT storage_path, count(*) AS n FROM removed GROUP BY storage_path) c"
            "  WHERE o.key = c.storage_path RETURNING o.refcount, o.size_bytes),"
            " told AS (INSERT INTO pipeline_events"
            "    (kind, project_id, scene_id, generation_id, data)"
            "  SELECT 'version_removed', project_id, scene_id, generation_id,"
            "    jsonb_build_object('version', version) FROM removed)"
            " SELECT count(*) AS objects, coalesce(sum(file_size), 0)::bigint AS size_bytes,"
            " coalesce(sum(cost_micros) FILTER (WHERE is_metered), 0)::bigint AS metered,"
            " coalesce(sum(cost_micros) FILTER (WHERE NOT is_metered), 0)::bigint AS estimated,"
            " (SELECT coalesce(sum(size_bytes), 0)::bigint FROM released WHERE refcount = 0)"
            " AS freed FROM removed",
            values,
        )
        row = await cursor.fetchone()
    if row is None:
        return GivenUp()
    amount = Amount(row["objects"], row["size_bytes"])
    return GivenUp(amount, row["freed"], row["metered"], row["estimated"])


def _values(project_ids: Sequence[UUID], rule: RetentionRule) -> dict[str, Any]:
    return {
        "projects": list(project_ids),
        "keep_versions": rule.keep_versions,
        "keep_days": rule.keep_days,
        "max_days": MAX_KEEP_DAYS,
    }
