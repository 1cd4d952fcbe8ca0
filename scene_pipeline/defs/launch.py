"""Executing the jobs in this process, on the persistent instance.

Belongs here: what `scene-pipeline run` needs so that its runs, logs and materializations are in the
UI afterwards like any other. Does not belong here: what is shown at the terminal.

A run carries one scene or one contiguous range, and ranges follow the order in which scenes were
added: a project imported at once is one run; a scattered choice becomes one run per range, one
after the other, about a quarter of a second each. Gaps are not filled to save runs: an `ensure` of
a gap would buy frames that nobody asked for.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import dagster as dg

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.dead_runs import process_tags
from scene_pipeline.defs.event_batches import enable_event_batches
from scene_pipeline.defs.jobs import frames_job, storyboard_job
from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.partitions import (
    SCENES_NAME,
    contiguous_ranges,
    range_tags,
    register_partitions,
)
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.orders import Mode, SceneOutcome, SceneRef, StreamEvent
from scene_pipeline.scenes.identity import partition_key, project_partition_key
from scene_pipeline.scenes.requests import RequestOverrides

# Dagster's own tag: what a run of one partition materializes.
_PARTITION_TAG = "dagster/partition"

# The daemon cannot execute again what a command executed; the command is simply given again.
_NO_RETRY = {"dagster/max_retries": "0"}

# Dagster would otherwise write every event to the terminal; the instance keeps them all the same.
_QUIET_CONSOLE = {"console": {"config": {"log_level": "CRITICAL"}}}


_STATEMENT_TIMEOUT_MILLISECONDS = 30_000


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """What came of executing an order in this process."""

    run_ids: tuple[str, ...]
    """One per contiguous range, in the order of execution."""
    outcomes: tuple[SceneOutcome, ...]
    """One per scene."""


class _Watch:
    """Keeps the outcomes of a stream and passes every event on."""

    def __init__(self, runtime: PipelineRuntime) -> None:
        self._runtime = runtime
        self.outcomes: dict[SceneRef, SceneOutcome] = {}

    def __call__(self, event: StreamEvent) -> None:
        if isinstance(event, SceneOutcome):
            self.outcomes[event.scene] = event
        self._runtime.observe(event)

    @property
    def cost_usd(self) -> Decimal:
        return sum((outcome.cost_usd for outcome in self.outcomes.values()), Decimal(0))


def launch_frames(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    project_key: str,
    scene_ids: Sequence[str],
    *,
    mode: Mode,
    overrides: RequestOverrides | None = None,
    refresh_stale: bool = False,
    max_cost_usd: Decimal | None = None,
    tags: Mapping[str, str] | None = None,
) -> LaunchResult:
    """Execute the frames job for scenes of one project, here and now.

    Args:
        instance: The persistent instance; the scenes' partitions are added where they are missing.
        runtime: Settings and database; its observer is called in this thread for every event.
        project_key: The project's readable key.
        scene_ids: The scenes, in the document's order.
        mode: Whether existing frames are kept.
        overrides: What the command sets over document and settings.
        refresh_stale: Whether `ensure` also replaces frames whose scene was edited.
        max_cost_usd: Cap for all runs of this launch together.
        tags: Further tags of the runs, such as the regeneration request's.

    Raises:
        ScenePipelineError: The work could not begin or go on at all; single scenes that fail are
            outcomes, not errors.
        KeyboardInterrupt: The work was interrupted; what is paid for is resumed by the next launch.
    """
    enable_event_batches()
    _keep_connections(instance)
    keys = [partition_key(project_key, scene_id) for scene_id in scene_ids]
    register_partitions(instance, project_key, keys)
    ranges = contiguous_ranges(
        instance.get_dynamic_partitions(SCENES_NAME),
        keys,
        max_length=runtime.settings.scenes_per_run,
    )
    watch = _Watch(runtime)
    job = job_with(frames_job.name, replace(runtime, observer=watch, is_at_terminal=True))
    run_ids: list[str] = []
    for scene_range in ranges:
        rest = None if max_cost_usd is None else max(max_cost_usd - watch.cost_usd, Decimal(0))
        config = frames_config(mode, overrides or RequestOverrides(), refresh_stale, rest)
        run_tags = {
            **range_tags(scene_range.start, scene_range.end),
            PROJECT_TAG: project_key,
            **(tags or {}),
        }
        run_ids.append(execute_here(job, instance, run_tags, {"stream_frames": config}))
    return LaunchResult(tuple(run_ids), tuple(watch.outcomes.values()))


def launch_storyboard(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, project_key: str
) -> str:
    """Execute the storyboard job for a project, here and now.

    Args:
        instance: The persistent instance.
        runtime: Settings and database.
        project_key: The project's readable key.

    Returns:
        The run's id; the sheet's address is the `url` of its materialization.

    Raises:
        ScenePipelineError: The sheet could not be drawn or stored.
    """
    register_partitions(instance, project_key, [])
    job = job_with(storyboard_job.name, runtime)
    key = project_partition_key(project_key)
    return execute_here(job, instance, {_PARTITION_TAG: key, PROJECT_TAG: project_key}, {})


def frames_config(
    mode: Mode, overrides: RequestOverrides, refresh_stale: bool, max_cost_usd: Decimal | None
) -> FramesConfig:
    """The launchpad's fields for what a command was given."""
    return FramesConfig(
        mode=mode,
        refresh_stale=refresh_stale,
        max_cost_usd=None if max_cost_usd is None else float(max_cost_usd),
        provider=overrides.provider,
        model=overrides.model,
        image_size=overrides.image_size,
        seed=overrides.seed,
        steps=overrides.steps,
        prompt_suffix=overrides.prompt_suffix,
    )


def job_with(name: str, runtime: PipelineRuntime) -> dg.JobDefinition:
    """A job of the code location, with this runtime in place of the resource."""
    definitions = build_definitions(resources={"pipeline": runtime})
    return definitions.resolve_job_def(name)


def _keep_connections(instance: dg.DagsterInstance) -> None:
    """Let the instance keep its connections between events, as Dagster's webserver does.

    Otherwise each event opens two, and planning a run of 100 scenes (400 events) takes 10 s on
    PostgreSQL instead of 3 s before the first frame is asked for.
    """
    instance.optimize_for_webserver(
        statement_timeout=_STATEMENT_TIMEOUT_MILLISECONDS, pool_recycle=600, max_overflow=4
    )


def execute_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    op_configs: Mapping[str, dg.Config],
) -> str:
    """Execute one run to its end; a run that ends with failed scenes has ended well enough here.

    Raises:
        KeyboardInterrupt: It was interrupted.
        ScenePipelineError: The reason for which it could not work at all.
    """
    run_id = str(uuid.uuid4())
    try:
        job.execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=dg.RunConfig(ops=dict(op_configs), loggers=_QUIET_CONSOLE),
            tags={**tags, **_NO_RETRY, **process_tags(run_id)},
        )
    except dg.Failure as failure:
        # Of failed scenes every outcome was observed already; what broke the whole work was not.
        if isinstance(failure.__cause__, ScenePipelineError):
            raise failure.__cause__ from None
    except dg.DagsterExecutionInterruptedError as error:
        raise KeyboardInterrupt from error
    except dg.DagsterUserCodeExecutionError as error:
        if isinstance(error.user_exception, ScenePipelineError):
            raise error.user_exception from error
        raise
    return run_id
