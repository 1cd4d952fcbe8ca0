"""The files of `assets add`: checked and stored here, several at a time, with a display meanwhile.

Belongs here: files, and the line of each. Does not belong here: addresses (`cli.assets_add`), and
what is said of everything together (`cli.assets`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.file_progress import FileDisplay
from scene_pipeline.cli.session import database_in_words
from scene_pipeline.cli.terminal import Terminal, error_json, plain
from scene_pipeline.cli.wording import marks, size_words, style_of
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.library.adding import AddedAsset, AssetDetails, add_file
from scene_pipeline.pipeline.library.import_events import ImportStatus
from scene_pipeline.scenes.identity import AssetKind
from scene_pipeline.settings import Settings

if TYPE_CHECKING:
    from scene_pipeline.pipeline.services import Services


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file."""

    source: str
    kind: AssetKind
    added: AddedAsset | None = None
    error: ScenePipelineError | None = None

    @property
    def status(self) -> ImportStatus:
        """In the words that imports have."""
        if self.added is None:
            return "failed"
        return "new" if self.added.is_new else "duplicate"


def add_files(
    terminal: Terminal,
    settings: Settings,
    database_url: str,
    files: Sequence[str],
    *,
    details_of: Callable[[str], AssetDetails],
    replace: str | None,
) -> list[FileResult]:
    """Add files and tell each the moment it has ended.

    Args:
        terminal: Where to; silent with `--json`.
        settings: Of this process.
        database_url: Of the application's database.
        files: Their paths.
        details_of: What is kept of a file besides its bytes.
        replace: Id of the asset that gets the bytes; None for new ones.

    Returns:
        One result per file, in their order.

    Raises:
        DatabaseError: The database was lost; what is in the library stays.
    """
    if not files:
        return []

    async def work(display: FileDisplay) -> list[FileResult]:
        from scene_pipeline.pipeline.services import open_services  # noqa: PLC0415  # heavy

        asked_at = datetime.now(UTC)
        async with open_services(settings, database_url) as services:
            gate = asyncio.Semaphore(settings.decode_workers)  # as many as can be looked at

            async def add_one(number: int, source: str) -> FileResult:
                async with gate:
                    display.begins(number, source)
                    result = await _add(services, source, details_of(source), asked_at, replace)
                _tell(terminal, result)
                display.ends(number, result.status)
                return result

            return list(await asyncio.gather(*(add_one(*pair) for pair in enumerate(files))))

    with database_in_words(), FileDisplay(terminal, len(files)) as display:
        return asyncio.run(work(display))


async def _add(
    services: "Services",
    source: str,
    details: AssetDetails,
    asked_at: datetime,
    replace: str | None,
) -> FileResult:
    try:
        added = await add_file(services, Path(source), details, asked_at=asked_at, replace=replace)
    except ScenePipelineError as error:
        return FileResult(source, details.kind, error=error)
    return FileResult(source, added.kind, added)


def _tell(terminal: Terminal, result: FileResult) -> None:
    added, error = result.added, result.error
    status = "failed" if added is None else "generated" if added.is_new else "kept"
    mark = marks(terminal.console.encoding)[status]
    words = "" if error is None else f"[{error.error_code}] {error.message} {error.next_action}"
    if added is not None:
        there = "" if added.is_new else "there already as "
        words = f"{there}{added.asset_id} ({added.mime_type}, {size_words(added.size_bytes)})"
        words += f"; {', '.join(added.notes)}" if added.notes else ""
    terminal.say(plain(f"{mark} {result.source}  {words}"), style=style_of(status))


def file_result_json(result: FileResult) -> dict[str, Any]:
    """What became of one file, as JSON, with the members of addresses."""
    added, error = result.added, result.error
    return {
        "import_id": None,
        "source": result.source,
        "kind": result.kind,
        "status": result.status,
        "asset_id": added.asset_id if added else None,
        "url": added.url if added else None,
        "mime_type": added.mime_type if added else None,
        "size_bytes": added.size_bytes if added else None,
        "width": added.width if added else None,
        "height": added.height if added else None,
        "sha256": added.sha256 if added else None,
        "notes": list(added.notes) if added else [],
        "error": error_json(error) if error else None,
    }
