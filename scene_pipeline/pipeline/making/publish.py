"""Gathers the scenes of a project that finish close together into one guarded statement.

The first scene to arrive waits a tenth of a second for company; whatever arrives while a statement
runs goes with the next one. A frame is therefore never held back by more than one short window and
one statement, and a document of 5000 scenes is not rewritten 5000 times.
"""

import asyncio
from collections import defaultdict
from uuid import UUID

from scene_pipeline.database.publishing import Publication, PublicationResult, publish
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.services import Services

WINDOW_SECONDS = 0.1
MAX_BATCH = 500
"""Scenes per statement: bounds the time that the project's row is locked."""

_Waiting = tuple[Publication, asyncio.Future[PublicationResult]]


class Publisher:
    """Publishes for one run; one statement at a time per project."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: dict[UUID, list[_Waiting]] = defaultdict(list)
        self._writers: dict[UUID, asyncio.Task[None]] = {}

    async def publish(self, project_id: UUID, publication: Publication) -> PublicationResult:
        """Write one scene's URL, together with those that are ready at the same time.

        Returns:
            How it went; "written" and "already" mean that the document holds the URL.
        """
        future: asyncio.Future[PublicationResult] = asyncio.get_running_loop().create_future()
        self._waiting[project_id].append((publication, future))
        if project_id not in self._writers:
            self._writers[project_id] = asyncio.create_task(self._write(project_id))
        return await future

    async def close(self) -> None:
        """Stop writing; after a run that was cut off, nothing of it goes on by itself."""
        writers = list(self._writers.values())
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    async def _write(self, project_id: UUID) -> None:
        try:
            await self._services.sleep(WINDOW_SECONDS)
            while batch := self._take(project_id):
                await self._write_batch(project_id, batch)
        finally:
            del self._writers[project_id]
            for _, future in self._waiting.pop(project_id, []):
                future.cancel()

    def _take(self, project_id: UUID) -> list[_Waiting]:
        """At most one publication per scene; a second one of the same scene waits its turn."""
        batch: dict[str, _Waiting] = {}
        rest: list[_Waiting] = []
        for entry in self._waiting[project_id]:
            if entry[0].scene_id in batch or len(batch) >= MAX_BATCH:
                rest.append(entry)
            else:
                batch[entry[0].scene_id] = entry
        self._waiting[project_id] = rest
        return list(batch.values())

    async def _write_batch(self, project_id: UUID, batch: list[_Waiting]) -> None:
        try:
            failpoint("before_publish")
            async with self._services.pool.connection() as conn:
                results = await publish(conn, project_id, [item for item, _ in batch])
            failpoint("after_publish")
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
