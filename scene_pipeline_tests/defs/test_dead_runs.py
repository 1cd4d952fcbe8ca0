"""A run is ended only where its process is provably gone."""

import json
import os
import subprocess
import sys

import dagster as dg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.dead_runs import end_dead_runs, process_tags
from scene_pipeline.defs.metadata import HOST_TAG, PROCESS_TAG

NOWHERE = "00000000-0000-4000-8000-00000000000"
RUN_ID = f"{NOWHERE}1"
OTHER_RUN_ID = f"{NOWHERE}2"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="start times of processes are read from /proc"
)


def open_run(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    """A run as one looks whose process has begun it."""
    return instance.create_run_for_job(
        build_definitions().resolve_job_def("storyboards"),
        run_id=RUN_ID,
        tags={"dagster/partition": "film", **tags},
        status=dg.DagsterRunStatus.STARTED,
    )


@pytest.fixture
def ephemeral() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("projects", ["film"])
    return instance


def tags_of_a_killed_process(run_id: str = RUN_ID) -> dict[str, str]:
    code = (
        "import json; from scene_pipeline.defs.dead_runs import process_tags;"
        f" print(json.dumps(process_tags({run_id!r})))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    tags: dict[str, str] = json.loads(finished.stdout)
    return tags


def status(instance: dg.DagsterInstance) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(RUN_ID)
    assert run is not None
    return run.status


def test_a_run_whose_process_is_gone_is_ended(ephemeral: dg.DagsterInstance) -> None:
    open_run(ephemeral, tags_of_a_killed_process())

    assert end_dead_runs(ephemeral) == [RUN_ID]

    assert status(ephemeral) is dg.DagsterRunStatus.FAILURE
    assert end_dead_runs(ephemeral) == []


def test_a_living_process_keeps_its_run(ephemeral: dg.DagsterInstance) -> None:
    open_run(ephemeral, process_tags(RUN_ID))

    assert end_dead_runs(ephemeral) == []


def test_a_reused_process_id_does_not_hide_a_dead_run(ephemeral: dg.DagsterInstance) -> None:
    tags = process_tags(RUN_ID)
    open_run(ephemeral, {**tags, PROCESS_TAG: f"{os.getpid()}/1/{RUN_ID}"})

    assert end_dead_runs(ephemeral) == [RUN_ID]


def test_tags_copied_from_a_parent_prove_nothing(ephemeral: dg.DagsterInstance) -> None:
    """A re-execution carries its parent's tags until its own process writes its own."""
    open_run(ephemeral, tags_of_a_killed_process(OTHER_RUN_ID))

    assert end_dead_runs(ephemeral) == []


@pytest.mark.parametrize("host", ["elsewhere/boot/pid:[1]", None])
def test_another_machine_is_not_judged(ephemeral: dg.DagsterInstance, host: str | None) -> None:
    tags = tags_of_a_killed_process()
    del tags[HOST_TAG]
    open_run(ephemeral, tags if host is None else {**tags, HOST_TAG: host})

    assert end_dead_runs(ephemeral) == []
