"""Ticking a sensor and doing what Dagster's daemon does with its answer, in this process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.metadata import LAUNCH_TAG
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors.scene_changes import scene_changes

RUN_KEY_TAG = "dagster/run_key"
TickResult = dg.SensorResult | dg.SkipReason


@dataclass
class Daemon:
    """The parts of Dagster's daemon that a sensor relies on."""

    instance: dg.DagsterInstance
    runtime: PipelineRuntime
    executed: list[str] = field(default_factory=list)
    """Run keys of what was executed, in order."""

    @cached_property
    def job(self) -> dg.JobDefinition:
        """The frames job, with this runtime in place of the resource."""
        definitions = build_definitions(resources={"pipeline": self.runtime})
        return definitions.resolve_job_def("frames")

    def tick(self, sensor: dg.SensorDefinition = scene_changes) -> list[dg.RunRequest]:
        """Evaluate a sensor and add the keys that it asks for; returns what it wants to run."""
        context = dg.build_sensor_context(instance=self.instance)
        result = sensor(context, pipeline=self.runtime)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SkipReason):
            return []
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(
                request.partitions_def_name, list(request.partition_keys)
            )
        return list(result.run_requests or ())

    def create(
        self, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str
    ) -> dg.DagsterRun:
        """Create the run that was asked for, as it looks before or after it was executed."""
        return self.instance.create_run_for_job(
            self.job,
            tags={**request.tags, RUN_KEY_TAG: str(request.run_key), **tags},
            run_config=dict(request.run_config),
            status=status,
        )

    def execute(self, requests: Sequence[dg.RunRequest]) -> None:
        """Execute what was asked for, unless it was executed before: a run key is for ever."""
        for request in requests:
            assert request.run_key is not None
            if request.run_key in self.executed:
                continue
            self.executed.append(request.run_key)
            self.job.execute_in_process(
                instance=self.instance,
                run_config=request.run_config,
                tags={**request.tags, RUN_KEY_TAG: request.run_key},
                raise_on_error=False,
            )

    def live(self, sensor: dg.SensorDefinition = scene_changes, ticks: int = 10) -> None:
        """Tick and execute until a tick asks for nothing."""
        for _ in range(ticks):
            requests = self.tick(sensor)
            if not requests:
                return
            self.execute(requests)
        raise AssertionError("it never came to rest")


def launch_ids(requests: Sequence[dg.RunRequest]) -> list[int]:
    """Ids of the launches that requests stand for."""
    return [int(request.tags[LAUNCH_TAG]) for request in requests]
