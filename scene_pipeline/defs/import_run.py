"""Executing imports in this process, for `assets add`."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import dagster as dg

from scene_pipeline.defs.import_launches import import_run_tags
from scene_pipeline.defs.jobs import imports_job
from scene_pipeline.defs.launch import execute_here, job_with
from scene_pipeline.defs.partitions import LIBRARIES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.user_asset import ImportConfig
from scene_pipeline.scenes.identity import library_partition_key

# Dagster's own tag: what a run of one partition materializes.
_PARTITION_TAG = "dagster/partition"


def run_imports(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    project_key: str | None,
    launch_id: UUID,
) -> str:
    """Execute the imports of a launch, here and now.

    Args:
        instance: The persistent instance; the partition is added where it is missing.
        runtime: Settings and database; its observer is told of progress and outcomes.
        project_key: Whose library; None for what belongs to no project.
        launch_id: What the imports are marked with.

    Returns:
        The run's id; imports that failed are told to the observer.

    Raises:
        ScenePipelineError: The work could not begin or go on at all.
        KeyboardInterrupt: It was interrupted.
    """
    key = library_partition_key(project_key)
    instance.add_dynamic_partitions(LIBRARIES_NAME, [key])
    job = job_with(imports_job.name, replace(runtime, is_at_terminal=True))
    tags: Mapping[str, str] = {_PARTITION_TAG: key, **import_run_tags(launch_id, project_key)}
    config = ImportConfig(launch=str(launch_id))
    return execute_here(job, instance, tags, {"user_asset": config})
