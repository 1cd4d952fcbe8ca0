"""Old versions turned into tombstones, once all that may need them was asked again.

The project's own document, its rule, its promotions and references to the objects are asked under
locks. Documents of other projects, unfinished generations and requests are asked again in the same
transaction, but not locked: that would stop the editors of every project. What remains is the
instant between that question and the commit: what is committed within it and names a version by
its address alone is not seen, and the address dies with the object, after the collector's period of
grace (the collector asks for references, and looks at no documents).

Belongs here: SQL. Does not belong here: what keeps a version (`database.retention_verdicts`), in
which order and how much (`pipeline.upkeep.retain`).
"""

from collections.abc import Sequence
from uuid import UUID

from scene_pipeline.database.collection import Amount
from scene_pipeline.database.retention import GivenUp, OldVersion
from scene_pipeline.database.retention_verdicts import (
    NAMES,
    VERDICTS,
    RetentionRule,
    verdict_values,
)
from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.identity import frame_asset_id


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
    values = verdict_values([project_id], rule)
    values["ids"] = [version.id for version in versions]
    keys = sorted({version.storage_path for version in versions})
    async with conn.transaction():
        await conn.execute("SELECT set_config('scene_pipeline.retention', 'on', true)")
        # No edit of the document, and no new reference to an object, can come between the questions
        # of the last statement and what it does: both wait for these rows.
        await conn.execute("SELECT 1 FROM projects WHERE id = %s FOR SHARE", (project_id,))
        await conn.execute(
            "SELECT 1 FROM storage_objects WHERE key = ANY(%s)"
            ' ORDER BY key COLLATE "C" FOR UPDATE',  # the order of all who lock several
            (keys,),
        )
        # Read last, and after the locks: no other form of a locked object can appear any more.
        values["elsewhere"] = await _named_elsewhere_now(conn, project_id, versions, keys)
        cursor = await conn.execute(
            f"{VERDICTS}, removed AS ("
            "  UPDATE scene_images i SET storage_status = 'removed', removed_at = now(),"
            "    storage_path = NULL"
            "  FROM due d JOIN storage_objects o ON o.key = d.storage_path"
            "  WHERE i.id = d.id AND i.id = ANY(%(ids)s)"
            "    AND i.id <> ALL(%(elsewhere)s) AND o.state = 'present'"
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


async def _named_elsewhere_now(
    conn: Connection, project_id: UUID, versions: Sequence[OldVersion], keys: Sequence[str]
) -> list[UUID]:
    """Which of these versions other projects' documents name, as they are committed now.

    Every document is read once; names are looked for only in those that have the beginning of one,
    which few have, so that editors of this project wait for little.
    """
    cursor = await conn.execute(
        "SELECT source_key, storage_key FROM derivatives WHERE source_key = ANY(%s)", (list(keys),)
    )
    names = {key: {key} for key in keys}
    for row in await cursor.fetchall():
        names[row["source_key"]].add(row["storage_key"])
    wanted = set[str]().union(*names.values())
    cursor = await conn.execute(
        "SELECT DISTINCT m[1] AS name FROM projects p"
        " CROSS JOIN LATERAL (SELECT p.master_json::text AS body OFFSET 0) d"
        " CROSS JOIN LATERAL regexp_matches(d.body, %(pattern)s, 'g') AS m"
        " WHERE NOT p.is_scratch AND p.id <> %(project)s AND m[1] = ANY(%(names)s)"
        " AND EXISTS (SELECT 1 FROM unnest(%(beginnings)s::text[]) n"
        "             WHERE position(n IN d.body) > 0)",
        {
            "pattern": NAMES,
            "project": project_id,
            "names": [*wanted, *(frame_asset_id(version.id) for version in versions)],
            "beginnings": ["frm_", *{name[: name.rindex("/") + 1] for name in wanted}],
        },
    )
    named = {row["name"] for row in await cursor.fetchall()}
    return [
        version.id
        for version in versions
        if frame_asset_id(version.id) in named or not named.isdisjoint(names[version.storage_path])
    ]
