"""`promote`: a person chooses which version of a scene is its frame.

Belongs here: telling what it meant. Does not belong here: the choice itself
(`pipeline.projects.promotion`).
"""

from contextlib import closing
from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.projects.promotion import Promotion
from scene_pipeline.pipeline.projects.promotion import promote as choose
from scene_pipeline.pipeline.projects.stored_pictures import check_stored
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.registry import build_store

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


def read_version(text: str) -> int:
    """Read a version's number, with or without the "v" it is shown with.

    Raises:
        UsageError: It is none.
    """
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdecimal() and 0 < int(digits[:12]) < 2**31):
        raise UsageError(
            f"{text!r} is not the number of a version.",
            code="usage",
            next_action="Write it as 2 or v2; `scene-pipeline versions` lists them.",
        )
    return int(digits)


def promote(
    terminal: Terminal,
    project_key: str,
    scene_id: str,
    version: int,
    *,
    expected_current: int | None,
) -> int:
    """Make a version the current one; returns the exit code.

    Raises:
        UsageError: It cannot be; nothing was changed.
        StorageError: The store could not be asked for its picture; nothing was changed.
    """
    settings = load_settings()

    async def carry_out(conn: "Connection") -> Promotion:
        await check_stored(conn, store, project_key, scene_id, version)
        return await choose(
            conn,
            settings,
            project_key,
            scene_id,
            version,
            expected_current=expected_current,
            promoted_by="scene-pipeline promote",
        )

    with (
        open_databases(settings, terminal) as urls,
        closing(build_store(settings, database_url=urls.application)) as store,
    ):
        done = in_database(urls.application, carry_out)
    if terminal.is_json:
        terminal.document(
            {
                "project": project_key,
                "scene_id": scene_id,
                "version": done.version,
                "previous_version": done.previous_version,
                "url": done.url,
                "is_changed": done.is_changed,
                "is_document_changed": done.is_document_changed,
                "is_stale": done.is_stale,
                "is_under_way": done.is_under_way,
                "cost_usd": 0.0,
            }
        )
        return 0
    terminal.say(plain(_meaning(done)))
    terminal.say(f"  {plain(done.url)}")
    if done.is_stale:
        terminal.say(
            "It was made from other words than the document holds; it is kept all the same, until"
            " they are edited again."
        )
    if done.is_under_way:
        terminal.say(
            "A newer picture of the scene is being made; it becomes current when it is done.",
            style="yellow",
        )
    return 0


def _meaning(done: Promotion) -> str:
    name = f"version {done.version} of scene {done.scene_id}"
    if not done.is_changed:
        return f"{name} is current already.".capitalize()
    instead = f", instead of version {done.previous_version}" if done.previous_version else ""
    return f"{name} is current now{instead}; nothing was paid.".capitalize()
