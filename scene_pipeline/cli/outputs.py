"""The files that a run leaves for people and programs: the updated master JSON and the storyboard.

Belongs here: writing them below the project's data directory. Does not belong here: how they are
made (`pipeline.projects.importing`, `pipeline.reporting.storyboard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from scene_pipeline.cli.files import write_atomically
from scene_pipeline.cli.session import in_database
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.report_files import latest_report_file
from scene_pipeline.database.storyboards import latest_storyboard
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.projects.importing import export_project
from scene_pipeline.scenes.identity import project_partition_key
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.registry import build_store

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

MadeFile = Literal["contact_sheet", "storyboard_page", "start_frames"]
"""What was made of a project, as `run --json` calls it."""
MADE: tuple[MadeFile, ...] = get_args(MadeFile)
_ENDINGS: dict[MadeFile, str] = {
    "contact_sheet": "contact-sheet.png",
    "storyboard_page": "storyboard.html",
    "start_frames": "start_frames.json",
}


@dataclass(frozen=True, slots=True)
class _StoredFile:
    storage_path: str
    storage_url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run's results lie."""

    document: Path
    """The updated master JSON."""
    places: Mapping[MadeFile, Path]
    """Without what there is none of, or could not be read back."""
    urls: Mapping[MadeFile, str]


def write_outputs(settings: Settings, database_url: str, project_key: str) -> RunFiles:
    """Write the updated document and the newest storyboard to `<home>/output`.

    Raises:
        ConfigurationError: The directory cannot be written.
    """

    async def read(conn: "Connection") -> tuple[bytes, dict[MadeFile, _StoredFile]]:
        project = await get_project(conn, project_key)
        found = {
            "contact_sheet": await latest_storyboard(conn, project.id),
            "storyboard_page": await latest_report_file(conn, project.id, "storyboard_page"),
            "start_frames": await latest_report_file(conn, project.id, "start_frames"),
        }
        stored: dict[MadeFile, _StoredFile] = {
            name: _StoredFile(row.storage_path, row.storage_url, row.sha256)
            for name in _ENDINGS
            if (row := found[name]) is not None
        }
        return await export_project(conn, project_key), stored

    exported, stored = in_database(database_url, read)
    directory = settings.home_directory / "output"
    name = project_partition_key(project_key)
    document = directory / f"{name}.frames.json"
    write_atomically(document, exported)
    places = {made: directory / f"{name}.{_ENDINGS[made]}" for made in stored}
    missing = [made for made, place in places.items() if not _is_there(place, stored[made])]
    if missing:
        store = build_store(settings, database_url=database_url)
        try:
            for made in missing:
                if not _fetch(store, stored[made], places[made]):
                    del places[made]
        finally:
            store.close()
    return RunFiles(document, places, {made: file.storage_url for made, file in stored.items()})


def _is_there(place: Path, file: _StoredFile) -> bool:
    return place.is_file() and sha256(place.read_bytes()).hexdigest() == file.sha256


def _fetch(store: ObjectStore, file: _StoredFile, place: Path) -> bool:
    try:
        write_atomically(place, store.read(file.storage_path))
    except StorageError:  # its address is told; a copy here is a convenience
        return False
    return True
