"""People choose which version of a scene is its frame, and which frames are never replaced.

Belongs here: the rules of choosing and locking, under the scene's own lock. Does not belong here:
what runs do by themselves (`pipeline.planning.reusing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scene_pipeline.database import promotion
from scene_pipeline.database.events import append_event
from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.projects import get_project, load_document, unknown_scene
from scene_pipeline.database.promotion import Seat
from scene_pipeline.database.publishing import Publication, publish
from scene_pipeline.database.rows import Connection, ProjectRow, VersionRow
from scene_pipeline.database.versions import list_versions
from scene_pipeline.errors import ANOTHER, NotFoundError, UsageError, named, quoted
from scene_pipeline.pipeline.projects.scene_rows import request_defaults, synchronise
from scene_pipeline.scenes.document import read_document
from scene_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Promotion:
    """How choosing a version went."""

    project_key: str
    scene_id: str
    version: int
    """The current version now."""
    previous_version: int | None
    """The current version before."""
    url: str
    """What the document holds now."""
    is_changed: bool
    """Whether another version is current now than before."""
    is_document_changed: bool
    is_stale: bool
    """Whether it was made from other content than the document holds; as it was chosen by hand, it
    counts as current all the same."""
    is_under_way: bool
    """Whether a newer picture is being made, which becomes current when it is done."""


async def promote(
    conn: Connection,
    settings: Settings,
    project_key: str,
    scene_id: str,
    version: int,
    *,
    expected_current: int | None = None,
    promoted_by: str = "command",
) -> Promotion:
    """Make an existing sound version a scene's frame, without paying, and correct the document.

    All in one transaction: two people who choose at once leave one current version, and a document
    that points to it. Choosing what is current already changes nothing, but for a frame that is
    stale: it counts as chosen from then on.

    Args:
        conn: Outside of a transaction.
        settings: For the defaults that scenes are planned with.
        project_key: The project.
        scene_id: Its scene.
        version: Which version.
        expected_current: The version that the caller takes for current; None where it does not
            matter.
        promoted_by: Who, for the record.

    Raises:
        NotFoundError: No such project, scene or version (codes project_unknown, scene_unknown,
            version_unknown).
        UsageError: The scene left the document (scene_gone), cannot be used (scene_invalid) or is
            locked (scene_locked); the version was rejected (version_rejected), removed
            (version_removed) or its picture is only at a provider that has it no longer
            (version_expired); or another one is current (version_conflict). Nothing was changed.
        DocumentError: The document cannot be used at all.
    """
    async with conn.transaction():
        project = await _hold_and_read(conn, settings, project_key, [scene_id])
        seat = await promotion.take_seat(conn, project.id, scene_id)
        versions = {row.version: row for row in await list_versions(conn, project.id, scene_id)}
        chosen = versions.get(version)
        if seat is None or (chosen is None and seat.is_retired):
            raise unknown_scene(project_key, scene_id)
        if chosen is None:
            message = f"Scene {scene_id} has no version {version}."
            raise NotFoundError(
                message,
                code="version_unknown",
                next_action=f"See them with {_versions(project_key, scene_id)}.",
            )
        if expected_current is not None and seat.version != expected_current:
            raise _conflict(project_key, scene_id, expected_current, seat.version)
        is_changed = seat.version != version
        _check_scene(seat, project_key, scene_id, is_changed=is_changed)
        if is_changed:
            await _check_version(conn, project_key, chosen)
            await promotion.promote_version(conn, project.id, scene_id, version)
            seat_now = await promotion.take_seat(conn, project.id, scene_id)
        else:
            seat_now = seat
        is_stale = seat_now is not None and seat_now.content_hash != seat.wanted_hash
        is_new_choice = is_stale and seat.chosen_hash != seat.wanted_hash
        if is_changed or is_new_choice:
            await promotion.keep_choice(conn, project.id, scene_id)
            await append_event(
                conn,
                "version_promoted",
                project_id=project.id,
                scene_id=scene_id,
                generation_id=chosen.generation_id,
                data={"version": version, "instead_of": seat.version, "by": promoted_by},
            )
        is_document_changed = await _correct_document(conn, project, chosen)
    return Promotion(
        project_key=project_key,
        scene_id=scene_id,
        version=version,
        previous_version=seat.version,
        url=chosen.storage_url,
        is_changed=is_changed,
        is_document_changed=is_document_changed,
        is_stale=is_stale,
        is_under_way=seat.open_state is not None,
    )


@dataclass(frozen=True, slots=True)
class LockChange:
    """How locking or unlocking went."""

    project_key: str
    is_locked: bool
    changed: tuple[str, ...]
    """Scenes that were not so already, in the document's order."""
    unchanged: tuple[str, ...]
    without_frame: tuple[str, ...]
    """Of all of them: scenes that have nothing to keep yet; their first frame is still made."""


