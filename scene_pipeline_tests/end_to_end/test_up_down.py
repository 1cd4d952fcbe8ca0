"""`up` and `down`: everything starts, answers, and is gone afterwards, however it ends."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.servers import STOP_SECONDS, free_ports, processes_of, up
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.postgres import passable_directory
from scene_pipeline_tests.waiting import wait_until


@pytest.fixture
def home() -> Iterator[Path]:
    """A data directory of the test's own."""
    with passable_directory() as directory:
        yield directory / "home"


@pytest.fixture
def cli(home: Path, tmp_path: Path) -> CommandLine:
    """The console script on that directory, on free ports."""
    return CommandLine(home, tmp_path, free_ports())


def fetch(url: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, parts.path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_up_serves_while_runs_go_on_and_down_stops_all_of_it(cli: CommandLine) -> None:
    path = cli.write("film.json", film(["One", "Two"], key="film"))
    before = cli.run(path)
    with up(cli) as running:
        again = cli("up", "--json")
        during = cli.run(cli.write("other.json", film(["Three"], key="other")))
        told = cli("status")
        answers = [
            fetch(scene["url"])
            for scene in [*before.document["scenes"], *during.document["scenes"]]
        ]
        page, _ = fetch(running.addresses["dagster_url"])
        runs = _dagster_runs(running.addresses["dagster_url"])

        down = cli("down")

        assert running.process.wait(STOP_SECONDS) == 0
        assert (again.code, again.document["pid"]) == (0, running.process.pid)
        assert again.document["was_running"]
        assert (before.code, during.code) == (0, 0)
        assert running.addresses["dagster_url"] in told.out
        for answer, body in answers:
            assert answer.status == 200
            assert answer.getheader("Content-Type") == "image/jpeg"
            assert answer.getheader("X-Content-Type-Options") == "nosniff"
            assert "immutable" in (answer.getheader("Cache-Control") or "")
            assert hashlib.sha256(body).hexdigest()[:16] in (answer.getheader("ETag") or "")
        assert page.status == 200
        assert {before.document["run_id"], during.document["run_id"]} <= runs
        assert (down.code, down.out) == (0, "Everything is stopped.\n")
        wait_until(lambda: not processes_of(cli.home), 5.0)
    nothing = cli("down", "--json")
    assert (nothing.code, nothing.document) == (0, {"was_up": False})


def test_a_dead_part_is_told_and_ends_the_rest(cli: CommandLine) -> None:
    with up(cli) as running:
        server = next(
            pid for pid, told in processes_of(cli.home).items() if "scene_pipeline.api" in told
        )
        os.kill(server, signal.SIGKILL)

        out, err = running.process.communicate(timeout=STOP_SECONDS)

        assert running.process.returncode == 1
        assert err.startswith("error [part_died]: The frame server ended by itself")
        assert err.count("\n") == 1
        assert out == ""  # the one JSON document was printed before
        wait_until(lambda: not processes_of(cli.home), 5.0)


def test_nothing_outlives_an_up_that_was_killed(cli: CommandLine) -> None:
    with up(cli) as running:
        running.process.kill()

        # Dagster's code server notices by its heartbeat, after 45 s at the latest.
        wait_until(lambda: not processes_of(cli.home), 3 * STOP_SECONDS)
        assert cli("down").out == "Nothing is up.\n"


def test_ctrl_c_while_it_starts_stops_it_at_once(cli: CommandLine) -> None:
    record = cli.home / "up.json"
    process = cli.start("up")
    try:
        wait_until(record.exists)
        wait_until(lambda: len(processes_of(cli.home)) > 2)  # the database, a server
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=STOP_SECONDS)
    finally:
        process.kill()

    assert (process.returncode, err) == (0, "")
    assert out.endswith("Everything is stopped.\n")
    wait_until(lambda: not processes_of(cli.home), 5.0)


def _dagster_runs(url: str) -> set[str]:
    """Ids of the runs that Dagster's web interface lists."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=20)
    query = "{ runsOrError { ... on Runs { results { runId } } } }"
    try:
        connection.request(
            "POST", "/graphql", json.dumps({"query": query}), {"Content-Type": "application/json"}
        )
        told = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return {run["runId"] for run in told["data"]["runsOrError"]["results"]}
