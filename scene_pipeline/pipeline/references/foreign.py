"""Pictures on foreign servers: asked about before anything is decided, fetched where they changed.

Mode of operation: a HEAD says whether the picture is the one that is known; only where it cannot
say so are the bytes fetched, checked like any other picture, and hashed. Nothing is asked within a
transaction. A server that is down changes nothing of what is known: its picture keeps its digest
and gets a problem, so that no scene is stale for it, and none is made.

Belongs here: who is asked, and what the answer means. Does not belong here: when (`planning`).
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from scene_pipeline.database import projects, references
from scene_pipeline.database.rows import Connection
from scene_pipeline.egress import tls_context
from scene_pipeline.errors import DocumentError, FetchError, ImageError
from scene_pipeline.media.fetch import FetchLimits, SafeFetcher
from scene_pipeline.media.workers import ImageWorkers
from scene_pipeline.pipeline.projects.pictures import NAME_ANOTHER, look_up
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.registry import result_hosts
from scene_pipeline.scenes.document import ProjectDocument, read_document
from scene_pipeline.scenes.prompts import expand_prompt
from scene_pipeline.scenes.references import KnownPicture, PictureProblem, read_name, shown_name
from scene_pipeline.settings import Settings

ASKED_AT_ONCE = 4
FETCH_ATTEMPTS = 2
PATIENCE_SECONDS = 4.0
"""A server that took longer to fail is asked about no further picture by the same run."""
_LOOK_AGAIN = "See that its server answers; every run looks again, and what waits goes on."
_NAME_ANOTHER_ADDRESS = "Put the picture back there, or name another one in the document."
_UNREACHABLE = frozenset({"dns", "connect", "tls", "timeout", "deadline", "connection_lost"})

P = ParamSpec("P")
T = TypeVar("T")
Connect = Callable[[], AbstractAsyncContextManager[Connection]]
"""Gives a connection outside of any transaction."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """What it takes to look at a foreign picture."""

    fetcher: SafeFetcher
    workers: ImageWorkers
    threads: Executor | None
    """Where blocking calls run; None for the loop's own."""
    sleep: Callable[[float], Awaitable[None]]

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: function(*args, **kwargs))


def eyes_of(services: Services) -> Eyes:
    """Those of a process that has everything open."""
    return Eyes(services.fetcher, services.workers, services.threads, services.sleep)


@asynccontextmanager
async def open_eyes(settings: Settings) -> AsyncIterator[Eyes]:
    """Those of a command that has a database connection only."""
    limits = FetchLimits(max_bytes=settings.asset_max_image_mb * 2**20)
    with (
        SafeFetcher(
            result_hosts(settings),
            settings.trusted_private_hosts,
            tls_context(settings.ssl_cert_file),
            egress_proxy=settings.egress_proxy,
            limits=limits,
        ) as fetcher,
        ImageWorkers(1) as workers,
    ):
        yield Eyes(fetcher, workers, None, asyncio.sleep)


async def refresh_foreign(
    connect: Connect,
    settings: Settings,
    project_key: str,
    *,
    scene_ids: Sequence[str] | None,
    open_eyes: Callable[[], AbstractAsyncContextManager[Eyes]],
) -> None:
    """Bring what is known of a project's foreign references up to date.

    A picture that was asked about within SCENE_PIPELINE_REFERENCE_CHECK_SECONDS, and had no
    problem, is not asked about again. A project or document that cannot be used is left to whoever
    reads it next.

    Args:
        connect: Gives connections; none is held while a server is asked.
        settings: Of this process.
        project_key: Whose references.
        scene_ids: Only those of these scenes; None for all.
        open_eyes: Called where there is something to look at.
    """
    async with connect() as conn, conn.transaction():
        due = await _due_pictures(conn, settings, project_key, scene_ids)
    if due is None or not due.known:
        return
    gate = asyncio.Semaphore(ASKED_AT_ONCE)
    down: dict[str, PictureProblem] = {}

    async def ask(eyes: Eyes, name: str) -> KnownPicture:
        known, server = due.known[name], urlsplit(name).netloc
        async with gate:
            # A server that does not answer holds the run up once, and not for each of its pictures.
            if server in down:
                problem = down[server]
                message = f"Reference {shown_name(name)} cannot be had: its server does not answer."
                return replace(known, problem=replace(problem, message=message))
            started = time.monotonic()
            found = await look_at(eyes, name, known)
            is_lost = found.problem is not None and found.problem.code == "reference_unreachable"
            if (
                found.problem is not None
                and is_lost
                and (time.monotonic() - started >= PATIENCE_SECONDS)
            ):
                down[server] = found.problem
            return found

    async with open_eyes() as eyes:
        answers = await asyncio.gather(*(ask(eyes, name) for name in due.known))
    async with connect() as conn, conn.transaction():
        await _keep(conn, due, dict(zip(due.known, answers, strict=True)))


