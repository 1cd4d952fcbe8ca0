"""What is known of the pictures that documents name: kept per project and name.

Belongs here: the rows, and who is to be looked at again because one changed. Does not belong here:
what a name means and what is found behind it (`pipeline.projects.pictures`, `pipeline.references`).

A row is what was known last. It goes only when the document no longer names the picture, so that a
server that is down makes nothing stale.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from scene_pipeline.database.rows import Connection
from scene_pipeline.scenes.references import KnownPicture, PictureProblem

_FACTS: tuple[LiteralString, ...] = (
    "asset_id",
    "storage_key",
    "sha256",
    "content_type",
    "width",
    "height",
    "size_bytes",
    "etag",
    "last_modified",
    "problem_code",
    "problem_message",
    "problem_next_action",
)
_COLUMNS: LiteralString = ", ".join([f"r.{name}" for name in _FACTS])
_KEEP: LiteralString = (
    f"INSERT INTO reference_pictures (project_id, reference, {', '.join(_FACTS)})"
    f" VALUES (%(project_id)s, %(reference)s, {', '.join([f'%({name})s' for name in _FACTS])})"
    " ON CONFLICT (project_id, md5(reference)) DO UPDATE SET"
    f" {', '.join([f'{name} = excluded.{name}' for name in _FACTS])}, checked_at = now()"
)


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A row of `reference_pictures`."""

    picture: KnownPicture
    asset_id: str | None
    is_due: bool = False
    """Whether a foreign server is to be asked about it again."""


@dataclass(frozen=True, slots=True)
class OwnPicture:
    """Something in our store that a name may mean."""

    key: str | None
    """None where it is at its provider only, or is gone."""
    url: str | None
    sha256: str | None
    content_type: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    label: str | None
    asset_id: str | None
    frame_id: UUID | None
    is_animated: bool
    is_deleted: bool
    """Whether it was deleted, given up by retention, or its object is gone."""
    is_rejected: bool
    """Whether a content check refused it, so that it is nothing to go by."""


async def known_pictures(
    conn: Connection, project_id: UUID, *, check_seconds: float = 0.0
) -> dict[str, PictureRow]:
    """Everything that is known of a project's references, by name.

    Args:
        conn: Anything.
        project_id: Whose references.
        check_seconds: Age from which a foreign server is asked again; one with a problem always is.
    """
    cursor = await conn.execute(
        f"SELECT r.reference, {_COLUMNS}, a.name AS label,"
        " r.problem_code IS NOT NULL OR r.checked_at <= now() - make_interval(secs => %s) AS is_due"
        " FROM reference_pictures r LEFT JOIN user_assets a ON a.asset_id = r.asset_id"
        " WHERE r.project_id = %s",
        (check_seconds, project_id),
    )
    rows = {}
    for row in await cursor.fetchall():
        problem = None
        if row["problem_code"] is not None:
            problem = PictureProblem(
                row["problem_code"], row["problem_message"], row["problem_next_action"]
            )
        facts = {name: row[name] for name in KnownPicture.__dataclass_fields__ if name != "problem"}
        rows[row["reference"]] = PictureRow(
            KnownPicture(**facts, problem=problem), row["asset_id"], row["is_due"]
        )
    return rows


async def own_pictures(
    conn: Connection,
    *,
    asset_ids: Collection[str],
    frame_ids: Collection[UUID],
    keys: Collection[str],
) -> list[OwnPicture]:
    """What of ours has one of these ids or keys: library, frames, then any other object.

    Of rows that share an object those that are there come before the deleted ones, since they keep
    its bytes.
    """
    if not asset_ids and not frame_ids and not keys:
        return []
    cursor = await conn.execute(
        "SELECT * FROM ("
        "SELECT a.storage_key AS key, a.url, a.sha256, a.mime_type AS content_type, a.width,"
        " a.height, a.size_bytes, a.name AS label, a.asset_id, NULL::uuid AS frame_id,"
        " a.is_animated, a.deleted_at IS NOT NULL OR o.state <> 'present' AS is_deleted,"
        " false AS is_rejected"
        " FROM user_assets a JOIN storage_objects o ON o.key = a.storage_key"
        " WHERE a.asset_id = ANY(%(assets)s) OR a.storage_key = ANY(%(keys)s)"
        " UNION ALL"
        " SELECT i.storage_path, i.storage_url, i.sha256, i.content_type, i.width, i.height,"
        " i.file_size, i.scene_id || ' version ' || i.version, NULL, i.id, false,"
        " i.storage_status = 'removed' OR coalesce(o.state <> 'present', false),"
        " i.rejection IS NOT NULL"
        " FROM scene_images i LEFT JOIN storage_objects o ON o.key = i.storage_path"
        " WHERE i.id = ANY(%(frames)s) OR i.storage_path = ANY(%(keys)s)"
        " UNION ALL"
        " SELECT o.key, NULL, o.sha256, o.content_type, NULL, NULL, o.size_bytes, NULL, NULL, NULL,"
        " false, o.state <> 'present', false FROM storage_objects o"
        " WHERE o.key = ANY(%(keys)s) AND o.state <> 'intent') own"
        " ORDER BY own.asset_id IS NULL AND own.frame_id IS NULL, own.is_deleted, own.asset_id",
        {"assets": list(asset_ids), "frames": list(frame_ids), "keys": list(keys)},
    )
    return [OwnPicture(**row) for row in await cursor.fetchall()]


