"""The Dagster code location: assembly and nothing else.

Belongs here: the list of what Dagster is shown. Does not belong here: everything else; loading this
module opens no connection and cannot fail for what the environment holds.
"""

from collections.abc import Mapping

import dagster as dg

from scene_pipeline.defs.frames import build_frames_asset
from scene_pipeline.defs.jobs import JOBS
from scene_pipeline.defs.resources import PipelineResource
from scene_pipeline.defs.schedules import SCHEDULES
from scene_pipeline.defs.sensors import SENSORS
from scene_pipeline.defs.storyboard import storyboard
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings, load_settings


def build_definitions(*, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Assemble the code location anew.

    Args:
        resources: Replacements by key; "pipeline" takes a `PipelineResource` or a plain
            `PipelineRuntime`.
    """
    return dg.Definitions(
        assets=[build_frames_asset(_scenes_per_run()), storyboard],
        jobs=JOBS,
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources={"pipeline": PipelineResource(), **(resources or {})},
        # Runs from the UI use the implicit job, which takes the location's executor: a run is one
        # process, since each further one costs 2.5 to 4 s of imports.
        executor=dg.in_process_executor,
    )


def _scenes_per_run() -> int:
    """The size of a backfill's runs, or its default where the environment cannot be used.

    A bad variable then fails every run with its own sentence, instead of taking the UI away.
    """
    try:
        return load_settings().scenes_per_run
    except ConfigurationError:
        return int(Settings.model_fields["scenes_per_run"].default)


defs = build_definitions()