@dataclass(frozen=True, slots=True)
class _Due:
    project_id: UUID
    known: Mapping[str, KnownPicture]
    """Foreign pictures to ask about, by name, with what is known of each."""


async def _due_pictures(
    conn: Connection, settings: Settings, project_key: str, scene_ids: Sequence[str] | None
) -> _Due | None:
    project = await projects.find_project(conn, project_key)
    if project is None:
        return None
    stored = await projects.load_document(conn, project.id)
    try:
        document = read_document(stored.master_json, order=stored.scene_order)
    except DocumentError:
        return None
    named = [n for n in _named(document, scene_ids) if read_name(n).kind == "address"]
    if not named:
        return _Due(project.id, {})
    looked = await look_up(conn, project.id, named, check_seconds=settings.reference_check_seconds)
    known = {}
    for name in named:
        row = looked.found.get(name)
        if row is None:
            known[name] = KnownPicture()
        elif row.is_due and row.picture.storage_key is None and row.asset_id is None:
            known[name] = row.picture
    return _Due(project.id, known)


def _named(document: ProjectDocument, scene_ids: Sequence[str] | None) -> list[str]:
    wanted = None if scene_ids is None else set(scene_ids)
    return list(
        dict.fromkeys(
            name
            for scene in document.scenes
            if wanted is None or scene.scene_id in wanted
            for name in expand_prompt(document, scene).references
        )
    )


async def _keep(conn: Connection, due: _Due, answers: Mapping[str, KnownPicture]) -> None:
    other = {name: answer for name, answer in answers.items() if answer != due.known[name]}
    # What has the problem that it had keeps it: being marked as checked would take it away.
    sound = [name for name, answer in answers.items() if name not in other and not answer.problem]
    await references.mark_checked(conn, due.project_id, sound)
    await references.write_pictures(
        conn, due.project_id, {name: (answer, None) for name, answer in other.items()}
    )
    if any(answer.sha256 != due.known[name].sha256 for name, answer in other.items()):
        await references.mark_project_changed(conn, due.project_id)
    if any(answer.problem is None for answer in other.values()):
        await references.wake_waiting_for_pictures(conn, due.project_id)


async def look_at(eyes: Eyes, url: str, known: KnownPicture) -> KnownPicture:
    """Ask a foreign server about a picture, and fetch it where it may be another one by now.

    Args:
        eyes: What to look with.
        url: As the document has it.
        known: What was known last, empty where nothing was.

    Returns:
        What is known now: with its digest, or with a problem beside what was known last.
    """
    try:
        probe = await eyes.call(eyes.fetcher.probe, url)
        if known.is_still(probe.etag, probe.last_modified, probe.size_bytes):
            return replace(known, problem=None)
        fetched = await with_retries(
            lambda: eyes.call(eyes.fetcher.fetch, url), attempts=FETCH_ATTEMPTS, sleep=eyes.sleep
        )
        image = await eyes.call(eyes.workers.inspect, fetched.data)
        again = await eyes.call(eyes.fetcher.probe, url)
    except (FetchError, ImageError) as error:
        return replace(known, problem=problem_of(url, error))
    return KnownPicture(
        sha256=hashlib.sha256(fetched.data).hexdigest(),
        content_type=image.content_type,
        width=image.width,
        height=image.height,
        size_bytes=len(fetched.data),
        # What was exchanged while it was fetched may be known by the other one's version.
        etag=probe.etag if again == probe else None,
        last_modified=probe.last_modified if again == probe else None,
    )


def problem_of(url: str, error: FetchError | ImageError) -> PictureProblem:
    """Why a foreign picture cannot be had, in the words that a blocked scene shows."""
    told = f"Reference {shown_name(url)} cannot be had: {error.message}"
    code = error.error_code.removeprefix("redirect_")
    if error.retryable or code in _UNREACHABLE:
        return PictureProblem("reference_unreachable", told, _LOOK_AGAIN)
    if code == "link_expired":
        return PictureProblem("reference_missing", told, _NAME_ANOTHER_ADDRESS)
    if code == "animated":
        return PictureProblem("reference_animated", told, NAME_ANOTHER)
    if code in ("too_large", "bomb", "bad_dimensions"):
        return PictureProblem("reference_too_large", told, error.next_action)
    if isinstance(error, ImageError) or code == "not_image":
        return PictureProblem("reference_refused", told, NAME_ANOTHER)
    return PictureProblem("reference_refused", told, error.next_action)