async def digests_now(
    conn: Connection, project_id: UUID, named: Sequence[str]
) -> dict[str, str | None]:
    """The bytes behind references this instant: an asset's own row is newer than what is kept.

    Of what was deleted nothing is left to go by.
    """
    cursor = await conn.execute(
        "SELECT r.reference,"
        " CASE WHEN a.deleted_at IS NOT NULL THEN NULL"
        " WHEN a.asset_id IS NOT NULL AND r.reference LIKE 'asset:%%' THEN a.sha256"
        " ELSE r.sha256 END AS sha256"
        " FROM reference_pictures r LEFT JOIN user_assets a ON a.asset_id = r.asset_id"
        " WHERE r.project_id = %s AND r.reference = ANY(%s)",
        (project_id, list(named)),
    )
    return {row["reference"]: row["sha256"] for row in await cursor.fetchall()}


async def write_pictures(
    conn: Connection, project_id: UUID, pictures: Mapping[str, tuple[KnownPicture, str | None]]
) -> None:
    """Keep what was found out.

    Args:
        conn: In a transaction.
        project_id: Whose references.
        pictures: By name: what is known now, and the asset that it is of, if any. Only such as have
            a digest or a problem.
    """
    values = []
    for reference in sorted(pictures):  # one order for everybody, so that two never wait in a ring
        picture, asset_id = pictures[reference]
        problem = picture.problem
        values.append(
            {
                **{name: getattr(picture, name, None) for name in _FACTS},
                "project_id": project_id,
                "reference": reference,
                "asset_id": asset_id,
                "problem_code": problem.code if problem else None,
                "problem_message": problem.message if problem else None,
                "problem_next_action": problem.next_action if problem else None,
            }
        )
    await conn.cursor().executemany(_KEEP, values)


async def forget_pictures(
    conn: Connection, project_id: UUID, revision: int, named: Sequence[str]
) -> None:
    """Drop what is known of pictures that the document, of this revision, does not name."""
    await conn.execute(
        "DELETE FROM reference_pictures r USING projects p WHERE r.project_id = %s"
        " AND p.id = r.project_id AND p.revision = %s AND NOT r.reference = ANY(%s)",
        (project_id, revision, list(named)),
    )


async def mark_checked(conn: Connection, project_id: UUID, references: Sequence[str]) -> None:
    """Say that foreign pictures were asked about and have not changed."""
    await conn.execute(
        "UPDATE reference_pictures SET checked_at = now(), problem_code = NULL,"
        " problem_message = NULL, problem_next_action = NULL"
        " WHERE project_id = %s AND reference = ANY(%s) AND sha256 IS NOT NULL",
        (project_id, sorted(references)),
    )


async def expire_picture(conn: Connection, project_id: UUID, reference: str) -> None:
    """Have a foreign server asked again, whatever was known: it just gave something else."""
    await conn.execute(
        "UPDATE reference_pictures SET checked_at = '-infinity', etag = NULL, last_modified = NULL"
        " WHERE project_id = %s AND reference = %s",
        (project_id, reference),
    )


async def mark_projects_of_asset_changed(conn: Connection, asset_id: str) -> list[UUID]:
    """Have the scenes derived again of every project that names an asset, since its bytes changed.

    Args:
        conn: In the transaction that replaces, deletes or restores the asset.
        asset_id: Of the library.

    Returns:
        The projects.
    """
    cursor = await conn.execute(
        "SELECT DISTINCT project_id FROM reference_pictures WHERE asset_id = %s"
        " ORDER BY project_id",
        (asset_id,),
    )
    found = [row["project_id"] for row in await cursor.fetchall()]
    for project_id in found:
        await mark_project_changed(conn, project_id)
    return found


async def mark_project_changed(conn: Connection, project_id: UUID) -> None:
    """Have a project's scenes derived again, although its document is the same."""
    await conn.execute(
        "UPDATE projects SET planned_revision = least(planned_revision, revision - 1)"
        " WHERE id = %s",
        (project_id,),
    )


async def wake_waiting_for_pictures(conn: Connection, project_id: UUID) -> None:
    """Make what waits for a reference due at once: something was found out about one.

    What waits because its picture keeps changing keeps its own times, which grow.
    """
    await conn.execute(
        "UPDATE generations SET take_up_at = now(), take_up_attempts = 0"
        " WHERE project_id = %s AND state = 'planned' AND take_up_at < 'infinity'"
        " AND error_code ~ '^references?_' AND error_code <> 'reference_changed'",
        (project_id,),
    )
