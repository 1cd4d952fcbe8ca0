"""`import` and `export`: documents in and out, without making frames.

Belongs here: the two commands. Does not belong here: what importing means
(`pipeline.projects.importing`).
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.files import read_source, write_atomically
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import (
    Terminal,
    command,
    plain,
    problem_json,
    problem_lines,
    shown_path,
)
from scene_pipeline.cli.wording import plural
from scene_pipeline.pipeline.planning.preview import check_settings
from scene_pipeline.pipeline.projects.importing import ImportedProject, import_document
from scene_pipeline.pipeline.projects.importing import export_project as export_document
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


def import_file(
    file: Path, terminal: Terminal, *, project_key: str | None = None, force: bool = False
) -> int:
    """Import a document; returns the exit code, 1 where scenes are set aside.

    Raises:
        UsageError: It cannot be imported; nothing was changed.
    """
    settings = load_settings()
    source = read_source(file, project_key=project_key, force=force)
    check_settings(settings)

    async def work(conn: "Connection") -> ImportedProject:
        return await import_document(
            conn,
            settings,
            source.data,
            file_name=source.file_name,
            origin=source.origin,
            project_key=source.project_key,
            force=source.force,
        )

    with open_databases(settings, terminal) as urls:
        imported = in_database(urls.application, work)
    if terminal.is_json:
        terminal.document(
            {
                "project": imported.key,
                "is_new": imported.is_new,
                "is_changed": imported.is_changed,
                "scenes": imported.scene_count,
                "problems": [problem_json(problem) for problem in imported.problems],
                "notices": [problem_json(notice) for notice in imported.notices],
            }
        )
    else:
        _show(terminal, imported)
    return 1 if imported.problems else 0


def _show(terminal: Terminal, imported: ImportedProject) -> None:
    changed = "updated" if imported.is_changed else "unchanged"
    done = "imported" if imported.is_new else changed
    scenes = plural(imported.scene_count, "scene")
    terminal.say(plain(f"{imported.key} {done}: {scenes} can be used."), style="bold")
    for line in problem_lines(imported.problems):
        terminal.say(line, style="yellow")
    for notice in imported.notices:
        terminal.say(plain(f"  {notice.message}"), style="dim")
    terminal.say("See what that means for its frames, and at what price, with:")
    terminal.say(f"  {command('plan', imported.key)}", style="cyan")


def export_project(project_key: str, output: Path | None, terminal: Terminal) -> int:
    """Write a project's document to a file, or to standard output; returns the exit code.

    On standard output the document itself is the one JSON document, with `--json` or without.

    Raises:
        NotFoundError: There is no such project.
        ConfigurationError: The file cannot be written.
    """
    settings = load_settings()

    async def work(conn: "Connection") -> bytes:
        return await export_document(conn, project_key)

    with open_databases(settings, terminal) as urls:
        data = in_database(urls.application, work)
    if output is None:
        sys.stdout.flush()
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as stream:
            stream.write(data)
        return 0
    place = output.absolute()
    write_atomically(place, data)
    if terminal.is_json:
        terminal.document({"project": project_key, "file": str(place), "size_bytes": len(data)})
    else:
        terminal.say(f"{project_key} is written to {shown_path(place)}.")
    return 0
