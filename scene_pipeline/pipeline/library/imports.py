"""Imports carried out: from an address or an upload to an asset of the library.

Mode of operation: whoever has the import's session lock works on it, so that two runs never import
one twice and a killed one loses it at once. Its bytes come into a file of this process, and from
there in as any other file does (`adding`); the row and its event follow in one transaction. A run
that takes up what a dead one left begins anew: what that one had stored is found by its content.

Belongs here: one import, and many side by side. Does not belong here: asking for them
(`database.imports`, `uploads`), and which are due (`pipeline.due.imports`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psycopg

from scene_pipeline.database import import_steps
from scene_pipeline.database.import_steps import ImportFailure
from scene_pipeline.database.imports import ImportRow, import_lock
from scene_pipeline.database.locks import GenerationLocks
from scene_pipeline.errors import FileRefusedError, SceneError, ScenePipelineError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.library.adding import AddedAsset, AssetDetails, add_file
from scene_pipeline.pipeline.library.bringing import bring
from scene_pipeline.pipeline.library.import_events import ImportOutcome, ImportProgress, Tell
from scene_pipeline.pipeline.library.sources import kept_source_url, name_of, shown_source
from scene_pipeline.pipeline.library.uploads import remove_upload
from scene_pipeline.pipeline.library.workspace import open_workspace
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.pipeline.services import Services

MAX_IMPORTS_PER_RUN = 1000
MAX_ATTEMPTS = 5
"""Runs that an import is given; a failure that may pass is tried again until then."""
_NOT_KEPT = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""What the database says of one import's own values; any other failure of it is everybody's."""
_TRY_AGAIN = "See that the address gives the file, and ask for it again."
_WAITS_SECONDS = (60, 300, 900, 1800)
"""After the first attempt, the second and so on; the last one holds from there on."""


async def import_all(
    services: Services, rows: Sequence[ImportRow], *, run_id: str, tell: Tell
) -> list[ImportOutcome]:
    """Carry out imports side by side; one that fails never holds up the rest.

    Args:
        services: Of this process.
        rows: At most `MAX_IMPORTS_PER_RUN`.
        run_id: Of the run that works.
        tell: Told of progress, and of each outcome the moment it is there.

    Returns:
        One outcome per row, in their order.

    Raises:
        psycopg.OperationalError: The database was lost; what was begun is taken up again.
        LedgerError: code "lock_lost": the same, seen from the connection that holds the locks.
    """
    gate = asyncio.Semaphore(services.settings.download_concurrency)

    async def one(row: ImportRow, directory: Path) -> ImportOutcome:
        async with gate:
            outcome = await carry_out(services, locks, row, directory, run_id=run_id, tell=tell)
        tell(outcome)
        return outcome

    async with (
        open_workspace(services) as directory,
        GenerationLocks.connect(services.database_url) as locks,
    ):
        try:
            async with asyncio.TaskGroup() as tasks:
                begun = [tasks.create_task(one(row, directory)) for row in rows]
        except ExceptionGroup as errors:
            raise _first(errors) from errors
    return [task.result() for task in begun]


async def carry_out(
    services: Services,
    locks: GenerationLocks,
    row: ImportRow,
    directory: Path,
    *,
    run_id: str,
    tell: Tell,
) -> ImportOutcome:
    """Carry out one import, unless somebody else is at it or has settled it.

    Args:
        services: Of this process.
        locks: Of this run.
        row: As it was found open.
        directory: Of this process, for its file.
        run_id: Of the run that works.
        tell: Told of progress.
    """
    lock = await locks.try_acquire_one([import_lock(row.id)])
    if lock is None:
        return ImportOutcome(row.id, shown_source(row), row.kind, "busy")
    try:
        async with services.pool.connection() as conn:
            claimed = await import_steps.claim_import(conn, row.id, run_id)
        if claimed is None:
            return ImportOutcome(row.id, shown_source(row), row.kind, "busy")
        failpoint("import_after_claim")
        return await _carry_out(services, claimed, directory / str(row.id), tell)
    finally:
        await locks.release_one(lock)


