"""The checks of a run's frames: made beside the work, once a scene's outcome was told.

Nobody who waits for a frame waits for its checks: a host that answers slowly costs each of them up
to 20 seconds. They end before the stream does.

Belongs here: when a scene is checked, and telling it. Does not belong here: checking
(`pipeline.checking`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection
from contextlib import closing, suppress
from contextvars import Context, copy_context
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from scene_pipeline.pipeline.checking.frames import FrameChecker
from scene_pipeline.pipeline.checks import CHECKS, CheckedAsset
from scene_pipeline.pipeline.making.narration import Emit
from scene_pipeline.pipeline.orders import FrameOrder, SceneChecked, SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.telemetry.stages import stage

COMPANY_SECONDS: Final = 1.0
"""How long the first scene waits for others to be checked along, while there are others to come: a
check of one scene asks the database as much as one of a hundred."""
MAX_IN_CHECK: Final = 100
"""Scenes that are checked at once: bounds what is held of their pictures."""

_log = logging.getLogger(__name__)


class FollowingChecks:
    """Checks scenes for one run, each in a task of its own, while the block lasts and after it.

    A scene that finds no place waits as a name and holds nobody up.

    Args:
        order: What the run is to do; only what it selects is checked.
        services: Of this process.
        emit: Tells what was found.
    """

    def __init__(self, order: FrameOrder, services: Services, emit: Emit) -> None:
        # Not what bounds downloads: a slow host must not hold up pictures that are paid for.
        asking = asyncio.Semaphore(services.settings.download_concurrency)
        self._checker = FrameChecker(services, asking, order.run_id, company=self._company)
        self._assets: Collection[CheckedAsset] = {check.asset for check in CHECKS} & order.stages
        self._emit = emit
        self._tasks = asyncio.TaskGroup()
        self._places = MAX_IN_CHECK
        self._waiting: deque[tuple[Context, UUID, SceneRef]] = deque()
        self._has_all = asyncio.Event()

    def follow(self, project_id: UUID, ref: SceneRef) -> None:
        """Check a scene's frame as it stands, soon; what is logged of it names the same scene."""
        if self._assets:
            self._waiting.append((copy_context(), project_id, ref))
            self._fill_places()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_all.set()
        with closing(self._checker):
            await self._tasks.__aexit__(exc_type, exc, traceback)

    async def _company(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPANY_SECONDS):
                await self._has_all.wait()
        await asyncio.sleep(0)  # whoever got ready in this instant is checked along

    def _fill_places(self) -> None:
        while self._places and self._waiting:
            context, project_id, ref = self._waiting.popleft()
            self._places -= 1
            self._tasks.create_task(self._check_in_place(project_id, ref), context=context)

    async def _check_in_place(self, project_id: UUID, ref: SceneRef) -> None:
        await self._check(project_id, ref)
        self._places += 1
        self._fill_places()

    async def _check(self, project_id: UUID, ref: SceneRef) -> None:
        try:
            with stage("check"):
                verdicts = await self._checker.check(project_id, ref, self._assets)
        except Exception as error:  # noqa: BLE001  # no verdict is no reason for a scene to fail
            kind = type(error).__name__
            _log.warning("Scene %s was not checked: %s.", ref.scene_id, kind, exc_info=True)
            return
        if verdicts:
            await self._emit(SceneChecked(ref, verdicts))
