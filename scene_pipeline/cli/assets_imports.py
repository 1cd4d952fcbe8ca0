"""`assets imports`: what was asked to come into the library, and how it stands.

Belongs here: showing. Does not belong here: importing (`cli.assets_add`).
"""

from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.wording import plural, size_words
from scene_pipeline.database.imports import ImportRow, list_imports
from scene_pipeline.database.projects import get_project
from scene_pipeline.pipeline.library.showing import import_json
from scene_pipeline.pipeline.library.sources import shown_source
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

SHOWN = 200
_STYLES = {"done": "green", "failed": "red", "expired": "dim", "running": "cyan"}


def show_imports(terminal: Terminal, project_key: str | None) -> int:
    """Show the newest imports of a project, or of all; returns the exit code.

    Raises:
        NotFoundError: There is no such project.
    """
    settings = load_settings()

    async def read(conn: "Connection") -> list[ImportRow]:
        owner = None if project_key is None else (await get_project(conn, project_key)).id
        return await list_imports(conn, owner, limit=SHOWN)

    with open_databases(settings, terminal) as urls:
        rows = in_database(urls.application, read)
    if terminal.is_json:
        terminal.document({"imports": [import_json(row) for row in rows]})
        return 0
    if not rows:
        terminal.say("Nothing was asked to be imported.")
        return 0
    table = SceneTable(terminal, ["asked at", "source", "kind", "state", "received", "why"])
    for row in rows:
        result = row.asset_id or ""
        table.add(
            f"{row.created_at.astimezone():%Y-%m-%d %H:%M}",
            shown_source(row),
            row.kind,
            (row.state, _STYLES.get(row.state, "")),
            size_words(row.bytes_received) if row.bytes_received else "",
            row.error_message or result,
        )
    table.show()
    open_ones = sum(row.state in ("awaiting_upload", "pending", "running") for row in rows)
    terminal.say()
    terminal.say(f"{plural(len(rows), 'import')}; {open_ones} not ended", style="bold")
    return 0
