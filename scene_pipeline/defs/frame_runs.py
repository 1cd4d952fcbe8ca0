"""Runs that make frames, and the projects that they may be about.

Belongs here: asking the instance. Does not belong here: what waits for them (`changed_frames`,
`sensors.stale_storyboards`).
"""

from typing import Final

import dagster as dg

from scene_pipeline.defs.active_runs import runs_with_status
from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.partition_keys import held_by
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.pipeline.upkeep.archive_plan import busy_projects

_STAGES: Final = frozenset({dg.AssetKey("scene_image"), dg.AssetKey("scene_start_frame")})


def projects_with_frame_runs(
    instance: dg.DagsterInstance, statuses: list[dg.DagsterRunStatus]
) -> frozenset[str] | None:
    """The projects that runs of these statuses tell frames of; None where it may be any.

    A run over several projects carries no project's tag, and one that was launched in the UI only
    once it has begun: of these the scenes' keys say it.
    """
    runs = runs_with_status(instance, statuses)
    if runs is None:
        return None
    telling = [run for run in runs if _tells_of_frames(run)]
    tagged = frozenset(run.tags[PROJECT_TAG] for run in telling if PROJECT_TAG in run.tags)
    untagged = [run for run in telling if PROJECT_TAG not in run.tags]
    if not untagged:
        return tagged
    several = busy_projects(instance.get_dynamic_partitions(SCENES_NAME), held_by(untagged))
    return None if several is None else tagged | several


def _tells_of_frames(run: dg.DagsterRun) -> bool:
    if run.asset_selection:
        return not _STAGES.isdisjoint(run.asset_selection)
    return run.job_name == "frames"
