"""The Dagster code location: assembly and nothing else.

Belongs here: the list of what Dagster is shown. Does not belong here: everything else; loading this
module opens no connection and cannot fail for what the environment holds.
"""

from collections.abc import Mapping

import dagster as dg

from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.defs.frames import build_frames_asset
from scene_pipeline.defs.jobs import frames_job, imports_job, storyboard_job
from scene_pipeline.defs.reports import REPORT_ASSETS, portfolio_job
from scene_pipeline.defs.resources import PipelineResource
from scene_pipeline.defs.schedules import SCHEDULES
from scene_pipeline.defs.sensors import SENSORS
from scene_pipeline.defs.storyboard import storyboard
from scene_pipeline.defs.upkeep import UPKEEP_JOBS
from scene_pipeline.defs.user_asset import user_asset


def build_definitions(*, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Assemble the code location anew.

    Args:
        resources: Replacements by key; "pipeline" takes a `PipelineResource` or a plain
            `PipelineRuntime`.
    """
    return dg.Definitions(
        assets=[
            build_frames_asset(settings_at_load().scenes_per_run),
            storyboard,
            user_asset,
            *REPORT_ASSETS,
        ],
        jobs=[frames_job, storyboard_job, imports_job, portfolio_job, *UPKEEP_JOBS],
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources={"pipeline": PipelineResource(), **(resources or {})},
        # Runs from the UI use the implicit job, which takes the location's executor: a run is one
        # process, since each further one costs 2.5 to 4 s of imports.
        executor=dg.in_process_executor,
    )


defs = build_definitions()
