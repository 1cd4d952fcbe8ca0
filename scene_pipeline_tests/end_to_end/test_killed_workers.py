"""Dagster's own processes killed while a backfill is being paid for."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_api import launch_backfill
from scene_pipeline_tests.end_to_end.servers import free_ports, processes_of, up
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.postgres import passable_directory
from scene_pipeline_tests.waiting import wait_until

SCENES = [f"scene_{number}" for number in range(1, 5)]
RECOVERY_SECONDS = 300.0
"""The sensor that finds dead runs looks every minute, and the daemon retries after that."""


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[FalStandIn]:
    """Fal, slow enough to be caught at work."""
    with FalStandIn(tmp_path / "fal", run_seconds=5.0) as standin:
        yield standin


@pytest.fixture
def cli(fal: FalStandIn, tmp_path: Path) -> Iterator[CommandLine]:
    """The console script, with that Fal as its provider."""
    with passable_directory() as directory:
        # Longer than this Fal takes for a request: what is absent then was never sent.
        settle = {"SCENE_PIPELINE_AMBIGUOUS_SETTLE_SECONDS": "15"}
        variables = {**free_ports(), **fal.environment, **settle}
        yield CommandLine(directory / "home", tmp_path, variables)


def kill(cli: CommandLine, *marks: str) -> int:
    """SIGKILL every process of this data directory whose command line holds one of the marks."""
    killed = 0
    for pid in processes_of(cli.home):
        with suppress(FileNotFoundError, ProcessLookupError):  # it went with its parent
            told = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
            if any(mark in told.replace("\0", " ") for mark in marks):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


@pytest.mark.long
@pytest.mark.parametrize(
    "marks",
    [("multiprocessing.spawn",), ("multiprocessing.spawn", "dagster api grpc")],
    ids=["run worker", "run worker and code server"],
)
def test_a_backfill_survives_the_end_of_its_processes(
    marks: tuple[str, ...], cli: CommandLine, fal: FalStandIn
) -> None:
    document = cli.write("film.json", film({s: f"A view of {s}" for s in SCENES}, key="film"))
    assert cli("run", document, "--provider", "offline").code == 0

    def versions() -> dict[str, int | None]:
        told = cli("status", "film", "--json")
        return {scene["scene_id"]: scene["version"] for scene in told.document["scenes"]}

    with up(cli):
        launch_backfill(cli, [f"film/{scene_id}" for scene_id in SCENES])
        wait_until(lambda: bool(fal.meter.accepted), RECOVERY_SECONDS)
        assert kill(cli, *marks) >= len(marks)

        wait_until(lambda: versions() == dict.fromkeys(SCENES, 2), RECOVERY_SECONDS)

    assert len(fal.meter.accepted) == len(SCENES)
