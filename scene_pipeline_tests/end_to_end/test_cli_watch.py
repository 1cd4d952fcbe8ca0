"""`scene-pipeline watch` as a person or a program follows it, loses its database, and ends it."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.layout import APPLICATION_DATABASE
from scene_pipeline_tests.end_to_end.command_line import PROGRAM, CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.postgres import is_supervised, passable_directory
from scene_pipeline_tests.waiting import wait_until

PATIENCE_SECONDS = 60.0


class Watching:
    """A `watch` that is under way, with everything that it has written so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        lines.extend(line.rstrip("\n") for line in stream)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.out)]

    def has(self, kind: str, number: int = 1) -> bool:
        return [event["kind"] for event in self.events].count(kind) >= number

    def end(self) -> int:
        """Press Ctrl-C and wait; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        self.close()
        return code

    def close(self) -> None:
        """Take in what is left."""
        for reader in self._readers:
            reader.join(timeout=PATIENCE_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def watching(cli: CommandLine, *arguments: str) -> Iterator[Watching]:
    process = cli.start("watch", *arguments)
    watch = Watching(process)
    try:
        wait_until(lambda: bool(watch.out) or process.poll() is not None, PATIENCE_SECONDS)
        yield watch
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
            watch.close()


def test_a_program_gets_one_object_a_line_from_the_import_to_the_document(
    cli: CommandLine,
) -> None:
    cli.write("seen.json", film(["A lighthouse"], key="seen"))
    cli.write("other.json", film(["A harbour"], key="other"))
    cli("import", "seen.json")
    cli("import", "other.json")
    with watching(cli, "seen", "--json") as watch:
        cli.run("other.json")
        cli.run("seen.json")
        wait_until(lambda: watch.has("frame_published"), PATIENCE_SECONDS)
        code = watch.end()

    begin, *events = watch.events
    assert (code, watch.err) == (130, [])
    assert (begin["kind"], begin["project"], begin["under_way"]) == ("watching", "seen", [])
    assert {event["project"] for event in events} == {"seen"}
    kinds = [event["kind"] for event in events]
    assert kinds == [
        "generation_started",
        "generation_complete",
        "version_recorded",
        "frame_published",
    ]
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids))
    assert min(ids) > begin["after"]
    resumed = ids[1]
    with watching(cli, "seen", "--json", "--since", str(resumed)) as again:
        wait_until(lambda: again.has("frame_published"), PATIENCE_SECONDS)
        again.end()
    assert [event["id"] for event in again.events[1:]] == ids[2:]


def test_a_person_reads_what_happened_and_what_failed(cli: CommandLine) -> None:
    prompts = {"scene_1": "A lighthouse", "scene_2": "A harbour"}
    cli.write("read.json", film(prompts, key="read"))
    cli.run("read.json")

    with watching(cli, "read", "--since", "0") as watch:
        wait_until(lambda: sum("published" in one for one in watch.out) == 2, PATIENCE_SECONDS)
        code = watch.end()

    assert code == 130
    assert watch.out[0] == "Watching read after event 0; Ctrl-C ends it, and stops nothing."
    text = "\n".join(watch.out)
    assert "read  imported, revision 1" in text
    assert "read/scene_1  asking offline for a picture" in text
    assert "read/scene_2  version 1 stored, now current" in text
    assert watch.err == []


def test_a_reader_that_has_seen_enough_ends_it_quietly(cli: CommandLine) -> None:
    cli.write("head.json", film(["A lighthouse"], key="head"))
    cli.run("head.json")

    done = subprocess.run(
        ["sh", "-c", '"$0" watch head --since 0 | head -n 2', PROGRAM],
        cwd=cli.directory,
        env=cli.environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )

    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_it_ends_with_its_reader_also_while_the_database_is_away(tmp_path: Path) -> None:
    with passable_directory() as directory:
        server = CommandLine(directory / "server", tmp_path)
        assert server("status").code == 0  # makes the schema
        with embedded.attach(server.home) as running:
            url = running.url(APPLICATION_DATABASE)
            cli = CommandLine(directory / "home", tmp_path, {"DATABASE_URL": url})
            process = cli.start("watch")
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith("Watching all projects")
        try:
            assert process.stderr.readline().startswith("The database stopped answering")
            process.stdout.close()

            code = process.wait(timeout=PATIENCE_SECONDS)
            told = process.stderr.read()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stderr.close()
        wait_until(lambda: not is_supervised(server.home), PATIENCE_SECONDS)

    assert (code, told) == (1, "")


def test_it_ends_with_its_reader_although_nothing_happens_any_more(cli: CommandLine) -> None:
    """`watch | head` outlived `head`, if that had gone by the time that the last line was out."""
    cli.write("quiet.json", film(["A lighthouse"], key="quiet"))
    cli.run("quiet.json")
    process = cli.start("watch", "quiet", "--since", "0")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        for line in process.stdout:
            if "published" in line:
                break
        process.stdout.close()

        code = process.wait(timeout=PATIENCE_SECONDS)
        told = process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()

    assert (code, told) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "code"), [(("nobody",), "project_unknown"), (("--since", "-1"), "usage")]
)
def test_what_cannot_be_watched_is_told_at_once(
    cli: CommandLine, arguments: tuple[str, ...], code: str
) -> None:
    told = cli("watch", *arguments, "--json")

    [line] = told.out.splitlines()
    assert json.loads(line)["error"]["code"] == code
    assert told.code != 0


def test_a_database_that_restarts_is_told_once_and_nothing_is_missed(tmp_path: Path) -> None:
    with passable_directory() as directory:
        cli = CommandLine(directory / "home", tmp_path)
        cli.write("film.json", film(["A lighthouse"]))
        cli("import", "film.json")
        with embedded.attach(cli.home), watching(cli, "--json") as watch:
            postmaster = cli.home / "postgres" / "data" / "postmaster.pid"
            os.kill(int(postmaster.read_text().split("\n")[0]), signal.SIGKILL)
            wait_until(lambda: bool(watch.err), PATIENCE_SECONDS)
            assert cli.run("film.json").code == 0
            wait_until(lambda: watch.has("frame_published"), PATIENCE_SECONDS)
            code = watch.end()
        wait_until(lambda: not is_supervised(cli.home), PATIENCE_SECONDS)

    assert code == 130
    assert watch.err == [
        "The database stopped answering; nothing is missed, trying again ...",
        "The database answers again.",
    ]
    ids = [event["id"] for event in watch.events[1:]]
    assert len(ids) == len(set(ids)) == 4
