"""What imports leave behind: uploads that nobody confirmed, and folders of dead processes."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from scene_pipeline.database import uploads as rows
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.library.uploads import UPLOAD_EXPIRED, give_up, remove_upload
from scene_pipeline.pipeline.library.workspace import remove_leftovers
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import UPLOADS_PREFIX

UNCONFIRMED_AGE = timedelta(days=1)
MAX_SWEPT = 1000
"""Uploads that one call gives up, and objects that it removes; the next call goes on."""

_LISTED = 500


@dataclass(slots=True)
class SweepReport:
    """What a sweep found and did."""

    expired: int = 0
    """Uploads that were never confirmed."""
    removed_objects: int = 0
    """Objects that earlier calls, or imports that were killed, had let go of; and what arrived
    later than that."""
    failed_objects: list[str] = field(default_factory=list)
    """Keys that the store did not remove; the next sweep tries again."""
    removed_folders: int = 0


async def sweep_uploads(
    services: Services, *, age: timedelta = UNCONFIRMED_AGE, limit: int = MAX_SWEPT
) -> SweepReport:
    """Give up uploads that were permitted that long ago and never confirmed, and remove them.

    Also removed: the objects of uploads whose import has ended, where a process died before it
    could, what arrived after that, and folders of processes that are gone.

    Args:
        services: Store and database.
        age: How long an upload is waited for.
        limit: Most uploads, and most objects.
    """
    home = services.settings.home_directory
    report = SweepReport(removed_folders=await services.call(remove_leftovers, home))
    async with services.pool.connection() as conn:
        found = await rows.unconfirmed_uploads(conn, age, limit)
    for import_id in found:
        report.expired += await give_up(
            services,
            import_id,
            code=UPLOAD_EXPIRED,
            message="The upload was not confirmed in time; what arrived of it is removed.",
            next_action="Ask for a new upload and send the file again.",
        )
    await _mark_late(services)
    async with services.pool.connection() as conn:
        marked = await rows.marked_uploads(conn, limit)
    for key in marked:
        if await remove_upload(services, key):
            report.removed_objects += 1
        else:
            report.failed_objects.append(key)
            if report.removed_objects == 0:  # the store is down: no use in asking a thousand times
                break
    return report


async def _mark_late(services: Services) -> None:
    """Mark what lies under keys that are over; a store that cannot be asked is asked next time."""
    with suppress(StorageError):
        found = await services.call(services.store.list, f"{UPLOADS_PREFIX}/")
        while page := await services.call(lambda: list(islice(found, _LISTED))):
            async with services.pool.connection() as conn:
                await rows.mark_arrived_again(conn, [one.key for one in page])
