"""Runs that make frames, and the projects that they may be about.

Belongs here: asking the instance. Does not belong here: what waits for them (`changed_frames`,
`sensors.stale_storyboards`).
"""

from collections.abc import Sequence
from typing import Final

import dagster as dg

from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.partition_keys import held_by
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.pipeline.upkeep.archive_plan import busy_projects

_STAGES: Final = frozenset({dg.AssetKey("scene_image"), dg.AssetKey("scene_start_frame")})
_RUNS_LOOKED_AT: Final = 2000
"""Of all that have not ended; with more of them any project may be meant."""


def has_frame_run(
    instance: dg.DagsterInstance, project_key: str, statuses: Sequence[dg.DagsterRunStatus]
) -> bool:
    """Whether a run that tells of frames is on a project, alone or with others."""
    tagged = dg.RunsFilter(tags={PROJECT_TAG: project_key}, statuses=statuses)
    if any(map(_tells_of_frames, instance.get_runs(tagged, limit=_RUNS_LOOKED_AT))):
        return True
    several = projects_of_untagged_runs(instance, statuses)
    return several is None or project_key in several


def projects_of_untagged_runs(
    instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus]
) -> frozenset[str] | None:
    """The projects of runs that tell of frames and carry no project's tag; None: it may be any.

    Runs over several projects have none, and runs that were launched in the UI only once they have
    begun.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=statuses), limit=_RUNS_LOOKED_AT)
    if len(runs) == _RUNS_LOOKED_AT:
        return None
    untagged = [run for run in runs if PROJECT_TAG not in run.tags and _tells_of_frames(run)]
    if not untagged:
        return frozenset()
    return busy_projects(instance.get_dynamic_partitions(SCENES_NAME), held_by(untagged))


def _tells_of_frames(run: dg.DagsterRun) -> bool:
    if run.asset_selection:
        return not _STAGES.isdisjoint(run.asset_selection)
    return run.job_name == "frames"
