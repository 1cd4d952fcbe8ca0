"""Storing the files of reports: an intent, the object, its row; the same bytes only once.

Belongs here: that. Does not belong here: what is in a file, and removing old ones
(`pipeline.upkeep.collect`).
"""

from datetime import UTC, datetime
from hashlib import sha256
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
    digest = sha256(data).hexdigest()
    async with services.pool.connection() as conn:
        latest = await latest_report_file(conn, project_id, kind)
        if latest is not None and latest.sha256 == digest:
            return latest
        extension = _EXTENSIONS[content_type.partition(";")[0]]
        key = report_storage_key(project_id, kind, datetime.now(UTC), digest, extension)
        content_type = content_type_of(key)
        await objects.register_intent(
            conn, key, sha256=digest, size_bytes=len(data), content_type=content_type
        )
    await services.call(services.store.put, key, data, content_type=content_type, sha256=digest)
    file = ReportFileRow(
        project_id=project_id,
        kind=kind,
        storage_path=key,
        storage_url=services.store.url(key),
        sha256=digest,
        file_size=len(data),
        content_type=content_type,
        run_id=run_id,
    )
    async with services.pool.connection() as conn:
        await record_report_file(conn, file)
    return file