async def _carry_out(services: Services, row: ImportRow, path: Path, tell: Tell) -> ImportOutcome:
    source = shown_source(row)
    tell(ImportProgress(row.id, source, 0, row.bytes_total))

    async def write(received: int, total: int | None) -> None:
        async with services.pool.connection() as conn:
            await import_steps.note_bytes(conn, row, received, total)
        tell(ImportProgress(row.id, source, received, total))

    try:
        size_bytes = await bring(services, row, path, write)
        tell(ImportProgress(row.id, source, size_bytes, size_bytes))
        failpoint("import_after_download")
        asset = await add_file(
            services,
            path,
            _details(row),
            asked_at=row.created_at,
            replace=row.replace_asset_id,
        )
        failpoint("import_after_add")
    except ScenePipelineError as error:
        return await _failed(services, row, error, path)
    except OSError as error:
        return await _failed(services, row, _machine_failed(error), path)
    except _NOT_KEPT as error:
        return await _failed(services, row, _not_kept(error), path)
    finally:
        with suppress(OSError):
            await services.call(path.unlink)
    return await _done(services, row, asset, size_bytes)


def _details(row: ImportRow) -> AssetDetails:
    return AssetDetails(
        kind=row.kind,
        name=name_of(row),
        source=row.source,
        tags=tuple(row.tags),
        project_id=row.project_id,
        client_id=row.client_id,
        campaign_id=row.campaign_id,
        user_id=row.user_id,
        metadata=row.metadata,
        source_url=kept_source_url(row),
        import_id=row.id,
    )


async def _done(
    services: Services, row: ImportRow, asset: AddedAsset, size_bytes: int
) -> ImportOutcome:
    async with services.pool.connection() as conn:
        await import_steps.finish_import(
            conn,
            row,
            asset_id=asset.asset_id,
            is_duplicate=not asset.is_new,
            size_bytes=size_bytes,
            shown_source=kept_source_url(row),
        )
    failpoint("import_after_done")
    await remove_upload(services, row.upload_key)
    return ImportOutcome(
        row.id,
        shown_source(row),
        row.kind,
        "new" if asset.is_new else "duplicate",
        asset_id=asset.asset_id,
        url=asset.url,
        mime_type=asset.mime_type,
        size_bytes=asset.size_bytes,
        notes=asset.notes,
    )


async def _failed(
    services: Services, row: ImportRow, error: ScenePipelineError, path: Path
) -> ImportOutcome:
    source = shown_source(row)
    # The file is ours and gone in a moment; what it was made from is what people know.
    message = error.message.replace(str(path), source)
    is_retryable = isinstance(error, SceneError) and error.retryable
    if row.source == "upload" and isinstance(error, FileRefusedError):
        is_retryable = False  # the very same bytes would be read again
    again_in = wait_after(row.attempts) if is_retryable else None
    next_action = error.next_action
    if next_action == SceneError.default_next_action:  # speaks of scenes
        next_action = _TRY_AGAIN
    failure = ImportFailure(error.error_code, message, next_action, is_retryable)
    async with services.pool.connection() as conn:
        await import_steps.fail_import(
            conn, row, failure, again_in=again_in, shown_source=kept_source_url(row)
        )
    if again_in is None:
        await remove_upload(services, row.upload_key)
    return ImportOutcome(
        row.id,
        source,
        row.kind,
        "failed" if again_in is None else "waiting",
        failure=Failure(failure.code, failure.message, failure.next_action),
        again_in=again_in,
    )


def _machine_failed(error: OSError) -> SceneError:
    return SceneError(
        f"This machine could not carry it out: {error.strerror or type(error).__name__}.",
        code="import_failed",
        next_action="Make room on the disk that holds SCENE_PIPELINE_HOME.",
        retryable=True,
    )


def _not_kept(error: psycopg.Error) -> SceneError:
    return SceneError(
        f"The database does not take what is said of it: {type(error).__name__}.",
        code="import_failed",
        next_action="Ask for it again with other words (name, tags, metadata, client, campaign).",
    )


def wait_after(attempts: int) -> timedelta | None:
    """How long an import waits for its next attempt after so many; None where that was the last."""
    if attempts >= MAX_ATTEMPTS:
        return None
    return timedelta(seconds=_WAITS_SECONDS[min(max(attempts, 1), len(_WAITS_SECONDS)) - 1])


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """The first error of a group, however deep it lies."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