async def set_scene_locks(
    conn: Connection,
    settings: Settings,
    project_key: str,
    scene_ids: Sequence[str] | None,
    *,
    is_locked: bool,
) -> LockChange:
    """Lock scenes, so that their frames are never replaced, or unlock them.

    A picture that is being made for a locked scene becomes a version, and not the current one. An
    unlocked scene is due for the sensor of changes.

    Args:
        conn: Outside of a transaction.
        settings: For the defaults that scenes are planned with.
        project_key: The project.
        scene_ids: Which scenes; None for all of the document.
        is_locked: What they are to be.

    Raises:
        NotFoundError: No such project or scene; nothing was changed.
        DocumentError: The document cannot be used at all.
    """
    async with conn.transaction():
        project = await _hold_and_read(conn, settings, project_key, scene_ids)
        locks = {lock.scene_id: lock for lock in await promotion.scene_locks(conn, project.id)}
        wanted = list(locks) if scene_ids is None else list(dict.fromkeys(scene_ids))
        for scene_id in wanted:
            if scene_id not in locks:
                raise unknown_scene(project_key, scene_id)
        changed = await promotion.set_locked(conn, project.id, wanted, is_locked=is_locked)
        for scene_id in wanted:
            if scene_id in changed:
                await append_event(
                    conn,
                    "scene_locked" if is_locked else "scene_unlocked",
                    project_id=project.id,
                    scene_id=scene_id,
                )
    return LockChange(
        project_key=project_key,
        is_locked=is_locked,
        changed=tuple(scene_id for scene_id in wanted if scene_id in changed),
        unchanged=tuple(scene_id for scene_id in wanted if scene_id not in changed),
        without_frame=tuple(scene_id for scene_id in wanted if not locks[scene_id].has_frame),
    )


async def _hold_and_read(
    conn: Connection, settings: Settings, project_key: str, scene_ids: Sequence[str] | None
) -> ProjectRow:
    """Keep the document and the scenes' versions still, and know the document's scenes."""
    project = await get_project(conn, project_key)
    await hold_project(conn, project.id)
    await promotion.hold_heads(conn, project.id, scene_ids)
    stored = await load_document(conn, project.id)
    if stored.project.planned_revision < stored.project.revision:
        document = read_document(stored.master_json, order=stored.scene_order)
        await synchronise(conn, stored, document, request_defaults(settings))
    return stored.project


def _check_scene(seat: Seat, project_key: str, scene_id: str, *, is_changed: bool) -> None:
    if seat.is_retired:
        raise UsageError(
            f"Scene {scene_id} is no longer in the document.",
            code="scene_gone",
            next_action="Put it back into the document first; its frame comes back with it.",
        )
    if seat.problem_message is not None:
        raise UsageError(
            f"The document's entry of scene {scene_id} cannot be used: {seat.problem_message}",
            code="scene_invalid",
            next_action="Correct the scene in the document first.",
        )
    if seat.is_locked and is_changed and seat.version is not None:
        raise UsageError(
            f"Scene {scene_id} is locked: its frame, version {seat.version}, is never replaced.",
            code="scene_locked",
            next_action="Unlock it first:"
            f" `scene-pipeline unlock {quoted(project_key)} {quoted(scene_id)}`.",
        )


async def _check_version(conn: Connection, project_key: str, chosen: VersionRow) -> None:
    name = f"Version {chosen.version} of scene {chosen.scene_id}"
    next_action = named(
        "Choose another one (`scene-pipeline versions PROJECT SCENE`), or ask for a new picture"
        f" with {ANOTHER}.",
        project_key,
        chosen.scene_id,
    )
    if chosen.rejection is not None:
        raise UsageError(
            f"{name} was rejected: {chosen.rejection}",
            code="version_rejected",
            next_action=next_action,
        )
    if chosen.storage_status == "removed":
        raise UsageError(
            f"{name} was removed by retention; only its record is left.",
            code="version_removed",
            next_action=next_action,
        )
    if await promotion.is_gone(conn, chosen.id):
        raise UsageError(
            f"{name} is not in the store, and its provider does not have it any more.",
            code="version_expired",
            next_action="Try to bring it home with `scene-pipeline heal`, or choose another.",
        )


async def _correct_document(conn: Connection, project: ProjectRow, chosen: VersionRow) -> bool:
    publication = Publication(
        generation_id=chosen.generation_id,
        scene_id=chosen.scene_id,
        scene_prompt=chosen.scene_prompt,
        url=chosen.storage_url,
        guard="current",
    )
    [verdict] = await publish(conn, project.id, [publication])
    if verdict not in ("written", "already"):
        raise AssertionError(verdict)  # the document and the scene's head are both held
    return verdict == "written"


def _conflict(project_key: str, scene_id: str, expected: int, current: int | None) -> UsageError:
    now = "none is" if current is None else f"version {current} is"
    return UsageError(
        f"Version {expected} of scene {scene_id} is not current any more: {now}.",
        code="version_conflict",
        next_action=f"Look at the versions again ({_versions(project_key, scene_id)}),"
        " then decide.",
    )


def _versions(project_key: str, scene_id: str) -> str:
    return f"`scene-pipeline versions {quoted(project_key)} {quoted(scene_id)}`"
