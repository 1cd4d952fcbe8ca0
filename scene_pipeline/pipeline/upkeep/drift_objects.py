"""Drift between rows and the object store: objects that are not counted, gone, or damaged."""

import asyncio

from scene_pipeline.database import drift
from scene_pipeline.database.drift import VersionPlace
from scene_pipeline.database.generations import get_generation
from scene_pipeline.errors import ANOTHER, FetchError, ImageError, SceneError, StorageError, named
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.keeping.retrieve import find_again, picture_of
from scene_pipeline.pipeline.keeping.uploads import upload
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.upkeep.drift import (
    MAX_ROWS,
    PAGE_SIZE,
    LibraryCheck,
    ProjectCheck,
    Subject,
)
from scene_pipeline.storage.base import StoredObject

ATTEMPTS = 3


async def check_object_rows(check: ProjectCheck) -> None:
    """Count and mark the objects that versions need, as far as they are in the store."""
    async with check.services.pool.connection() as conn:
        states = await drift.object_states(conn, check.project.id, MAX_ROWS)
    for state in states:
        message = (
            f"The object of version {state.version} of scene {state.scene_id} is marked"
            f" {state.state!r} with {state.refcount} references."
        )
        subject = Subject("object_row", state.scene_id, state.version)
        if state.state not in ("intent", "present"):
            check.find(
                subject,
                "told",
                message,
                _another(check, state.scene_id),
            )
            continue
        found = await look(check, state.key)
        if check.store_failure is not None:
            return
        if found is None or found.size_bytes != state.size_bytes:
            check.find(subject, "told", f"{message} It is not in the store as it should be.")
        elif not check.apply:
            check.find(subject, "found", message)
        else:
            async with check.services.pool.connection() as conn:
                is_kept = await drift.keep_object(conn, state.key)
            if is_kept:
                await check.repaired(subject, message)
            else:
                check.find(subject, "failed", message)


async def check_objects(check: ProjectCheck) -> None:
    """Look for the object of every current version, and bring back what can be had again."""
    after = ""
    while check.store_failure is None:
        async with check.services.pool.connection() as conn:
            page = await drift.current_places(conn, check.project.id, after, PAGE_SIZE)
        if not page:
            return
        after = page[-1].scene_id
        await asyncio.gather(
            *(_check_object(check, place) for place in page if place.storage_path is not None)
        )


async def look(check: ProjectCheck | LibraryCheck, key: str) -> StoredObject | None:
    """Ask the store about an object; a store that fails for good is not asked any more."""
    async with check.transfers:
        if check.store_failure is not None:
            return None
        try:
            return await with_retries(
                lambda: check.services.call(check.services.store.head, key),
                attempts=ATTEMPTS,
                sleep=check.services.sleep,
            )
        except StorageError as error:
            check.store_failure = failure_of(error)
            return None


async def _check_object(check: ProjectCheck, place: VersionPlace) -> None:
    found = await look(check, place.storage_path or "")
    if check.store_failure is not None:
        return
    check.objects_checked += 1
    if found is None:
        await _gone(check, place)
    elif found.size_bytes != place.file_size or found.sha256 not in (None, place.sha256):
        check.find(
            Subject("object_damaged", place.scene_id, place.version),
            "told",
            f"The object of version {place.version} of scene {place.scene_id} has other bytes than"
            " were stored.",
            _another(check, place.scene_id),
        )


async def _gone(check: ProjectCheck, place: VersionPlace) -> None:
    subject = Subject("object_gone", place.scene_id, place.version)
    message = (
        f"The object of version {place.version} of scene {place.scene_id} was not in the store"
    )
    if not check.apply:
        check.find(
            subject,
            "found",
            f"{message}.",
            "Try to get it again with `scene-pipeline reconcile --apply`.",
        )
        return
    if not await check.locks.try_acquire(place.generation_id):
        check.find(subject, "failed", f"{message}, and another worker is at it.")
        return
    try:
        await _bring_back(check, place)
    except SceneError as error:
        is_lost = isinstance(error, FetchError | ImageError) and not error.retryable
        reason = error.message[:1].lower() + error.message[1:]
        check.find(
            subject, "told" if is_lost else "failed", f"{message}: {reason}", error.next_action
        )
    else:
        await check.repaired(subject, f"{message}; it was brought back.")
    finally:
        await asyncio.shield(check.locks.release(place.generation_id))


async def _bring_back(check: ProjectCheck, place: VersionPlace) -> None:
    """Store the very same bytes under the very same key, where they can still be had."""
    services, key = check.services, place.storage_path or ""
    async with services.pool.connection() as conn:
        maker_id, image_index = await drift.made_by(conn, place.generation_id, place.image_index)
        generation = await get_generation(conn, maker_id)
        is_kept = await drift.is_object_kept(conn, key)
    if not is_kept:
        message = f"{key} was collected, and a key is never used twice."
        raise StorageError(message, code="object_collected")
    image = await with_retries(
        lambda: find_again(
            services,
            generation,
            picture_of(generation, image_index),
            place.sha256,
            downloads=check.transfers,
            decodes=check.decodes,
        ),
        attempts=ATTEMPTS,
        sleep=services.sleep,
    )
    await upload(services, key, image, check.transfers)


def _another(check: ProjectCheck, scene_id: str) -> str:
    return named(f"Ask for another picture with {ANOTHER}.", check.project.key, scene_id)
