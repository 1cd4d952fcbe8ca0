"""`watch`: what happens now, event by event, until Ctrl-C.

Belongs here: following the feed over lost connections, and writing what it says. Does not belong
here: which events can be told (`database.event_feed`), their words (`cli.event_words`).
"""

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from scene_pipeline.cli.event_words import bounded, event_line, event_style, failure_of
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.wording import plural
from scene_pipeline.database.event_feed import EventFeed, FeedEvent, UnderWay, under_way
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import MAX_BIGINT
from scene_pipeline.errors import DatabaseError, UsageError
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

POLL_SECONDS = 0.5
PAGE = 500
"""Rows that are read at once; more follow without a pause."""
AGAIN_SECONDS = 2.0
"""Between two tries to reach a database that went away."""
HELD_UP_SECONDS = 10.0
"""After which it is said that an open transaction is being waited for."""
MAX_SHOWN = 20
"""Generations under way that get a line; the others are counted."""


def watch_events(terminal: Terminal, project_key: str | None, *, since: int | None) -> int:
    """Follow the events until the process is interrupted; never returns by itself.

    Args:
        terminal: Where to; with `--json` one object is written per line.
        project_key: Only this project's events; None for all, those of no project included.
        since: Id of the last event that is known; None begins with what comes.

    Raises:
        NotFoundError: There is no such project.
        UsageError: `since` is no id.
        DatabaseError: The database cannot be reached at the begin.
        BrokenPipeError: Nobody reads any more.
    """
    if since is not None and not 0 <= since <= MAX_BIGINT:
        raise UsageError(
            f"{since} is no id of an event.",
            code="usage",
            next_action="Give the id of the last event that you know; 0 begins with the first.",
        )
    settings = load_settings()
    watch = _Watch(terminal)
    with open_databases(settings, terminal) as urls:
        feed = in_database(urls.application, lambda conn: watch.begin(conn, project_key, since))
        watch.follow(urls.application, feed)
    while True:
        time.sleep(AGAIN_SECONDS)
        terminal.raise_if_unread()
        watch.follow_again(settings, feed)


@dataclass
class _Watch:
    """One command's writing, and what it has said of the connection."""

    terminal: Terminal
    is_lost: bool = False

    async def begin(
        self, conn: "Connection", project_key: str | None, since: int | None
    ) -> EventFeed:
        """Say what is under way, and take the place in the feed that belongs to it."""
        await conn.set_autocommit(True)
        project_id = None if project_key is None else (await get_project(conn, project_key)).id
        # The place first: what ends meanwhile is told as an event.
        if since is None:
            feed = await EventFeed.from_now_on(conn, project_id)
        else:
            feed = EventFeed(since, project_id)
        found = await under_way(conn, project_id)
        if self.terminal.is_json:
            self.terminal.line(_begin_json(project_key, feed.newest_known, found))
        else:
            self._say_begin(project_key, feed.newest_known, found)
        return feed

    def follow(self, database_url: str, feed: EventFeed) -> None:
        """Follow for as long as the database answers; that it does not any more is said once."""
        import psycopg  # noqa: PLC0415  # where used

        with suppress(psycopg.InterfaceError):
            try:
                in_database(database_url, lambda conn: self._follow(conn, feed))
            except DatabaseError as error:
                _raise_unless_lost(error)
        feed.reconnected()
        if not self.is_lost:
            self.is_lost = True
            self._note("The database stopped answering; nothing is missed, trying again ...")

    def follow_again(self, settings: Settings, feed: EventFeed) -> None:
        """Open the database anew, which may have been started again elsewhere, and follow."""
        try:
            with open_databases(settings, self.terminal) as urls:
                self.follow(urls.application, feed)
        except DatabaseError as error:
            _raise_unless_lost(error)

    async def _follow(self, conn: "Connection", feed: EventFeed) -> None:
        await conn.set_autocommit(True)
        held_up_since: float | None = None
        is_held_up_said = False
        while True:
            events = await feed.read(conn, PAGE)
            if self.is_lost:
                self.is_lost = False
                self._note("The database answers again.")
            for event in events:
                self._write(event)
            if not feed.held_up_by:
                held_up_since, is_held_up_said = None, False
            elif held_up_since is None:
                held_up_since = time.monotonic()
            elif not is_held_up_said and time.monotonic() - held_up_since >= HELD_UP_SECONDS:
                is_held_up_said = True
                number = plural(len(feed.held_up_by), "open transaction")
                self._note(f"Waiting for {number}, which may have written events, to end ...")
            if not feed.has_more:
                self.terminal.raise_if_unread()
                await asyncio.sleep(POLL_SECONDS)

    def _write(self, event: FeedEvent) -> None:
        if self.terminal.is_json:
            self.terminal.line(event_json(event))
        else:
            self.terminal.say(event_line(event), style=event_style(event))

    def _note(self, words: str) -> None:
        """Something about the watching itself: never among the lines that a program reads."""
        if self.terminal.is_json or not self.terminal.is_live:
            sys.stderr.write(f"{words}\n")
            sys.stderr.flush()
        else:
            self.terminal.say(words, style="yellow")

    def _say_begin(self, project_key: str | None, after: int, found: list[UnderWay]) -> None:
        of = "all projects" if project_key is None else bounded(project_key)
        self.terminal.say(
            f"Watching {of} after event {after}; Ctrl-C ends it, and stops nothing.", style="bold"
        )
        for one in found[:MAX_SHOWN]:
            since = one.since.astimezone().strftime("%H:%M:%S")
            place = f"{one.project_key}/{one.scene_id}"
            words = f"{since}  {place}  under way: {one.state} at {one.provider} ({one.model})"
            self.terminal.say(bounded(words), style="dim")
        if len(found) > MAX_SHOWN:
            self.terminal.say(f"          and {len(found) - MAX_SHOWN} more", style="dim")


def _raise_unless_lost(error: DatabaseError) -> None:
    """Let only what may pass by itself pass: an older program does not follow a newer schema."""
    if error.error_code not in ("database_unavailable", "database_start_failed"):
        raise error


def event_json(event: FeedEvent) -> dict[str, Any]:
    """One event as a program reads it."""
    return {
        "id": event.id,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "project": event.project_key,
        "scene_id": event.scene_id,
        "generation_id": _id(event.generation_id),
        "import_id": _id(event.import_id),
        "run_id": event.run_id,
        "provider": event.provider,
        "model": event.model,
        "data": event.data,
        "error": failure_of(event),
    }


def _begin_json(project_key: str | None, after: int, found: list[UnderWay]) -> dict[str, Any]:
    """The first line: it is no event, and its `after` is what `--since` takes."""
    return {
        "kind": "watching",
        "project": project_key,
        "after": after,
        "under_way": [
            {
                "project": one.project_key,
                "scene_id": one.scene_id,
                "generation_id": str(one.generation_id),
                "state": one.state,
                "provider": one.provider,
                "model": one.model,
                "since": one.since.isoformat(),
            }
            for one in found
        ],
    }


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
