"""A film of twelve scenes lives through a week under `up`; every payment of it is accounted for.

The run book `docs/operating.md` is this week in words, step by step. A foreign product edits the
document and asks for pictures by plain SQL; an image service bills on loopback; an S3 server breaks
and is mended.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_api import launch_backfill
from scene_pipeline_tests.end_to_end.servers import free_ports, processes_of, up
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.standins.faulty_s3 import FaultyS3, Refusal, running_faulty_s3
from scene_pipeline_tests.standins.postgres import PostgresServer, passable_directory
from scene_pipeline_tests.waiting import wait_until

SCENES = [f"scene_{number}" for number in range(1, 13)]
PATIENCE_SECONDS = 180.0
"""Far above what any step takes, for a busy machine."""


@dataclass
class Week:
    """The film, the command line and everything that can be looked at."""

    cli: CommandLine
    fal: FalStandIn
    s3: FaultyS3
    studio: Studio
    inbox: Path
    paid: int = 0
    """How many requests ought to have been paid by now."""
    steps: list[str] = field(default_factory=list)

    def scenes(self) -> dict[str, dict[str, Any]]:
        told = self.cli("status", "film", "--json")
        return {scene["scene_id"]: scene for scene in told.document["scenes"]}

    def version(self, scene_id: str) -> int | None:
        [row] = self.studio.sql(
            "SELECT version FROM scene_status WHERE scene_id = %s", scene_id
        ) or [{"version": None}]
        version: int | None = row["version"]
        return version

    def state(self, scene_id: str) -> str | None:
        rows = self.studio.sql("SELECT state FROM scene_status WHERE scene_id = %s", scene_id)
        return str(rows[0]["state"]) if rows else None

    def url(self, scene_id: str) -> str | None:
        return self.studio.start_frame(scene_id)

    def edit(self, scene_id: str, prompt: str) -> None:
        """Change a scene's words as the team's own product would."""
        self.studio.edit(["scenes", scene_id, "scene_frame_prompt"], prompt)

    def expect_payments(self, number: int, after: str) -> None:
        """So many more requests were paid, and not one besides."""
        self.paid += number
        wait_until(lambda: len(self.fal.meter.accepted) >= self.paid, PATIENCE_SECONDS)
        self.wait_for_quiet()
        assert len(self.fal.meter.accepted) == self.paid, after
        self.steps.append(after)

    def wait_for_quiet(self) -> None:
        """Nothing is open, launched or asked for any more."""
        wait_until(
            lambda: (
                not self.studio.sql(
                    "SELECT 1 FROM generations"
                    " WHERE state NOT IN ('published', 'superseded', 'failed', 'abandoned')"
                    " UNION ALL SELECT 1 FROM launches WHERE closed_at IS NULL"
                    " UNION ALL SELECT 1 FROM regeneration_requests"
                    " WHERE state IN ('pending', 'claimed')"
                    " UNION ALL SELECT 1 FROM projects WHERE revision > planned_revision"
                )
            ),
            PATIENCE_SECONDS,
        )


@pytest.fixture
def week(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Week]:
    """An empty installation: PostgreSQL, S3, an image service, and an inbox."""
    name = postgres_server.create()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with (
        passable_directory() as directory,
        FalStandIn(tmp_path / "fal", run_seconds=0.3) as fal,
        running_faulty_s3() as s3,
    ):
        variables = {
            **free_ports(),
            **fal.environment,
            "DATABASE_URL": postgres_server.url(name),
            "S3_BUCKET": "frames",
            "S3_ENDPOINT_URL": s3.url,
            "S3_ACCESS_KEY_ID": "key",
            "S3_SECRET_ACCESS_KEY": "secret",
            "SCENE_PIPELINE_INBOX": str(inbox),
            "SCENE_PIPELINE_AUTO_REFRESH_QUIET_SECONDS": "3",
            "SCENE_PIPELINE_AMBIGUOUS_SETTLE_SECONDS": "15",
        }
        cli = CommandLine(directory / "home", tmp_path, variables)
        settings = load_settings(home=directory / "home")
        yield Week(cli, fal, s3, Studio(settings, postgres_server.url(name)), inbox)
    postgres_server.drop(name)


@pytest.mark.long
def test_a_film_lives_through_a_week_without_a_wrong_payment(week: Week) -> None:
    with up(week.cli):
        monday_the_film_arrives(week)
        tuesday_three_edits(week)
        wednesday_two_wishes_and_a_change_of_mind(week)
        thursday_a_lock_and_a_scene_that_comes_back(week)
        friday_the_store_is_down(week)
        friday_a_scene_fails(week)
        saturday_begins(week)
        saturday_the_daemon_is_killed(week)
    with up(week.cli):
        saturday_ends(week)
        sunday_everything_again(week)
    accounts(week)


def monday_the_film_arrives(week: Week) -> None:
    (week.inbox / "broken.json").write_bytes(b'{"scenes": {"a": {"scene_frame_prompt": 7},}}')
    document = film({s: f"A lighthouse, view of {s}" for s in SCENES}, key="film")
    (week.inbox / "film.json").write_bytes(document)

    wait_until(
        lambda: all(week.url(s) for s in SCENES) if _known(week) else False, PATIENCE_SECONDS
    )
    week.expect_payments(12, "import through the inbox")

    updated = week.inbox / "film.frames.json"
    wait_until(
        lambda: (
            updated.exists()
            and all(
                scene.get("scene_start_frame")
                for scene in json.loads(updated.read_text())["scenes"].values()
            )
        ),
        PATIENCE_SECONDS,
    )
    assert (week.inbox / "film.json").read_bytes() == document
    told = week.studio.sql(
        "SELECT code, message FROM alerts WHERE message LIKE %s", "%broken.json%"
    )
    assert len(told) == 1


def _known(week: Week) -> bool:
    return bool(week.studio.sql("SELECT 1 FROM pg_class WHERE relname = 'projects'")) and bool(
        week.studio.sql("SELECT 1 FROM projects WHERE key = 'film'")
    )


def tuesday_three_edits(week: Week) -> None:
    before = {s: week.url(s) for s in SCENES[:3]}
    for scene_id in SCENES[:3]:
        week.edit(scene_id, f"A lighthouse in fog, view of {scene_id}")
    wait_until(lambda: [week.state(s) for s in SCENES[:3]] == ["stale"] * 3, PATIENCE_SECONDS)
    week.expect_payments(0, "edits are told as stale, not bought")
    plan = week.cli("plan", "film").out
    assert "fog" in plan

    assert week.cli("project", "film", "--auto-refresh", "on").code == 0
    wait_until(lambda: [week.version(s) for s in SCENES[:3]] == [2, 2, 2], PATIENCE_SECONDS)
    week.expect_payments(3, "auto_refresh, after the quiet period")
    assert week.cli("project", "film", "--auto-refresh", "off").code == 0

    week.edit("scene_3", "A lighthouse, view of scene_3")
    wait_until(lambda: week.url("scene_3") == before["scene_3"], PATIENCE_SECONDS)
    week.expect_payments(0, "a reverted scene has its old frame again")


def wednesday_two_wishes_and_a_change_of_mind(week: Week) -> None:
    asked = week.cli(
        "regenerate", "film", "scene_4", "--prompt-suffix", "at dusk", "--seed", "7",
        "--candidates", "2", "--reason", "the client wants dusk", "--json",
    )  # fmt: skip
    assert asked.code == 0, asked.err
    wait_until(lambda: week.version("scene_4") in (2, 3), PATIENCE_SECONDS)
    for _ in range(5):
        week.studio.sql(
            "INSERT INTO regeneration_requests (project_id, scene_id, overrides, requested_by)"
            " SELECT id, 'scene_5', '{\"prompt\": \"A harbour instead\"}', 'the product'"
            " FROM projects WHERE key = 'film'"
        )
    wait_until(lambda: week.version("scene_5") == 2, PATIENCE_SECONDS)
    week.expect_payments(2, "two regenerations with overrides")
    [versions] = week.studio.sql("SELECT count(*) FROM scene_images WHERE scene_id = 'scene_4'")
    assert versions["count"] == 3

    first = week.studio.sql(
        "SELECT storage_url FROM scene_images WHERE scene_id = 'scene_5' AND version = 1"
    )[0]["storage_url"]
    promoted = week.cli("promote", "film", "scene_5", "1")
    assert promoted.code == 0, promoted.err
    assert week.url("scene_5") == first
    week.expect_payments(0, "an old version promoted")


def thursday_a_lock_and_a_scene_that_comes_back(week: Week) -> None:
    assert week.cli("lock", "film", "scene_6").code == 0
    week.edit("scene_6", "Something quite different")
    refused = week.cli("regenerate", "film", "scene_6", "--json")
    assert refused.code == 2
    url = week.url("scene_7")
    [row] = week.studio.sql("SELECT master_json -> 'scenes' -> 'scene_7' AS scene FROM projects")
    week.studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_7}'")
    wait_until(lambda: week.state("scene_7") is None, PATIENCE_SECONDS)
    del row["scene"]["scene_start_frame"]
    week.edit("scene_7", "")  # no such scene: nothing happens
    week.studio.edit(["scenes", "scene_7"], row["scene"])
    wait_until(lambda: week.url("scene_7") == url, PATIENCE_SECONDS)
    week.expect_payments(0, "a lock that held, a scene removed and added again")
    assert week.version("scene_6") == 1


def friday_the_store_is_down(week: Week) -> None:
    week.s3.refusal = Refusal(503, "SlowDown")
    assert week.cli("regenerate", "film", "scene_8").code == 0
    wait_until(lambda: week.state("scene_8") == "external", PATIENCE_SECONDS)
    assert "fal.media" in (week.url("scene_8") or "")
    week.s3.refusal = None
    wait_until(lambda: week.state("scene_8") == "current", PATIENCE_SECONDS)
    wait_until(lambda: (week.url("scene_8") or "").startswith(week.s3.url), PATIENCE_SECONDS)
    week.expect_payments(1, "an outage of the store, healed")
    assert week.version("scene_8") == 2


def friday_a_scene_fails(week: Week) -> None:
    week.edit("scene_9", "A lighthouse in a storm [[fault:content_policy*1]]")
    wait_until(lambda: week.state("scene_9") == "stale", PATIENCE_SECONDS)
    assert week.cli("regenerate", "film", "--stale").code == 0
    wait_until(lambda: bool(week.studio.sql(
        "SELECT 1 FROM alerts WHERE scene_id = 'scene_9' AND settled_at IS NOT NULL"
    )), PATIENCE_SECONDS)  # fmt: skip
    week.wait_for_quiet()
    assert week.cli("regenerate", "film", "scene_9").code == 0
    wait_until(lambda: week.version("scene_9") == 2, PATIENCE_SECONDS)
    week.expect_payments(2, "a scene that failed and was asked for again")


def saturday_begins(week: Week) -> None:
    week.fal.jobs.run_seconds = 6.0  # long enough to be caught at work
    assert week.cli("regenerate", "film", "scene_10", "scene_11").code == 0
    paid = len(week.fal.meter.accepted)
    wait_until(lambda: len(week.fal.meter.accepted) >= paid + 2, PATIENCE_SECONDS)


def saturday_the_daemon_is_killed(week: Week) -> None:
    for pid in processes_of(week.cli.home):
        with suppress(FileNotFoundError, ProcessLookupError):  # it went with its parent
            told = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            if b"dagster._daemon" in told or b"multiprocessing.spawn" in told:
                os.kill(pid, signal.SIGKILL)


def saturday_ends(week: Week) -> None:
    week.fal.jobs.run_seconds = 0.3
    wait_until(
        lambda: [week.version(s) for s in ("scene_10", "scene_11")] == [2, 2], PATIENCE_SECONDS
    )
    week.expect_payments(2, "a killed daemon and run")


def sunday_everything_again(week: Week) -> None:
    before = {s: week.version(s) for s in SCENES}
    launch_backfill(week.cli, [f"film/{scene_id}" for scene_id in SCENES])
    changed = [s for s in SCENES if s != "scene_6"]
    wait_until(
        lambda: all((week.version(s) or 0) > (before[s] or 0) for s in changed), PATIENCE_SECONDS
    )
    week.expect_payments(len(changed), "a backfill of everything but what is locked")
    assert week.version("scene_6") == before["scene_6"]


def accounts(week: Week) -> None:
    """What was paid is what was asked for, and every promise of the rows holds."""
    assert_invariants(week.studio)
    [row] = week.studio.sql("SELECT count(*) AS paid FROM generations WHERE submit_count > 0")
    assert row["paid"] == len(week.fal.meter.accepted) == week.paid
