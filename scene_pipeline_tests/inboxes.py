"""Inboxes for tests: files of any age, and ticks on a real database."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import in_database
from scene_pipeline.pipeline.inbox.report import InboxReport
from scene_pipeline.pipeline.inbox.setting import open_inbox
from scene_pipeline.pipeline.inbox.watch import watch_inbox
from scene_pipeline_tests.films import Studio

T = TypeVar("T")

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Inbox:
    """A watched folder, and the studio that its documents go to."""

    folder: Path
    studio: Studio

    def put(self, name: str, data: bytes, *, age_seconds: float = 60.0) -> Path:
        """Leave a file that was last changed some time ago."""
        path = self.folder / name
        path.write_bytes(data)
        self.age(name, age_seconds)
        return path

    def age(self, name: str, seconds: float) -> None:
        changed_at = time.time() - seconds
        os.utime(self.folder / name, (changed_at, changed_at))

    def tick(self, **options: Any) -> InboxReport:
        return tick(self.studio, **options)

    def row(self, path: str = "film.json") -> dict[str, Any]:
        [row] = self.studio.sql("SELECT * FROM inbox_files WHERE path = %s", path)
        return row

    def alerts(self) -> list[dict[str, Any]]:
        return list(self.studio.sql("SELECT * FROM alerts ORDER BY id"))

    def codes(self) -> list[str]:
        return [alert["code"] for alert in self.alerts()]

    def imports(self) -> int:
        [row] = self.studio.sql(
            "SELECT count(*) AS n FROM pipeline_events WHERE kind = 'project_imported'"
        )
        count: int = row["n"]
        return count


def watched(studio: Studio, folder: Path) -> Inbox:
    """An inbox in a folder that is there."""
    settings = studio.settings.model_copy(update={"inbox": str(folder)})
    return Inbox(folder, replace(studio, settings=settings))


def tick(studio: Studio, **options: Any) -> InboxReport:
    """One look at the inbox that the studio's settings name."""
    source = open_inbox(studio.settings)
    assert source is not None

    async def work(conn: Connection) -> InboxReport:
        return await watch_inbox(conn, studio.settings, source, **options)

    with closing(source):
        return in_database(studio.database_url, work)


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, since root may do everything anywhere."""
    with tempfile.TemporaryDirectory(prefix="scene-pipeline-tests-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        inbox = folder / "inbox"
        inbox.mkdir()
        if os.geteuid() == 0:
            os.chown(inbox, NOBODY, NOBODY)
        yield inbox


@contextmanager
def unprivileged() -> Iterator[None]:
    """Let permissions count for this process also where it is root's."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def run_together(*works: Callable[[], T]) -> list[T]:
    """Run functions in threads at once; gives their results."""
    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(lambda work: work(), works))
