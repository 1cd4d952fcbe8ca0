"""`up` and another program's SQL: documents change, and frames follow by themselves."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.layout import APPLICATION_DATABASE, DAGSTER_DATABASE
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.servers import free_ports, up
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.standins.postgres import passable_directory
from scene_pipeline_tests.waiting import wait_until

PATIENCE_SECONDS = 240.0
"""Far above what it takes, for a busy machine."""


@pytest.fixture
def home() -> Iterator[Path]:
    with passable_directory() as directory:
        yield directory / "home"


@pytest.fixture
def cli(home: Path, tmp_path: Path) -> CommandLine:
    variables = {"SCENE_PIPELINE_AUTO_REFRESH_QUIET_SECONDS": "1"}
    return CommandLine(home, tmp_path, {**free_ports(), **variables})


class Foreign:
    """Another program, with SQL and nothing else."""

    def __init__(self, studio: Studio, dagster_url: str) -> None:
        self.studio = studio
        self._dagster_url = dagster_url

    def insert(self, document: bytes) -> None:
        self.studio.sql("INSERT INTO projects (master_json) VALUES (%s::jsonb)", document.decode())

    def versions(self, key: str = "film") -> dict[str, int]:
        """The version that every scene of the document shows."""
        rows = self.studio.sql(
            "SELECT i.scene_id, i.version FROM scene_images i JOIN projects p"
            " ON p.id = i.project_id AND p.key = %s WHERE i.is_current AND i.storage_url ="
            " scene_entry(p.master_json, i.scene_id) ->> 'scene_start_frame' ORDER BY 1",
            key,
        )
        return {row["scene_id"]: row["version"] for row in rows}

    def dagster(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._dagster_url) as conn:
            return conn.execute(question.encode(), values).fetchall()

    def await_rest(self) -> None:
        """Wait until no run goes on and no launch is open."""
        self.await_that(
            lambda: (
                not self.studio.sql("SELECT 1 FROM launches WHERE closed_at IS NULL")
                and not self.dagster(
                    "SELECT 1 FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
                )
            )
        )

    def await_that(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, PATIENCE_SECONDS)


@pytest.fixture
def foreign(cli: CommandLine, home: Path) -> Iterator[Foreign]:
    with up(cli), embedded.attach(home) as server:
        studio = Studio(load_settings(home=home), server.url(APPLICATION_DATABASE))
        yield Foreign(studio, server.url(DAGSTER_DATABASE))


def test_frames_follow_what_another_program_writes(foreign: Foreign) -> None:
    foreign.insert(film(["Dawn", "Dusk"]))
    foreign.await_that(lambda: foreign.versions() == {"scene_1": 1, "scene_2": 1})

    foreign.studio.sql("UPDATE projects SET auto_refresh = true")
    foreign.studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Noon")
    foreign.await_that(lambda: foreign.versions() == {"scene_1": 2, "scene_2": 1})

    for _ in range(5):
        foreign.studio.sql(
            "INSERT INTO regeneration_requests (project_id, scene_id, overrides, reason)"
            " SELECT id, 'scene_2', %s::jsonb, 'too dark' FROM projects",
            json.dumps({"prompt_suffix": "in rain"}),
        )
    foreign.await_that(lambda: foreign.versions() == {"scene_1": 2, "scene_2": 2})
    foreign.await_rest()

    paid = foreign.studio.sql("SELECT submit_count FROM generations")
    assert [row["submit_count"] for row in paid] == [1, 1, 1, 1]
    shown = foreign.dagster(
        "SELECT partition, count(*) FROM event_logs WHERE asset_key = '[\"scene_start_frame\"]'"
        " AND dagster_event_type = 'ASSET_MATERIALIZATION' GROUP BY 1 ORDER BY 1"
    )
    assert [partition for partition, _ in shown] == ["film/scene_1", "film/scene_2"]
    reasons = foreign.dagster("SELECT value FROM run_tags WHERE key = 'scene_pipeline/reason'")
    assert ("somebody: too dark",) in reasons
    assert_invariants(foreign.studio)


@pytest.mark.long
def test_a_killed_run_is_ended_and_its_work_taken_up_again(foreign: Foreign) -> None:
    prompts = [f"Shot {number}" for number in range(1, 61)]
    foreign.insert(film(prompts))
    foreign.await_that(lambda: len(foreign.versions()) > 0)
    [(process,)] = foreign.dagster(
        "SELECT value FROM run_tags WHERE key = '.dagster/scene_pipeline_process'"
    )
    os.kill(int(process.split("/")[0]), signal.SIGKILL)

    foreign.await_that(lambda: len(foreign.versions()) == len(prompts))
    foreign.await_rest()

    assert len(foreign.studio.sql("SELECT 1 FROM generations")) == len(prompts)
    statuses = foreign.dagster("SELECT status FROM runs WHERE pipeline_name = 'frames' ORDER BY id")
    assert statuses[0] == ("FAILURE",)
    assert statuses[-1] == ("SUCCESS",)
    assert_invariants(foreign.studio)
