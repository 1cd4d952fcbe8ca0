"""What runs by itself: from what is due to a launch that is committed.

The model. A row of `launches` stands for one Dagster run over one contiguous range of one project's
scenes, and is committed before the run is asked for. A tick of a sensor

1. looks at the launches that are open: one whose run has ended is closed, one that has no run is
   asked for again under the same `run_key`, which Dagster drops where it has a run for it;
2. finds what is due by a predicate in the database, without what an open launch holds;
3. commits launches, under one advisory lock for all sensors and commands; the attempt and the next
   time at which the same thing is due are set in the same transaction;
4. returns the run requests.

Nothing is remembered elsewhere. A tick that dies before 3 has changed nothing; one that dies after
it left a launch without a run, which the next tick asks for. A launch that has no run for ten
minutes has expired: what it held is due again. What is paid for is guarded by the ledger, never by
this: the worst that a mistake here can do is a run that finds nothing to do.

The id of a launch is the attempt that a `run_key` needs: whatever is tried again is a new launch.

Belongs here: wishes, launches and times to wait. Does not belong here: which scenes are wished for
(`due_changes`, `due_requests`, `due_generations`), and anything of Dagster's (`defs`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from scene_pipeline.database import due
from scene_pipeline.database.launches import (
    EXPIRED,
    Launch,
    Trigger,
    close_launch,
    get_launch,
    insert_launch,
    launched_scenes,
    lock_launches,
)
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.failpoints import failpoint

SCENES_PER_TICK = 1000
"""The most scenes, requests or generations that one tick looks at."""
MAX_REASON_LENGTH = 100
_COMMAND_GRACE_SECONDS = 60.0
"""How long a command may be without a run: it has just begun, or is between two of them."""
_RUN_GRACE_SECONDS = 600.0
"""How long a launch waits for its run before it is given up."""

WANT_WAITS = tuple(timedelta(seconds=seconds) for seconds in (60, 300, 1800, 7200))
"""Between attempts at a scene; after one more attempt it is left alone until something happens."""
REQUEST_WAITS = tuple(timedelta(seconds=seconds) for seconds in (30, 120, 600, 1800))

RunFate = Literal["active", "canceled", "ended"]
"""Where a run is, as far as what it left behind is concerned."""
RunFates = Callable[[Collection[str]], Mapping[str, RunFate]]
"""Asks Dagster about runs by id; those it does not know are left out."""


@dataclass(frozen=True, slots=True)
class LaunchedRun:
    """The newest run of a launch."""

    status: str
    """As Dagster spells it."""
    is_active: bool
    """Whether it goes on, or will be begun again by itself."""


@dataclass(frozen=True, slots=True)
class DueScene:
    """A scene that a run is wished for, and the row that says so."""

    scene_id: str
    wanted_at: datetime | None = None
    request_id: int | None = None
    generation_id: UUID | None = None
    wait: timedelta | None = None
    """For a generation: until when it is left alone after the launch."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Scenes of one project for which runs are to be launched for one reason."""

    trigger: Trigger
    project_id: UUID
    project_key: str
    scenes: tuple[DueScene, ...]
    """In the document's order."""
    reason: str
    refresh_stale: bool = False

    @property
    def scene_ids(self) -> tuple[str, ...]:
        """Ids of the scenes."""
        return tuple(scene.scene_id for scene in self.scenes)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an open launch."""

    action: Literal["wait", "ask_again", "close"]
    outcome: str = ""


def judge(launch: Launch, run: LaunchedRun | None) -> Verdict:
    """Say what becomes of an open launch, given its newest run."""
    if run is not None and run.is_active:
        return Verdict("wait")
    if launch.trigger == "command":
        # Closed by the command itself; one that was killed leaves this to us.
        is_fresh = launch.age_seconds < _COMMAND_GRACE_SECONDS
        return Verdict("wait") if is_fresh else Verdict("close", EXPIRED)
    if run is not None:
        return Verdict("close", run.status)
    if launch.age_seconds >= _RUN_GRACE_SECONDS:
        return Verdict("close", EXPIRED)
    return Verdict("ask_again")


async def close_launches(conn: Connection, outcomes: Mapping[int, str]) -> None:
    """Close launches, each in a transaction of its own."""
    for launch_id, outcome in outcomes.items():
        async with conn.transaction():
            await close_launch(conn, launch_id, outcome)
        failpoint("tick_after_close")


async def commit_launches(
    conn: Connection, ranges: Sequence[tuple[Wish, Sequence[str]]]
) -> list[Launch]:
    """Write one launch per range, and count an attempt for everything that is due in it.

    Args:
        conn: Outside of a transaction: this is one.
        ranges: Each with the wish that it carries out; its scenes in the instance's order, with
            those that merely fill gaps.

    Returns:
        The launches; a range of which another launch holds a scene meanwhile is left out.
    """
    launch_ids = []
    async with conn.transaction():
        await lock_launches(conn)
        for wish, scene_ids in ranges:
            if not (await launched_scenes(conn, wish.project_id)).isdisjoint(scene_ids):
                continue
            here = frozenset(scene_ids)
            scenes = [scene for scene in wish.scenes if scene.scene_id in here]
            launch_ids.append(
                await insert_launch(
                    conn,
                    wish.trigger,
                    wish.project_id,
                    scene_ids,
                    reason=wish.reason[:MAX_REASON_LENGTH],
                    request_ids=[s.request_id for s in scenes if s.request_id is not None],
                    refresh_stale=wish.refresh_stale,
                )
            )
            await _count_attempts(conn, wish.project_id, scenes)
    failpoint("tick_after_launch")
    found = [await get_launch(conn, launch_id) for launch_id in launch_ids]
    return [launch for launch in found if launch is not None]


async def _count_attempts(conn: Connection, project_id: UUID, scenes: Sequence[DueScene]) -> None:
    wanted = {s.scene_id: s.wanted_at for s in scenes if s.wanted_at is not None}
    if wanted:
        await due.count_want(conn, project_id, wanted, WANT_WAITS)
    request_ids = [s.request_id for s in scenes if s.request_id is not None]
    if request_ids:
        await due.count_requests(conn, request_ids, REQUEST_WAITS)
    waits = {s.generation_id: s.wait for s in scenes if s.generation_id and s.wait}
    if waits:
        await due.set_take_up(conn, waits, is_attempt=True)


def reason_of(words: Collection[str]) -> str:
    """Put reasons together into one short line, each once."""
    return "; ".join(dict.fromkeys(words))[:MAX_REASON_LENGTH]
