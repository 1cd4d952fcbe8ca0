"""`inspect`: what a picture's file says of itself, and what the database knows of it.

Belongs here: showing, and whether there is a database to ask. Does not belong here: reading
(`pipeline.library.reading_back`).

The embedded database is started where it was used before, and never made for this alone.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene_pipeline.cli.assets_add import is_address
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import show_fields
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import dollars_of, size_words
from scene_pipeline.database import embedded
from scene_pipeline.database.frame_files import FrameOfFile
from scene_pipeline.errors import DatabaseError, UsageError
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.library.reading_back import (
    PictureFile,
    find_frame,
    read_address,
    read_file,
    shown_facts,
)
from scene_pipeline.scenes.references import shown_name
from scene_pipeline.settings import Settings, load_settings

_MAX_SHOWN_CHARACTERS = 2_000
"""Of each fact at a terminal; with --json it is whole."""


@dataclass(frozen=True, slots=True)
class _Database:
    """The database, as far as there is one."""

    url: str | None
    missing: str = ""
    """Why it was not asked, in one sentence."""


def inspect_picture(terminal: Terminal, picture: str) -> int:
    """Show what a picture says of itself; returns the exit code.

    Args:
        terminal: Where to.
        picture: A file of this machine, or an address: one of ours, or at an allowed host.

    Raises:
        UsageError: There is no such file, or it neither says how it was made nor is it known here.
        SceneError: It cannot be read, or is not a picture that we accept.
    """
    settings = load_settings()
    file = None if is_address(picture) else read_file(settings, Path(picture))
    with _attached(settings, terminal) as database:
        if file is None:
            with terminal.waiting("Reading the picture"):
                file = asyncio.run(read_address(settings, picture, database_url=database.url))
        frame, unknown = _look_up(database, file)
    source = shown_name(picture) if is_address(picture) else picture
    if not file.picture.facts and frame is None:
        raise UsageError(
            f"{source} does not say how it was made. {unknown}",
            code="no_frame_metadata",
            next_action="Name a frame as it was stored: other programs often drop what a file says"
            " of itself, and SCENE_PIPELINE_EMBED_METADATA=false keeps it out.",
        )
    if terminal.is_json:
        terminal.document(_document(source, file, frame, unknown))
    else:
        _show(terminal, source, file, frame, unknown)
    return 0


@contextmanager
def _attached(settings: Settings, terminal: Terminal) -> Iterator[_Database]:
    """The database where there is one already; a picture is read without it too."""
    if settings.uses_embedded_database:
        layout = embedded.Layout.of_home(settings.home_directory)
        if layout.read_cluster() is None:
            yield _Database(None, "There is no database here to ask.")
            return
    with ExitStack() as claims:
        try:
            urls = claims.enter_context(open_databases(settings, terminal))
        except DatabaseError as error:
            database = _Database(None, f"The database was not asked: {error.message}")
        else:
            database = _Database(urls.application)
        yield database


def _look_up(database: _Database, file: PictureFile) -> tuple[FrameOfFile | None, str]:
    """The version that a file is; else None, and one sentence on why none is named."""
    if database.url is None:
        return None, database.missing
    try:
        frame = in_database(database.url, lambda conn: find_frame(conn, file))
    except DatabaseError as error:
        return None, f"The database was not asked: {error.message}"
    return frame, "" if frame else "No frame of this database is it."


def _document(
    source: str, file: PictureFile, frame: FrameOfFile | None, unknown: str
) -> dict[str, Any]:
    picture = file.picture
    return {
        "source": source,
        "format": picture.image_format,
        "width": picture.width,
        "height": picture.height,
        "size_bytes": file.size_bytes,
        "sha256": picture.sha256,
        **shown_facts(picture.facts),
        "metadata": dict(picture.facts),
        "frame": None if frame is None else _frame_json(frame),
        "note": unknown or None,
    }


def _frame_json(frame: FrameOfFile) -> dict[str, Any]:
    return {
        "project": frame.project_key,
        "scene_id": frame.scene_id,
        "version": frame.version,
        "is_current": frame.is_current,
        "is_same_bytes": frame.is_same_bytes,
        "url": frame.storage_url,
        "storage_status": frame.storage_status,
        "rejection": frame.rejection,
        "generated_at": frame.generated_at.isoformat(),
        "generation_id": str(frame.generation_id),
        "provider": frame.provider,
        "model": frame.endpoint,
        "seed": frame.seed,
        "cost_usd": float(usd(frame.cost_micros)),
        "cost_kind": frame.cost_kind,
        "image_count": frame.image_count,
    }


def _show(
    terminal: Terminal, source: str, file: PictureFile, frame: FrameOfFile | None, unknown: str
) -> None:
    picture = file.picture
    size = f"{picture.width}x{picture.height}, {size_words(file.size_bytes)}"
    terminal.say(plain(f"{source}  ({picture.image_format}, {size})"), style="bold")
    facts = shown_facts(picture.facts)
    said = {
        "prompt": facts["prompt"],
        "model": facts["model"],
        "provider": facts["provider"],
        "seed": facts["seed"],
        "generation": facts["generation_id"],
        "project": facts["project"],
        "scene": facts["scene_id"],
        "sha256": picture.sha256,
    }
    fields = {name: str(value) for name, value in said.items() if value is not None}
    if frame is not None:
        fields["here"] = _standing(frame)
        fields["url"] = frame.storage_url
    show_fields(terminal, {name: _shortened(value) for name, value in fields.items()})
    if not picture.facts:
        terminal.say("The file does not say how it was made; its bytes are those of this frame.")
    if unknown:
        terminal.say(plain(unknown), style="dim")


def _standing(frame: FrameOfFile) -> str:
    state = "current" if frame.is_current else "not current"
    if frame.storage_status == "removed":
        state = "removed"
    of_all = f" for {frame.image_count} pictures" if frame.image_count > 1 else ""
    cost = f"{dollars_of(frame.cost_micros or 0)}{of_all}"
    kind = f" ({frame.cost_kind})" if frame.cost_kind else ""
    copy = "the very bytes" if frame.is_same_bytes else "another form of it"
    place = f"{frame.project_key}/{frame.scene_id} v{frame.version}"
    return f"{place}, {state}, {cost}{kind}, {copy}"


def _shortened(text: str) -> str:
    if len(text) <= _MAX_SHOWN_CHARACTERS:
        return text
    return f"{text[: _MAX_SHOWN_CHARACTERS - 1]}…"
