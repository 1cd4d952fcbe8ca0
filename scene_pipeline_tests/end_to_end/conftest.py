"""The console script on one data directory that tests share; each test has projects of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline.database import embedded
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.standins.postgres import is_supervised, passable_directory
from scene_pipeline_tests.standins.seaweedfs import seaweedfs  # noqa: F401  # a fixture
from scene_pipeline_tests.waiting import wait_until


@pytest.fixture(scope="session")
def shared_home() -> Iterator[Path]:
    """A data directory whose embedded database stays up between commands."""
    with passable_directory() as directory:
        home = directory / "home"
        with embedded.attach(home):
            yield home
        wait_until(lambda: not is_supervised(home))


@pytest.fixture
def cli(shared_home: Path, tmp_path: Path) -> CommandLine:
    """The console script, in an empty working directory."""
    return CommandLine(shared_home, tmp_path)
