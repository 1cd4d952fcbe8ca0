"""Drift of the library: counts of references, and objects and addresses of assets.

Belongs here: everything that is stored, by the register. Does not belong here: versions of scenes
(`pipeline.upkeep.drift_objects`); what an asset says of itself, which is its owner's.

A derivative is made again; an asset's own bytes nobody else has, so that their loss is told.

The store lists what it has once, a thousand objects per request, and is asked only about what is
not in that list as it should be: asking about each of 20,000 assets every hour would cost money.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from typing import Final

from scene_pipeline.database import drift_library
from scene_pipeline.database.addresses import RowAddress, move_rows
from scene_pipeline.database.derivatives import forget_derivative
from scene_pipeline.database.drift_library import KeyRange, LibraryObjectUse, MiscountedObject
from scene_pipeline.errors import SceneError, StorageError
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.library.deriving import derivative_key
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.upkeep.drift import PAGE_SIZE, LibraryCheck
from scene_pipeline.pipeline.upkeep.drift_objects import ATTEMPTS, look
from scene_pipeline.scenes.identity import ASSETS_PREFIX

MAX_LISTED: Final = 200_000
"""Objects of the list that are kept in memory, about 40 MB; the store is asked about the others."""


async def check_library(check: LibraryCheck, max_drifts: int) -> bool:
    """Go through the register, page by page.

    Args:
        check: What is found is added to it.
        max_drifts: Findings after which the rest is left for the next time.

    Returns:
        Whether everything was looked at; counts are, also while the store is down.
    """
    listed = await _listed(check)
    after = ""
    while True:
        async with check.services.pool.connection() as conn:
            page = await drift_library.next_page(conn, after, PAGE_SIZE)
        if page is None:
            return True
        await _check_counts(check, page)
        await _check_page(check, page, listed)
        if len(check.drifts) >= max_drifts:
            return False
        after = page.last


async def _listed(check: LibraryCheck) -> Mapping[str, int]:
    """Sizes of what lies in the store for the library, by key; as much as is kept in memory."""
    services = check.services

    def read() -> dict[str, int]:
        found = services.store.list(f"{ASSETS_PREFIX}/")
        return {one.key: one.size_bytes for one in islice(found, MAX_LISTED)}

    if check.store_failure is not None:
        return {}
    try:
        return await with_retries(
            lambda: services.call(read), attempts=ATTEMPTS, sleep=services.sleep
        )
    except StorageError as error:
        check.store_failure = failure_of(error)
        return {}


async def _check_counts(check: LibraryCheck, page: KeyRange) -> None:
    async with check.services.pool.connection() as conn:
        found = await drift_library.miscounted_objects(conn, page)
    for seen in found:
        await _check_count(check, seen)


async def _check_count(check: LibraryCheck, seen: MiscountedObject) -> None:
    message = (
        f"{seen.key} is counted as needed by {seen.refcount}, and {seen.references} rows refer to"
        " it."
    )
    if seen.state not in ("intent", "present"):
        check.find(
            "reference_count",
            seen.key,
            "told",
            f"{message} The collector has it.",
            "Add the file again, or ask for another picture.",
        )
    elif not check.apply:
        check.find("reference_count", seen.key, "found", message)
    else:
        async with check.services.pool.connection() as conn:
            is_counted = await drift_library.recount_object(conn, seen)
        if is_counted:
            await check.repaired("reference_count", seen.key, message)
        # Otherwise somebody changed it just now: what is wrong then is found the next time.


async def _check_page(check: LibraryCheck, page: KeyRange, listed: Mapping[str, int]) -> None:
    async with check.services.pool.connection() as conn:
        uses = await drift_library.library_objects(conn, page)
    objects = [list(one) for _, one in groupby(uses, key=lambda use: use.key)]
    await asyncio.gather(*(_check_object(check, one, listed) for one in objects))


async def _check_object(
    check: LibraryCheck, uses: Sequence[LibraryObjectUse], listed: Mapping[str, int]
) -> None:
    one = uses[0]
    if one.state not in ("intent", "present"):
        await _gone(check, uses, f"is marked {one.state!r}, so that it cannot be kept")
        return
    if check.store_failure is not None:
        return
    check.objects_checked += 1
    if one.size_bytes is not None and listed.get(one.key) == one.size_bytes:
        await _check_there(check, uses)
        return
    found = await look(check, one.key)
    if check.store_failure is not None:
        return
    if found is None:
        await _gone(check, uses, "is not in the store")
    elif found.size_bytes != one.size_bytes or found.sha256 not in (None, one.sha256):
        check.find(
            "asset_object_damaged",
            one.asset_id or one.key,
            "told",
            f"{one.key} has other bytes than were stored.",
            _other_bytes(one),
        )
    else:
        await _check_there(check, uses)


async def _check_there(check: LibraryCheck, uses: Sequence[LibraryObjectUse]) -> None:
    await _check_state(check, uses[0])
    await _check_addresses(check, uses)


async def _check_state(check: LibraryCheck, use: LibraryObjectUse) -> None:
    """Mark an object as there that is needed, and is, and was only announced."""
    if use.state == "present":
        return
    subject, message = use.asset_id or use.key, f"{use.key} is marked {use.state!r}."
    if not check.apply:
        check.find("asset_object_row", subject, "found", message)
        return
    async with check.services.pool.connection() as conn:
        is_kept = await drift_library.keep_announced(conn, use.key)
    if is_kept:
        await check.repaired("asset_object_row", subject, message)
    else:
        check.find("asset_object_row", subject, "failed", message)


async def _gone(check: LibraryCheck, uses: Sequence[LibraryObjectUse], what: str) -> None:
    for use in uses:
        if use.asset_id is not None:
            check.find(
                "asset_object_gone",
                use.asset_id,
                "told",
                f"The object of {use.asset_id}, {use.key}, {what}.",
                f"Add the file again: `scene-pipeline assets add FILE --replace {use.asset_id}`.",
            )
        else:
            await _make_again(check, use, f"The {use.form} of {use.source_key}, {use.key}, {what}")


async def _make_again(check: LibraryCheck, use: LibraryObjectUse, message: str) -> None:
    """Make a derivative again from its source; the new one may have another key."""
    if use.source_key is None or use.form is None:
        return
    if not check.apply:
        check.find("derivative_gone", use.key, "found", f"{message}.")
        return
    async with check.services.pool.connection() as conn:
        await forget_derivative(conn, use.source_key, use.form)
    try:
        await derivative_key(check.services, use.source_key, use.form)
    except SceneError as error:
        check.find(
            "derivative_gone",
            use.key,
            "failed",
            f"{message}, and was not made again: {error.message}",
            "It is made when somebody asks for it; see to its source.",
        )
    else:
        await check.repaired("derivative_gone", use.key, f"{message}; it was made again.")


async def _check_addresses(check: LibraryCheck, uses: Sequence[LibraryObjectUse]) -> None:
    """Correct addresses of assets; one that may be that of another store is only told."""
    url = check.services.store.url(uses[0].key)
    for use in uses:
        if use.asset_id is None or use.asset_row is None or use.url in (None, url):
            continue
        message = f"The address of {use.asset_id} is not the one that the store gives it."
        if use.is_copied:
            check.find(
                "asset_url",
                use.asset_id,
                "told",
                message,
                "The library was copied to another store: set SCENE_PIPELINE_STORAGE to the one"
                " that is in use, and run `scene-pipeline storage copy --to` that one.",
            )
        elif not check.apply:
            check.find("asset_url", use.asset_id, "found", message)
        else:
            row = RowAddress(use.asset_row, use.key, use.url or "")
            async with check.services.pool.connection() as conn:
                moved = await move_rows(conn, "user_assets", [(row, url)])
            if moved:
                await check.repaired("asset_url", use.asset_id, message)


def _other_bytes(use: LibraryObjectUse) -> str:
    if use.asset_id is None:
        return "Remove the object from the store; it is made again."
    return (
        "Remove the object from the store, and add the file again:"
        f" `scene-pipeline assets add FILE --replace {use.asset_id}`."
    )
