"""From wishes to run requests: what the sensors that launch frames have in common.

Belongs here: asking the instance about runs and keys, cutting ranges, run requests and their tags.
Does not belong here: what is due, and the model behind it (`pipeline.due.launches`).

A range never mixes keys that the instance has with keys that come with the tick: between the two
another process may add its own. Should foreign keys come to lie within a range all the same, a run
works on those of its own project only (`run_order`).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import dagster as dg

from scene_pipeline.database.due import scenes_at_rest
from scene_pipeline.database.launches import EXPIRED, Launch, Trigger, open_launches
from scene_pipeline.database.rows import Connection
from scene_pipeline.defs.active_runs import SUBMITTED_STATUSES
from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.metadata import LAUNCH_TAG, PROJECT_TAG, REQUEST_TAG, launch_tags
from scene_pipeline.defs.partitions import (
    PROJECTS_NAME,
    SCENES_NAME,
    contiguous_ranges,
    projects,
    range_tags,
    scenes,
)
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.due.launches import (
    LaunchedRun,
    RunFate,
    RunFates,
    Verdict,
    Wish,
    close_launches,
    commit_launches,
    judge,
)
from scene_pipeline.scenes.identity import partition_key, project_key_problem, project_partition_key
from scene_pipeline.settings import Settings

OPEN_LAUNCHES_PER_TICK = 200
LAUNCHES_PER_TICK = 20
"""Dagster takes a tenth of a second or more to create each run; the rest is due next time."""
_RUNS_PER_TICK = 2000
_REQUESTS_IN_TAG = 20
_KEYS_PER_REQUEST = 1000
# Dagster's own tag of a run that executes another one again: the first of the chain.
_ROOT_RUN_TAG = "dagster/root_run_id"

FindDue = Callable[[Connection, Settings, RunFates], Awaitable[Sequence[Wish]]]
"""Says what a sensor is to launch."""
_Ranges = list[tuple[Wish, Sequence[str]]]


def launch_due(
    instance: dg.DagsterInstance,
    pipeline: PipelineRuntime,
    triggers: tuple[Trigger, ...],
    find: FindDue,
) -> dg.SensorResult | dg.SkipReason:
    """One tick of a sensor that launches frames.

    Args:
        instance: Of the sensor.
        pipeline: Settings and database.
        triggers: Whose open launches are looked at.
        find: Says what is due.

    Raises:
        DatabaseError: The database cannot be read.
    """

    async def tick(conn: Connection) -> dg.SensorResult | dg.SkipReason:
        open_ones = await open_launches(conn, triggers, OPEN_LAUNCHES_PER_TICK)
        await conn.commit()
        verdicts = _verdicts(instance, open_ones)
        outcomes = {id_: v.outcome for id_, v in verdicts.items() if v.action == "close"}
        await close_launches(conn, outcomes)
        wishes = await find(conn, pipeline.settings, lambda ids: fates_of_runs(instance, ids))
        await conn.commit()
        cut = await _cut(conn, instance, wishes, pipeline.settings.scenes_per_run)
        again = [one for one in open_ones if verdicts[one.id].action == "ask_again"]
        launches = [*again, *await commit_launches(conn, cut)]
        if not launches:
            waiting = len(open_ones) - len(outcomes)
            return dg.SkipReason(f"Nothing is due; {waiting} runs of earlier ticks go on.")
        return dg.SensorResult(
            run_requests=[_run_request(launch) for launch in launches],
            dynamic_partitions_requests=_key_requests(instance, launches),
        )

    return pipeline.in_database(tick)


def fates_of_runs(instance: dg.DagsterInstance, run_ids: Collection[str]) -> Mapping[str, RunFate]:
    """Where runs are; those that the instance does not know are left out.

    A run that is being executed again, by the daemon or by a person, goes on: what it left is in
    the hands of its successor, also while that waits for its turn.
    """
    if not run_ids:
        return {}
    runs = instance.get_runs(dg.RunsFilter(run_ids=list(run_ids)))
    fates = {run.run_id: _fate(run) for run in runs}
    roots = {r.run_id: r.root_run_id or r.run_id for r in runs if fates[r.run_id] != "active"}
    if roots:
        successors = dg.RunsFilter(
            tags={_ROOT_RUN_TAG: sorted(set(roots.values()))}, statuses=SUBMITTED_STATUSES
        )
        going_on = {run.root_run_id for run in instance.get_runs(successors, limit=_RUNS_PER_TICK)}
        fates |= {run_id: "active" for run_id, root in roots.items() if root in going_on}
    return fates


def _fate(run: dg.DagsterRun) -> RunFate:
    if run.status in SUBMITTED_STATUSES or run.is_complete_and_waiting_to_retry:
        return "active"
    return "canceled" if run.status is dg.DagsterRunStatus.CANCELED else "ended"


def _verdicts(instance: dg.DagsterInstance, launches: Sequence[Launch]) -> dict[int, Verdict]:
    """What becomes of every open launch."""
    runs = _runs_of_launches(instance, launches)
    verdicts = {launch.id: judge(launch, runs.get(launch.id)) for launch in launches}
    if any(verdict.action == "ask_again" for verdict in verdicts.values()):
        places = _places(instance)
        for launch in launches:
            if verdicts[launch.id].action == "ask_again" and not _is_range(launch, places):
                verdicts[launch.id] = Verdict("close", EXPIRED)
    return verdicts


def _runs_of_launches(
    instance: dg.DagsterInstance, launches: Sequence[Launch]
) -> dict[int, LaunchedRun]:
    """The newest run of every launch that has one.

    A command may have executed hundreds of runs; only whether one of them is active matters.
    """
    commands = [str(one.id) for one in launches if one.trigger == "command"]
    others = [str(one.id) for one in launches if one.trigger != "command"]
    filters = [
        dg.RunsFilter(tags={LAUNCH_TAG: others}),
        dg.RunsFilter(tags={LAUNCH_TAG: commands}, statuses=SUBMITTED_STATUSES),
    ]
    found: dict[int, LaunchedRun] = {}
    for wanted, ids in zip(filters, (others, commands), strict=True):
        for run in instance.get_runs(wanted, limit=_RUNS_PER_TICK) if ids else ():
            # The newest comes first: a retry carries the tags of the run that it repeats. One that
            # was created and never submitted counts as none: asked for again, Dagster goes on.
            if run.status is not dg.DagsterRunStatus.NOT_STARTED:
                is_active = _fate(run) == "active"
                found.setdefault(
                    int(run.tags[LAUNCH_TAG]), LaunchedRun(run.status.value, is_active)
                )
    return found


def _places(instance: dg.DagsterInstance) -> dict[str, int]:
    return {key: place for place, key in enumerate(instance.get_dynamic_partitions(SCENES_NAME))}


def _is_range(launch: Launch, places: Mapping[str, int]) -> bool:
    """Whether the keys of a launch still are, or will be, a range in the instance."""
    found = [places.get(key) for key in _keys(launch)]
    if None in found:
        return set(found) == {None}
    return found == list(range(places[_keys(launch)[0]], places[_keys(launch)[0]] + len(found)))


def _keys(launch: Launch) -> list[str]:
    return [partition_key(launch.project_key, scene_id) for scene_id in launch.scene_ids]


async def _cut(
    conn: Connection, instance: dg.DagsterInstance, wishes: Sequence[Wish], max_length: int
) -> _Ranges:
    """Cut what is wished for into ranges, as many as one tick launches."""
    ranges: _Ranges = []
    if not wishes:
        return ranges
    existing = instance.get_dynamic_partitions(SCENES_NAME)
    known = frozenset(existing)
    for wish in wishes:
        if len(ranges) >= LAUNCHES_PER_TICK:
            break
        if project_key_problem(wish.project_key) is not None:
            continue  # another program's project that no run can carry; told when it was planned
        ids = {partition_key(wish.project_key, scene_id): scene_id for scene_id in wish.scene_ids}
        old = [key for key in ids if key in known]
        new = [key for key in ids if key not in known]
        found = contiguous_ranges(existing, old, max_length=max_length)
        if len(found) > 1 and not wish.refresh_stale:
            # Never in a run that refreshes: what is at rest now may be edited before it begins.
            at_rest = await scenes_at_rest(conn, wish.project_id)
            fillers = {partition_key(wish.project_key, scene_id): scene_id for scene_id in at_rest}
            ids = fillers | ids
            found = contiguous_ranges(existing, old, max_length=max_length, fillers=fillers)
        found += contiguous_ranges(new, new, max_length=max_length)
        ranges += [(wish, [ids[key] for key in one.keys]) for one in found]
    return ranges[:LAUNCHES_PER_TICK]


def _run_request(launch: Launch) -> dg.RunRequest:
    keys = _keys(launch)
    tags = {
        **range_tags(keys[0], keys[-1]),
        PROJECT_TAG: launch.project_key,
        **launch_tags(launch.id, launch.reason),
    }
    if launch.request_ids:
        tags[REQUEST_TAG] = ",".join(map(str, launch.request_ids[:_REQUESTS_IN_TAG]))
    config = FramesConfig(mode="ensure", refresh_stale=launch.refresh_stale)
    return dg.RunRequest(
        run_key=f"{launch.trigger}:{project_partition_key(launch.project_key)}:{launch.id}",
        run_config=dg.RunConfig(ops={"stream_frames": config}),
        tags=tags,
    )


def _key_requests(
    instance: dg.DagsterInstance, launches: Sequence[Launch]
) -> list[dg.AddDynamicPartitionsRequest]:
    """Ask for the keys that the instance does not have, in the order of the launches."""
    known = frozenset(instance.get_dynamic_partitions(SCENES_NAME))
    keys = [key for launch in launches for key in _keys(launch) if key not in known]
    owners = dict.fromkeys(project_partition_key(launch.project_key) for launch in launches)
    unknown = [key for key in owners if not instance.has_dynamic_partition(PROJECTS_NAME, key)]
    requests = [
        scenes.build_add_request(keys[first : first + _KEYS_PER_REQUEST])
        for first in range(0, len(keys), _KEYS_PER_REQUEST)
    ]
    return [*requests, projects.build_add_request(unknown)] if unknown else requests
