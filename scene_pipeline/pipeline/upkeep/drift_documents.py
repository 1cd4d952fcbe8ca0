"""Drift between rows and the document: URLs that are missing, old, or somebody else's."""

import asyncio
from collections.abc import Sequence

from scene_pipeline.database import drift
from scene_pipeline.database.drift import DocumentScene, VersionPlace
from scene_pipeline.database.generations import get_generation
from scene_pipeline.database.publishing import Publication, PublicationResult, publish
from scene_pipeline.errors import quoted
from scene_pipeline.pipeline.upkeep.drift import MAX_ROWS, PAGE_SIZE, ProjectCheck, Subject

_Seen = tuple[VersionPlace, DocumentScene]
"""A current version, and the document's scene that does not point to it."""


async def check_unpublished(check: ProjectCheck) -> None:
    """Publish what was recorded and left behind; what a worker is busy with is no drift."""
    async with check.services.pool.connection() as conn:
        places = await drift.unpublished_places(conn, check.project.id, MAX_ROWS)
    for place in places:
        if not await check.locks.try_acquire(place.generation_id):
            continue
        try:
            await _publish_recorded(check, place)
        finally:
            await asyncio.shield(check.locks.release(place.generation_id))


async def _publish_recorded(check: ProjectCheck, place: VersionPlace) -> None:
    subject = Subject("unpublished", place.scene_id, place.version)
    message = (
        f"Version {place.version} of scene {place.scene_id} was recorded and never written into"
        " the document."
    )
    async with check.services.pool.connection() as conn:
        if (await get_generation(conn, place.generation_id)).state != "recorded":
            return
        if not check.apply:
            check.find(subject, "found", message)
            return
        publication = Publication(
            generation_id=place.generation_id,
            scene_id=place.scene_id,
            scene_prompt=place.scene_prompt,
            url=place.storage_url,
            guard="prompt",
        )
        [verdict] = await publish(conn, check.project.id, [publication])
    if verdict not in ("written", "already"):
        message += " The document has moved on since, so it stays a version and nothing more."
    await check.repaired(subject, message)


async def check_document(check: ProjectCheck) -> None:
    """Write current versions' URLs where the document has none, or an old one of ours."""
    repairable: list[_Seen] = []
    for place, scene in await _differences(check):
        async with check.services.pool.connection() as conn:
            is_ours = scene.url is None or await drift.is_url_of_scene(
                conn, check.project.id, place.scene_id, scene.url
            )
            # A frame that was never published is a new one: it needs the prompt it was made from.
            is_fit = (
                place.generation_state == "published"
                or scene.prompt == place.scene_prompt
                or await drift.was_published(conn, check.project.id, place.generation_id)
            )
        if is_ours and is_fit:
            repairable.append((place, scene))
        elif is_ours:
            check.find(
                Subject("document_url", place.scene_id, place.version),
                "told",
                f"Scene {place.scene_id} was edited before version {place.version} could be"
                " written into the document.",
                "Make a frame of what it says now: `scene-pipeline run"
                f" {quoted(check.project.key)} --stale`.",
            )
        else:
            check.find(
                Subject("foreign_url", place.scene_id, place.version),
                "told",
                f"Scene {place.scene_id} points to an address that is none of its versions';"
                f" version {place.version} is current.",
                "Take the address out of the document if the version is wanted, then reconcile.",
            )
    if check.apply:
        for start in range(0, len(repairable), PAGE_SIZE):
            await _republish(check, repairable[start : start + PAGE_SIZE])
    else:
        for place, scene in repairable:
            await _tell(check, place, scene, None)


async def _differences(check: ProjectCheck) -> list[_Seen]:
    """Current versions that the document does not point to, seen in one snapshot."""
    found: list[_Seen] = []
    async with check.services.pool.connection() as conn, conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        scenes = await drift.document_scenes(conn, check.project.id)
        after = ""
        while page := await drift.current_places(conn, check.project.id, after, PAGE_SIZE):
            after = page[-1].scene_id
            check.versions_checked += len(page)
            found.extend(
                (place, scenes[place.scene_id])
                for place in page
                if place.scene_id in scenes
                and scenes[place.scene_id].url != place.storage_url
                and place.generation_state != "recorded"  # its worker is about to publish it
            )
    return found


async def _republish(check: ProjectCheck, seen: Sequence[_Seen]) -> None:
    async with check.services.pool.connection() as conn:
        verdicts = await publish(
            conn,
            check.project.id,
            [
                Publication(
                    generation_id=place.generation_id,
                    scene_id=place.scene_id,
                    scene_prompt=place.scene_prompt,
                    url=place.storage_url,
                    guard="heal",
                    expected_url=scene.url,
                )
                for place, scene in seen
            ],
        )
    for (place, scene), verdict in zip(seen, verdicts, strict=True):
        await _tell(check, place, scene, verdict)


async def _tell(
    check: ProjectCheck,
    place: VersionPlace,
    scene: DocumentScene,
    verdict: PublicationResult | None,
) -> None:
    subject = Subject("document_url", place.scene_id, place.version)
    has = "no start frame" if scene.url is None else "an older address"
    message = f"Scene {place.scene_id} has {has}, though version {place.version} is current."
    if verdict is None:
        check.find(subject, "found", message)
    elif verdict in ("written", "already"):
        await check.repaired(subject, message)
    else:
        message += " It was changed by somebody else just now and left alone."
        check.find(subject, "failed", message)
