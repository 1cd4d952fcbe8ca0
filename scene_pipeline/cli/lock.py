"""`lock` and `unlock`: frames that are never replaced.

Belongs here: telling what changed. Does not belong here: what a lock means
(`pipeline.projects.promotion`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.projects.promotion import LockChange, set_scene_locks
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

_NAMED = 10
"""Scenes that are told by name."""


def chosen_scenes(scene_ids: Sequence[str], *, is_all: bool) -> tuple[str, ...] | None:
    """The scenes of the command line; None for all.

    Raises:
        UsageError: Neither scenes nor --all, or both.
    """
    if bool(scene_ids) == is_all:
        raise UsageError(
            "Scenes are named one by one, or all of them with --all.",
            code="usage",
            next_action="Give one of the two.",
        )
    return None if is_all else tuple(dict.fromkeys(scene_ids))


def set_locks(
    terminal: Terminal, project_key: str, scene_ids: tuple[str, ...] | None, *, is_locked: bool
) -> int:
    """Lock or unlock; returns the exit code.

    Raises:
        UsageError: A project or scene that is not there; nothing was changed.
    """
    settings = load_settings()

    async def carry_out(conn: "Connection") -> LockChange:
        return await set_scene_locks(conn, settings, project_key, scene_ids, is_locked=is_locked)

    with open_databases(settings, terminal) as urls:
        change = in_database(urls.application, carry_out)
    if terminal.is_json:
        terminal.document(
            {
                "project": project_key,
                "locked": is_locked,
                "changed": list(change.changed),
                "unchanged": list(change.unchanged),
                "without_frame": list(change.without_frame),
            }
        )
        return 0
    for sentence in _sentences(change):
        terminal.say(plain(sentence))
    return 0


def _sentences(change: LockChange) -> list[str]:
    word = "locked" if change.is_locked else "unlocked"
    said = []
    if change.changed:
        meaning = (
            "nothing replaces what they have now"
            if change.is_locked
            else "their frames may be replaced again"
        )
        said.append(f"{_named(change.changed)} {word}: {meaning}.")
    if change.unchanged:
        said.append(f"{_named(change.unchanged)} already {word}.")
    if change.is_locked and change.without_frame:
        said.append(f"{_named(change.without_frame)} without a frame: the first is still made.")
    return said or ["The project has no scenes."]


def _named(scene_ids: Sequence[str]) -> str:
    names = ", ".join(scene_ids[:_NAMED])
    hidden = len(scene_ids) - _NAMED
    names += f" and {hidden} more" if hidden > 0 else ""
    return f"{plural(len(scene_ids), 'scene')} ({names})"
