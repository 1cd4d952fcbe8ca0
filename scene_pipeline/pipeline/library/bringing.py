"""Getting the bytes of an import into a file of ours, and telling how many there are.

Belongs here: that. Does not belong here: what they are (`adding`), and the row's states
(`imports`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from scene_pipeline.database.imports import ImportRow
from scene_pipeline.errors import FetchError, StorageError
from scene_pipeline.media.bodies import new_file, write_whole
from scene_pipeline.pipeline.library.checked_files import MIB
from scene_pipeline.pipeline.library.uploads import require_upload_key
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import MEDIA_OF_KIND
from scene_pipeline.storage.base import ObjectStore

DOWNLOAD_SECONDS = 60.0
"""From the call to the last byte, as the library promises."""
DOWNLOAD_ATTEMPTS = 3
_STEP_BYTES = 2**20
_STEP_SECONDS = 1.0

WriteBytes = Callable[[int, int | None], Awaitable[None]]


class ByteCount:
    """Counts in the thread that receives, and tells the loop at most once per second and MiB.

    Only the newest numbers are kept, so that a slow database never holds up a download.

    Args:
        loop: Where telling happens.
        clock: Monotonic seconds.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._told_at = clock()
        self._told_bytes = 0
        self._newest: tuple[int, int | None] = (0, None)
        self._wake = asyncio.Event()
        self._is_over = False

    def __call__(self, received: int, total: int | None) -> None:
        """Take the count, in whatever thread."""
        self._newest = (received, total)
        now = self._clock()
        is_step = received - self._told_bytes >= _STEP_BYTES or received < self._told_bytes
        if is_step and now - self._told_at >= _STEP_SECONDS:
            self._told_at, self._told_bytes = now, received
            self._loop.call_soon_threadsafe(self._wake.set)

    async def write(self, write: WriteBytes) -> None:
        """Write what is due to be told, until `end`."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_over:
                return
            await write(*self._newest)

    def end(self) -> None:
        """Let `write` return; in the loop's thread."""
        self._is_over = True
        self._wake.set()


async def bring(services: Services, row: ImportRow, target: Path, write: WriteBytes) -> int:
    """Download an address, or read back what was uploaded, into a new file.

    Args:
        services: Fetcher and store.
        row: What to bring.
        target: Does not exist yet.
        write: Called with the bytes received, and announced, at most once per second and MiB.

    Returns:
        The file's size in bytes.

    Raises:
        FetchError: The address is refused, or did not give a file within the bounds; the disk is
            full.
        StorageError: What was uploaded cannot be read.
    """
    count = ByteCount(asyncio.get_running_loop())
    writer = asyncio.create_task(count.write(write))
    try:
        if row.source_url is not None:
            return await _download(services, row, row.source_url, target, count)
        limit = _upload_limit(services, row)
        return await services.call(_copy_upload, services.store, row, target, limit, count)
    finally:
        count.end()
        await writer


def limit_of(services: Services, row: ImportRow) -> int:
    """The most bytes that are downloaded for an import."""
    settings = services.settings
    megabytes = settings.asset_max_download_mb
    if MEDIA_OF_KIND[row.kind] == "image":
        megabytes = min(megabytes, settings.asset_max_image_mb)
    return megabytes * MIB


async def _download(
    services: Services, row: ImportRow, url: str, target: Path, count: ByteCount
) -> int:
    downloaded = await with_retries(
        lambda: services.call(
            services.fetcher.download,
            url,
            target,
            max_bytes=limit_of(services, row),
            total_seconds=DOWNLOAD_SECONDS,
            on_bytes=count,
        ),
        attempts=DOWNLOAD_ATTEMPTS,
        sleep=services.sleep,
    )
    return downloaded.size_bytes


def _upload_limit(services: Services, row: ImportRow) -> int:
    return min(row.upload_max_bytes or 0, services.settings.asset_max_file_mb * MIB)


def _copy_upload(
    store: ObjectStore, row: ImportRow, target: Path, max_bytes: int, count: ByteCount
) -> int:
    """Read an upload once, into a file: whoever put it there may replace it at any moment."""
    received, key = 0, require_upload_key(row.upload_key or "")
    with new_file(target) as file:
        try:
            for chunk in store.open(key):
                received += len(chunk)
                if received > max_bytes:
                    raise _too_large(max_bytes)
                write_whole(file, chunk)
                count(received, row.bytes_total)
        except StorageError as error:
            if error.error_code != "object_missing":
                raise
            raise FetchError(
                "What was uploaded is no longer in the object store.",
                code="upload_missing",
                next_action="Ask for a new upload and send the file again.",
            ) from error
    return received


def _too_large(max_bytes: int) -> FetchError:
    return FetchError(
        f"The upload has more than the {max_bytes} bytes that were permitted.",
        code="too_large",
        next_action="Ask for an upload of the file's true size, or raise ASSET_MAX_FILE_MB.",
    )
