"""`scene-pipeline drill` as a person calls it, interrupts it, or loses it to a kill."""

import json
import signal
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.database.session import database_urls
from scene_pipeline.drill.scenarios import NAMES
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.waiting import wait_until


def scratch_states(home: Path) -> list[tuple[str, str | None]]:
    """Every scratch project that is there, with the states of its generations."""
    with (
        database_urls(load_settings(home=home)) as urls,
        psycopg.connect(urls.application) as conn,
    ):
        return conn.execute(
            "SELECT p.key, g.state FROM projects p LEFT JOIN generations g ON g.project_id = p.id"
            " WHERE p.is_scratch"
        ).fetchall()


def frames(home: Path, project_id: str = "") -> list[Path]:
    return [p for p in (home / "frames" / "projects" / project_id).rglob("*") if p.is_file()]


@pytest.fixture
def drilled(cli: CommandLine) -> CommandLine:
    """A command line whose database has been used before."""
    assert cli("drill", "--clean").code == 0
    return cli


def test_a_drill_tells_what_held_and_leaves_nothing(drilled: CommandLine) -> None:
    before = frames(drilled.home)

    told = drilled("drill", "--provider-faults", "drop_after_submit,black_frame")

    assert told.code == 0, told.err
    lines = told.out.splitlines()
    assert sum(line.startswith("held  ") for line in lines) == 7
    assert any("promise" in line and "fault" in line for line in lines)
    assert "7 of 7 promises held" in told.out
    assert scratch_states(drilled.home) == []
    assert frames(drilled.home) == before


def test_a_fault_that_does_not_exist_is_bad_input(cli: CommandLine) -> None:
    refused = cli("drill", "--provider-faults", "nope", "--json")

    assert refused.code == 2
    assert refused.document["error"]["code"] == "fault_unknown"
    assert all(name in refused.document["error"]["next_action"] for name in NAMES)


def test_what_a_killed_drill_leaves_is_removed_by_cleaning(drilled: CommandLine) -> None:
    before = frames(drilled.home)
    killed = drilled(
        "drill",
        "--provider-faults",
        "rate_limited",
        env={"SCENE_PIPELINE_FAILPOINT": "after_stored:kill"},
    )
    left = scratch_states(drilled.home)
    left_frames = set(frames(drilled.home)) - set(before)

    cleaned = drilled("drill", "--clean", "--json")

    assert killed.code == -signal.SIGKILL
    ((key, _), *_) = left
    assert left_frames
    removed = cleaned.document["removed"]
    assert [entry["project"] for entry in removed] == [key]
    assert removed[0]["objects"] == len(left_frames)
    assert scratch_states(drilled.home) == []
    assert frames(drilled.home) == before


def test_an_interrupted_drill_removes_what_it_made(drilled: CommandLine) -> None:
    before = frames(drilled.home)
    drill = drilled.start("drill", "--json")
    wait_until(lambda: any(state == "published" for _, state in scratch_states(drilled.home)), 60.0)

    drill.send_signal(signal.SIGINT)
    out, err = drill.communicate(timeout=60)

    assert drill.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert scratch_states(drilled.home) == []
    assert frames(drilled.home) == before


def test_a_kept_drill_can_be_looked_at(drilled: CommandLine) -> None:
    kept = drilled("drill", "--provider-faults", "content_policy", "--keep", "--json")
    report = json.loads(kept.out)

    looked = drilled("status", report["project"], "--json")
    drilled("drill", "--clean")
    gone = drilled("status", report["project"])

    assert kept.code == 0, kept.err
    assert report["is_held"] is True
    assert report["removed"] is None
    assert {scene["scene_id"] for scene in looked.document["scenes"]} == {"sound", "content_policy"}
    assert gone.code == 2
