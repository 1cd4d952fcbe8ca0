"""The four assets of a scene's frame, made by one streaming op.

Belongs here: translating the stream of `pipeline` into Dagster's events. Does not belong here: any
decision about a scene.

One op serves a whole range of scenes, because a run costs seconds of CPU for its process and
imports, and separate steps would hold every frame back until the slowest scene is through. It is a
plain generator that drains a bounded queue: an asynchronous one would have its loop run only while
Dagster waits for the next event, so that writing an event would stop polling and downloads.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import closing

import dagster as dg

from scene_pipeline.defs.cancelled_backfills import BackfillWatch
from scene_pipeline.defs.catalogue import frame_specs
from scene_pipeline.defs.checks import check_specs, evaluations, results_alone
from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.dead_runs import process_tags
from scene_pipeline.defs.event_batches import (
    WINDOW_SECONDS,
    AssetEvent,
    EventBatches,
    enable_event_batches,
)
from scene_pipeline.defs.frame_metadata import prompts_observation, stage_materialization
from scene_pipeline.defs.outcomes import RunSummary
from scene_pipeline.defs.partitions import scenes
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.run_order import order_of_run, project_tags
from scene_pipeline.pipeline.orders import (
    FrameOrder,
    SceneChecked,
    SceneOutcome,
    StageDone,
    StreamEvent,
)
from scene_pipeline.scenes.identity import partition_key


def build_frames_asset(scenes_per_run: int) -> dg.AssetsDefinition:
    """Build the streaming multi-asset.

    Args:
        scenes_per_run: The most scenes that one run of a backfill takes.
    """

    @dg.multi_asset(
        name="stream_frames",
        specs=frame_specs(),
        check_specs=check_specs(),
        partitions_def=scenes,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=scenes_per_run),
    )
    def stream_frames(
        context: dg.AssetExecutionContext,
        config: FramesConfig,
        pipeline: dg.ResourceParam[PipelineRuntime],
    ) -> Iterator[AssetEvent]:
        """Work on all scenes of the run at once and tell of each stage the moment it is done."""
        enable_event_batches()
        order = order_of_run(context, config)
        context.instance.add_run_tags(
            context.run.run_id,
            process_tags(context.run.run_id) | project_tags(order, context.run.tags),
        )
        if not order.stages:  # checks alone were asked for: nothing is made, kept or written
            yield from results_alone(context, order.scenes, pipeline)
            return
        context.log.info(
            "%s %d scenes: %s", order.mode, len(order.scenes), ", ".join(sorted(order.stages))
        )
        yield from _carry_out(context, order, pipeline)

    return stream_frames


def _carry_out(
    context: dg.AssetExecutionContext, order: FrameOrder, pipeline: PipelineRuntime
) -> Iterator[AssetEvent]:
    summary = RunSummary(order.scenes)
    batches = EventBatches(context)
    selected = context.selected_asset_check_keys
    watch = BackfillWatch(context.instance, context.run)
    watch.raise_if_cancelled()
    with (
        closing(pipeline.open_stream(order)) as stream,
        pipeline.stopping_at_once(stream.stop) as interruption,
    ):
        try:
            for event in stream.events(WINDOW_SECONDS):
                if event is not None:
                    pipeline.observe(event)
                    _take(event, order, batches, selected, summary)
                if batches.is_due:
                    yield from _tell(context, batches, summary)
                watch.raise_if_cancelled()
            _raise_if_set(interruption)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            stream.stop()  # nothing new is sent while the rest is written
            for _ in batches.flush():  # nothing can be yielded any more, but it can be written
                pass
            if pipeline.is_at_terminal:
                # Dagster takes an interrupt that nobody announced for a crash.
                context.instance.report_run_canceling(context.run, "Interrupted.")
            raise
    if summary.prompts:
        # Before the last events: what is logged after them is lost when the op raises.
        context.log_event(prompts_observation(summary.prompts))
    yield from _tell(context, batches, summary)
    context.log.info(summary.totals)
    failure = summary.failure()
    if failure is not None:
        raise failure


def _raise_if_set(interruption: threading.Event) -> None:
    """Interrupt the op where the error was raised where nobody handed it on, or is held back."""
    if interruption.is_set():
        raise KeyboardInterrupt


def _take(
    event: StreamEvent,
    order: FrameOrder,
    batches: EventBatches,
    selected: Collection[dg.AssetCheckKey],
    summary: RunSummary,
) -> None:
    match event:
        case StageDone() if event.stage in order.stages:
            key = partition_key(event.scene.project_key, event.scene.scene_id)
            batches.add(stage_materialization(event, key))
            if event.prompt is not None:
                summary.prompts.append(event.prompt)
        case SceneChecked():
            for result in evaluations(event, selected):
                batches.add(result)
        case SceneOutcome():
            summary.add(event)


def _tell(
    context: dg.AssetExecutionContext, batches: EventBatches, summary: RunSummary
) -> Iterator[AssetEvent]:
    yield from batches.flush()
    line = summary.take_log_line()
    if line is not None:
        context.log.info(line)
