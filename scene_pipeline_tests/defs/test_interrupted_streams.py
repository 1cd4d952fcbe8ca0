"""A run that is interrupted starts nothing more, however long Dagster takes to hear of it."""

import signal
import threading
from dataclasses import replace

import dagster as dg
from dagster._utils.interrupts import capture_interrupts

from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.orders import SceneOutcome, StreamEvent
from scene_pipeline.scenes.identity import partition_key
from scene_pipeline_tests.defs.jobs import make_frames
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.waiting import wait_until

SCENES = 60


def is_at_work() -> bool:
    """Whether any stream's thread lives."""
    return any(thread.name == "frame-stream" for thread in threading.enumerate())


def test_a_stream_stops_while_dagster_still_holds_the_signal_back(
    studio: Studio, runtime: PipelineRuntime, instance: dg.DagsterInstance
) -> None:
    studio.bring(film([f"Scene number {number}" for number in range(SCENES)]))
    keys = [partition_key("film", f"scene_{number}") for number in range(1, SCENES + 1)]
    instance.add_dynamic_partitions(SCENES_NAME, keys)
    told: list[str] = []
    ended: list[SceneOutcome] = []

    def interrupt_at_the_first(event: StreamEvent) -> None:
        if not isinstance(event, SceneOutcome):
            return
        ended.append(event)
        if len(ended) == 1:
            with capture_interrupts():  # as while Dagster writes events
                signal.raise_signal(signal.SIGINT)
                wait_until(lambda: not is_at_work())

    settings = studio.settings.model_copy(update={"generation_concurrency": 1})
    watched = replace(
        runtime,
        settings=settings,
        observer=interrupt_at_the_first,
        on_interruption=lambda: told.append("stopping"),
        is_at_terminal=True,
    )
    result = make_frames(instance, watched)

    [made] = studio.sql("SELECT count(*) AS n FROM scene_images")
    assert 0 < made["n"] < SCENES
    assert told == ["stopping"]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED  # though the signal itself was lost
