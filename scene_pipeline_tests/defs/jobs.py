"""Carrying the code location's jobs out in this process, and what they say at their end."""

from typing import Any

import dagster as dg

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime


def make_frames(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    *,
    tags: dict[str, str] | None = None,
    selection: list[str] | None = None,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    """The frames job over all scenes that the instance knows, as a backfill would run it."""
    keys = instance.get_dynamic_partitions(SCENES_NAME)
    job = build_definitions(resources={"pipeline": runtime}).resolve_job_def("frames")
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config=dg.RunConfig(ops={"stream_frames": FramesConfig(**config)}),
        asset_selection=[dg.AssetKey(name) for name in selection] if selection else None,
        tags={
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
            **(tags or {}),
        },
    )


def run_job(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, job: str, **config: object
) -> dg.ExecuteInProcessResult:
    """A job of one op, with the op's config."""
    definition = build_definitions(resources={"pipeline": runtime}).resolve_job_def(job)
    [op] = definition.nodes
    return definition.execute_in_process(
        instance=instance,
        run_config={"ops": {op.name: {"config": config}}} if config else None,
        raise_on_error=False,
    )


def numbers(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata beside the op's output."""
    assert result.success
    [output] = [
        event.step_output_data
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT
    ]
    assert output is not None
    return {name: value.value for name, value in output.metadata.items()}
