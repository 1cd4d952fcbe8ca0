"""`project`: what is set of a project, and setting it.

Belongs here: reading the options, showing. Does not belong here: what a setting means
(`pipeline.projects.settings`).
"""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import show_fields
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.projects.fallbacks import Fallback, parse_fallback, read_list
from scene_pipeline.pipeline.projects.settings import (
    KeptVersions,
    ProjectChange,
    change_project_settings,
    show_project_settings,
)
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.project_settings import ProjectSettings
    from scene_pipeline.database.rows import Connection


def read_switch(name: str, text: str | None) -> bool | None:
    """Read "on" or "off"; None where the option was not given.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    if text not in ("on", "off"):
        raise UsageError(
            f"{name} {text!r} is neither on nor off.",
            code="usage",
            next_action=f"Write {name} on or {name} off.",
        )
    return text == "on"


def read_archive(*, archive: bool, unarchive: bool) -> bool | None:
    """Whether the project is to be archived; None where neither option was given.

    Raises:
        UsageError: Both were.
    """
    if archive and unarchive:
        raise UsageError(
            "--archive and --unarchive were both given.",
            code="usage",
            next_action="Give one of the two.",
        )
    return archive if archive or unarchive else None


def read_kept(versions: int | None, days: float | None, *, is_default: bool) -> KeptVersions | None:
    """What is to be kept of each scene; None where no option says so.

    Raises:
        UsageError: A number was given together with --keep-defaults.
    """
    if versions is None and days is None:
        return KeptVersions(is_default=True) if is_default else None
    if is_default:
        raise UsageError(
            "--keep-defaults was given together with a number.",
            code="usage",
            next_action="Give --keep-defaults, or --keep-versions and --keep-days.",
        )
    if days is not None and not isfinite(days):
        raise UsageError(
            "--keep-days is not a number of days.", code="usage", next_action="Write it as 30."
        )
    return KeptVersions(versions, days)


def read_fallbacks(texts: Sequence[str], *, is_none: bool) -> tuple[Fallback, ...] | None:
    """Who else may make the project's frames, in order; None where no option says so.

    Raises:
        UsageError: Both options were given, or one names no provider and model.
    """
    if texts and is_none:
        raise UsageError(
            "--fallback and --no-fallbacks were both given.",
            code="usage",
            next_action="Give one of the two.",
        )
    return tuple(parse_fallback(text) for text in texts) if texts or is_none else None


def show_or_change(
    terminal: Terminal,
    project_key: str,
    *,
    auto_refresh: bool | None,
    is_archived: bool | None,
    kept: KeptVersions | None,
    fallbacks: Sequence[Fallback] | None,
) -> int:
    """Change what was given, and show what is set; returns the exit code.

    Raises:
        UsageError: There is no such project, or it cannot be changed so; nothing was changed.
    """

    async def carry_out(conn: "Connection") -> ProjectChange:
        if auto_refresh is None and is_archived is None and kept is None and fallbacks is None:
            return ProjectChange(await show_project_settings(conn, project_key), ())
        return await change_project_settings(
            conn,
            project_key,
            auto_refresh=auto_refresh,
            is_archived=is_archived,
            kept=kept,
            fallbacks=fallbacks,
        )

    installation = load_settings()
    with open_databases(installation, terminal) as urls:
        change = in_database(urls.application, carry_out)
    if terminal.is_json:
        terminal.document(_change_json(change, installation))
        return 0
    _show(terminal, change.settings, installation)
    for sentence in _sentences(change):
        terminal.say(plain(sentence))
    return 0


def _show(terminal: Terminal, settings: "ProjectSettings", installation: Settings) -> None:
    terminal.say(
        plain(f"{settings.title}  ({settings.key})" if settings.title else settings.key),
        style="bold",
    )
    scenes = plural(settings.scene_count, "scene")
    scenes += f", {settings.locked_scenes} locked" if settings.locked_scenes else ""
    scenes += f", {settings.chosen_scenes} chosen by hand" if settings.chosen_scenes else ""
    show_fields(
        terminal,
        {
            "scenes": scenes,
            "revision": str(settings.revision),
            "origin": settings.origin or "its key was given, not made of a file's name",
            "refresh": (
                "on: an edited scene gets a new frame by itself, under the caps"
                if settings.auto_refresh
                else "off: an edited scene waits until a new frame is asked for"
            ),
            "kept": _kept_in_words(settings, installation),
            "fallback": _fallbacks_in_words(settings),
            "archived": (
                f"since {settings.archived_at.astimezone():%Y-%m-%d %H:%M}"
                if settings.archived_at
                else "no"
            ),
        },
    )


def _kept_in_words(settings: "ProjectSettings", installation: Settings) -> str:
    versions = settings.keep_versions or installation.keep_versions
    days = installation.keep_days if settings.keep_days is None else settings.keep_days
    is_own = settings.keep_versions is not None or settings.keep_days is not None
    return (
        f"the newest {plural(versions, 'version')} of each scene, what is younger than {days:g}"
        f" days, and what is in use ({'its own rule' if is_own else 'as the installation says'})"
    )


def _fallbacks_in_words(settings: "ProjectSettings") -> str:
    listed = read_list(settings.fallbacks)
    named = [f"{number}. {fallback}" for number, fallback in listed.entries]
    words = ", ".join(named) or "none: only the first model is asked"
    return words + "".join(f"; passed over: {problem}" for problem in listed.problems)


def _sentences(change: ProjectChange) -> list[str]:
    said = []
    if change.given_up:
        said.append(
            f"What was planned for {plural(len(change.given_up), 'scene')} was given up; nothing"
            " had been sent."
        )
    if change.finishing:
        said.append(
            f"What was sent for {plural(len(change.finishing), 'scene')} is paid for, and is still"
            " brought home while `up` runs."
        )
    key = change.settings.key
    if "archived" in change.changed and change.settings.archived_at is not None:
        said.append(f"Open it again with: {command('project', key, '--unarchive')}")
    return said


def _change_json(change: ProjectChange, installation: Settings) -> dict[str, Any]:
    settings = change.settings
    listed = read_list(settings.fallbacks)
    return {
        "project": settings.key,
        "title": settings.title,
        "origin": settings.origin,
        "revision": settings.revision,
        "auto_refresh": settings.auto_refresh,
        "archived_at": settings.archived_at.isoformat() if settings.archived_at else None,
        "created_at": settings.created_at.isoformat(),
        "keep_versions": settings.keep_versions,
        "keep_days": settings.keep_days,
        "fallbacks": [
            {"provider": fallback.provider, "model": fallback.model}
            for _, fallback in listed.entries
        ],
        "fallback_problems": list(listed.problems),
        "installation": {
            "keep_versions": installation.keep_versions,
            "keep_days": installation.keep_days,
        },
        "scenes": settings.scene_count,
        "locked_scenes": settings.locked_scenes,
        "chosen_scenes": settings.chosen_scenes,
        "changed": list(change.changed),
        "given_up": list(change.given_up),
        "finishing": list(change.finishing),
    }
