"""The files that a run leaves for people: the updated master JSON and the contact sheet.

Belongs here: writing them below the project's data directory. Does not belong here: how they are
made (`pipeline.projects.importing`, `pipeline.reporting.storyboard`).
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.files import write_atomically
from scene_pipeline.cli.session import in_database
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.storyboards import StoryboardRow, latest_storyboard
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.projects.importing import export_project
from scene_pipeline.scenes.identity import project_partition_key
from scene_pipeline.settings import Settings
from scene_pipeline.storage.registry import build_store

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run's results lie."""

    document: Path
    """The updated master JSON."""
    contact_sheet: Path | None
    """None where there is none, or it could not be read back."""
    contact_sheet_url: str | None


def write_outputs(settings: Settings, database_url: str, project_key: str) -> RunFiles:
    """Write the updated document and the newest contact sheet to `<home>/output`.

    Raises:
        ConfigurationError: The directory cannot be written.
    """

    async def read(conn: "Connection") -> tuple[bytes, StoryboardRow | None]:
        project = await get_project(conn, project_key)
        return await export_project(conn, project_key), await latest_storyboard(conn, project.id)

    exported, sheet = in_database(database_url, read)
    directory = settings.home_directory / "output"
    name = project_partition_key(project_key)
    document = directory / f"{name}.frames.json"
    write_atomically(document, exported)
    if sheet is None:
        return RunFiles(document, None, None)
    place = directory / f"{name}.contact-sheet.png"
    is_there = _has_digest(place, sheet.sha256) or _fetch_sheet(
        settings, database_url, sheet, place
    )
    return RunFiles(document, place if is_there else None, sheet.storage_url)


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path.read_bytes()).hexdigest() == digest


def _fetch_sheet(settings: Settings, database_url: str, sheet: StoryboardRow, place: Path) -> bool:
    store = build_store(settings, database_url=database_url)
    try:
        write_atomically(place, store.read(sheet.storage_path))
    except StorageError:  # its address is told; a copy here is a convenience
        return False
    finally:
        store.close()
    return True
