"""Storing what people look at: an intent, the object, and the same bytes only once.

Belongs here: that, and the record of a report's file. Does not belong here: what is in a file, the
record of a contact sheet (`pipeline.reporting.storyboard`), and removing old ones
(`pipeline.upkeep.collect`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from scene_pipeline.database import objects
from scene_pipeline.database.report_files import (
    ReportFileRow,
    ReportKind,
    latest_report_file,
    record_report_file,
)
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import report_storage_key
from scene_pipeline.storage.keys import content_type_of

_EXTENSIONS: dict[str, str] = {
    "text/html": "html",
    "application/json": "json",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "image/png": "png",
}


class StoredBefore(Protocol):
    """The newest row of its kind, of whichever table."""

    @property
    def storage_path(self) -> str:
        """Its key."""

    @property
    def storage_url(self) -> str:
        """Its address, as it was told."""

    @property
    def sha256(self) -> str:
        """Of its bytes."""

    @property
    def file_size(self) -> int:
        """Bytes."""


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes that are in the store, and verified."""

    storage_path: str
    storage_url: str
    sha256: str
    file_size: int
    content_type: str

    def is_of(self, row: StoredBefore | None) -> bool:
        """Whether a row tells of these very bytes, where they are."""
        return row is not None and (row.storage_path, row.storage_url) == (
            self.storage_path,
            self.storage_url,
        )


async def store_report_file(
    services: Services,
    project_id: UUID | None,
    kind: ReportKind,
    data: bytes,
    content_type: str,
    *,
    run_id: str | None = None,
) -> ReportFileRow:
    """Store a file, unless the newest of its kind has the same bytes: then that one is given.

    Args:
        services: Store and database.
        project_id: The project it is about; None for all.
        kind: What it is.
        data: Its bytes; deterministic ones are stored once, however often they are made.
        content_type: One of the media types of `_EXTENSIONS`; what follows a semicolon is not kept.
        run_id: The run that made it.

    Raises:
        StorageError: It could not be stored.
        LedgerError: code "object_collected".
    """
    extension = _EXTENSIONS[content_type.partition(";")[0]]
    # Folder and extension say the rest. A shorter address is one that Dagster's page shows whole.
    name = kind.removeprefix("project_").removeprefix("storyboard_").removesuffix(f"_{extension}")
    async with services.pool.connection() as conn:
        latest = await latest_report_file(conn, project_id, kind)
    stored = await store_once(
        services,
        data,
        latest,
        lambda now, digest: report_storage_key(project_id, name, now, digest, extension),
    )
    if latest is not None and stored.is_of(latest):
        return latest
    file = ReportFileRow(
        project_id=project_id,
        kind=kind,
        storage_path=stored.storage_path,
        storage_url=stored.storage_url,
        sha256=stored.sha256,
        file_size=stored.file_size,
        content_type=stored.content_type,
        run_id=run_id,
    )
    async with services.pool.connection() as conn:
        await record_report_file(conn, file)
    return file


async def store_once(
    services: Services,
    data: bytes,
    latest: StoredBefore | None,
    key_of: Callable[[datetime, str], str],
) -> StoredBytes:
    """Store bytes, unless the newest row of their kind has the same ones, and the store still has.

    Args:
        services: Store and database.
        data: The bytes.
        latest: The newest row; None where there is none.
        key_of: Makes a new key of the time and the hex digest.

    Returns:
        Where they are; the caller writes the row that needs them.

    Raises:
        StorageError: They could not be stored.
        LedgerError: code "object_collected".
    """
    digest = sha256(data).hexdigest()
    is_there = latest is not None and latest.sha256 == digest and await _is_there(services, latest)
    key = latest.storage_path if latest and is_there else key_of(datetime.now(UTC), digest)
    content_type = content_type_of(key)
    if not is_there:
        async with services.pool.connection() as conn:
            await objects.register_intent(
                conn, key, sha256=digest, size_bytes=len(data), content_type=content_type
            )
        await services.call(services.store.put, key, data, content_type=content_type, sha256=digest)
    return StoredBytes(key, services.store.url(key), digest, len(data), content_type)


async def _is_there(services: Services, file: StoredBefore) -> bool:
    """Whether the store still has a file, at the address that is told of it.

    Else one that was lost would stay lost for as long as there is nothing new to say.
    """
    if file.storage_url != services.store.url(file.storage_path):
        return False
    found = await services.call(services.store.head, file.storage_path)
    return found is not None and found.size_bytes == file.file_size
