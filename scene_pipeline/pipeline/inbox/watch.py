"""The inbox: documents that other programs leave in a folder or a bucket, and get back with frames.

Mode of operation: a tick looks at every file from outside, reads those whose fingerprint is new and
imports those whose content is. Import and the row that says so are one transaction: whatever a tick
dies of, the next one sees the same. A file that cannot be used is told of once per content and
stops no other. One tick at a time works on an inbox, held by a lock of the database.

Belongs here: the order in which things are done with files. Does not belong here: where they lie
(`pipeline.inbox.sources`), what importing means (`pipeline.projects.importing`), what is said of a
file (`pipeline.inbox.verdicts`) and writing back (`pipeline.inbox.output`). Nothing is generated
here.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from scene_pipeline.database.alerts import raise_alert
from scene_pipeline.database.inbox import (
    DueFile,
    due_files,
    inbox_lock,
    note_presence,
    note_same_content,
    other_file_of,
    record_file,
)
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import (
    ConfigurationError,
    DatabaseError,
    ScenePipelineError,
    UsageError,
)
from scene_pipeline.pipeline.inbox import verdicts as inbox_verdicts
from scene_pipeline.pipeline.inbox.output import write_outputs
from scene_pipeline.pipeline.inbox.report import InboxReport, kept
from scene_pipeline.pipeline.inbox.sources import (
    MAX_FILES,
    Deadline,
    InboxEntry,
    InboxSource,
    Listing,
)
from scene_pipeline.pipeline.inbox.verdicts import UNFINISHED_SECONDS, Verdict
from scene_pipeline.pipeline.projects.importing import import_document
from scene_pipeline.settings import Settings

FILES_PER_TICK = 100
LISTING_SECONDS = 4.0
IMPORT_SECONDS = 3.0
"""After this no further file is begun: the daemon evaluates sensors one after the other."""
SETTLE_SECONDS = 1.0
"""A file that changed later than this is not opened yet: somebody is writing it."""


async def watch_inbox(
    conn: Connection, settings: Settings, source: InboxSource, *, limit: int = FILES_PER_TICK
) -> InboxReport:
    """Bring in what is new, and write back what changed.

    Args:
        conn: Not in a transaction.
        settings: For the defaults that scenes are planned with.
        source: The inbox.
        limit: Most files to read.

    Raises:
        ConfigurationError: The inbox cannot be read at all, or a setting cannot be used.
        StorageError: The bucket does not answer.
        psycopg.OperationalError: The database does not.
    """
    tick = _Tick(conn, settings, source, InboxReport(source.address))
    async with inbox_lock(conn, source.address) as is_ours:
        if not is_ours:
            tick.report.is_busy = True
            return tick.report
        await tick.take_in_all(limit)
        with tick.apart():
            await write_outputs(conn, source, tick.report)
    if tick.failures:
        raise tick.failures[0]
    return tick.report


@dataclass(slots=True)
class _Tick:
    """One look at the inbox."""

    conn: Connection
    settings: Settings
    source: InboxSource
    report: InboxReport
    failures: list[Exception] = field(default_factory=list)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep what is unexpected about one file from the others; it is raised when all is done."""
        try:
            yield
        except (ScenePipelineError, psycopg.OperationalError, psycopg.InterfaceError):
            raise  # of the inbox or the database as a whole
        except Exception as error:  # noqa: BLE001  # whatever one foreign file may provoke
            self.failures.append(error)

    async def take_in_all(self, limit: int) -> None:
        listing = self.source.list(Deadline(LISTING_SECONDS))
        self.report.file_count = len(listing.entries)
        entries = {entry.path: entry for entry in listing.entries}
        deadline = Deadline(IMPORT_SECONDS)
        for number, file in enumerate(await self._due(listing, limit)):
            if number and deadline.is_over:
                return
            with self.apart():
                await self._take_in(entries[file.path], file)

    async def _due(self, listing: Listing, limit: int) -> list[DueFile]:
        address = self.source.address
        settled = {
            entry.path: entry.fingerprint
            for entry in listing.entries
            if entry.age_seconds >= SETTLE_SECONDS
        }
        async with self.conn.transaction():
            if listing.is_complete:
                paths = [entry.path for entry in listing.entries]
                await note_presence(self.conn, address, paths)
            else:
                await raise_alert(
                    self.conn,
                    fingerprint=f"inbox:{address}:too-large",
                    code="inbox_too_large",
                    message=f"The inbox {address} holds more than can be looked at in time: only"
                    f" {len(listing.entries)} documents were (at most {MAX_FILES} are).",
                    next_action="Move documents that are finished somewhere else.",
                )
            return await due_files(self.conn, address, settled, limit)

    async def _take_in(self, entry: InboxEntry, due: DueFile) -> None:
        where = self.source.origin(entry.path)
        verdict = inbox_verdicts.never_opened(where, entry)
        if verdict is not None:
            if entry.age_seconds >= UNFINISHED_SECONDS:
                await self._record(entry, verdict)
            return
        sha256 = None
        try:
            data = self.source.read(entry)
            if data is None:
                return
            sha256 = hashlib.sha256(data).hexdigest()
            async with self.conn.transaction():
                if due.sha256 == sha256 and due.state != "refused":
                    await note_same_content(
                        self.conn, self.source.address, entry.path, entry.fingerprint
                    )
                else:
                    await self._record(entry, await self._import(entry, data, sha256))
        except (ConfigurationError, DatabaseError):
            raise  # of this installation, not of the file
        except (UsageError, psycopg.DataError) as error:
            refusal = inbox_verdicts.of_error(where, entry, sha256, error)
            if refusal is not None:
                await self._record(entry, refusal)

    async def _import(self, entry: InboxEntry, data: bytes, sha256: str) -> Verdict:
        where = self.source.origin(entry.path)
        imported = await import_document(
            self.conn,
            self.settings,
            data,
            file_name=entry.path,
            origin=where,
            project_key=None,
            force=False,
        )
        project = await get_project(self.conn, imported.key)
        other = await other_file_of(self.conn, self.source.address, entry.path, project.id)
        if other is not None:
            raise UsageError(
                f"Project {imported.key!r} is fed by {self.source.origin(other)} already.",
                code="project_has_another_file",
                next_action="Keep one of the two, or give this one a `project.key` of its own.",
            )
        return inbox_verdicts.imported(where, sha256, imported, project.id)

    async def _record(self, entry: InboxEntry, verdict: Verdict) -> None:
        """Keep a verdict and tell of it, in the transaction of the import where there is one."""
        address = self.source.address
        is_news = False
        async with self.conn.transaction():
            await record_file(
                self.conn,
                address,
                entry.path,
                fingerprint=entry.fingerprint,
                sha256=verdict.sha256,
                state=verdict.state,
                problems=kept(verdict.problems),
                project_id=verdict.project_id,
            )
            if verdict.code is not None:
                content = verdict.sha256 or entry.fingerprint
                suffix = ":refused" if verdict.state == "refused" else ""
                is_news = await raise_alert(
                    self.conn,
                    fingerprint=f"inbox:{address}:{entry.path}:{content}{suffix}",
                    code=verdict.code,
                    message=verdict.message,
                    next_action=verdict.next_action,
                    project_id=verdict.project_id,
                )
        if verdict.state == "imported":
            self.report.imported.append(entry.path)
            self.report.lines.append(f"Imported {self.source.origin(entry.path)}.")
        elif is_news:
            self.report.set_aside.append(entry.path)
        if is_news:
            self.report.lines.append(f"{verdict.code}: {verdict.message} {verdict.next_action}")
