"""A command says what it works on, so that a running `up` does not begin the same at once."""

import signal
from pathlib import Path
from typing import Any

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.layout import APPLICATION_DATABASE, DAGSTER_DATABASE
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import Studio, film

ONE_AT_A_TIME = {
    "SCENE_PIPELINE_GENERATION_CONCURRENCY": "1",
    "SCENE_PIPELINE_DOWNLOAD_CONCURRENCY": "1",
    "SCENE_PIPELINE_DECODE_WORKERS": "1",
    "SCENE_PIPELINE_UPLOAD_CONCURRENCY": "1",
}


def ask(home: Path, question: str, *values: Any, database: str = APPLICATION_DATABASE) -> list[Any]:
    with embedded.attach(home) as server:
        return Studio(load_settings(home=home), server.url(database)).sql(question, *values)


def test_a_run_opens_a_launch_and_closes_it(cli: CommandLine) -> None:
    finished = cli.run(cli.write("film.json", film(["Dawn", "Dusk"], key="launched")))

    [launch] = ask(
        cli.home,
        "SELECT l.id, trigger, outcome, scene_ids FROM launches l"
        " JOIN projects p ON p.id = l.project_id WHERE p.key = 'launched'",
    )
    assert (launch["trigger"], launch["outcome"]) == ("command", "SUCCESS")
    assert launch["scene_ids"] == ["scene_1", "scene_2"]
    [tag] = ask(
        cli.home,
        "SELECT value FROM run_tags WHERE key = 'scene_pipeline/launch' AND run_id = %s",
        finished.document["run_id"],
        database=DAGSTER_DATABASE,
    )
    assert tag["value"] == str(launch["id"])


def test_a_dry_run_leaves_no_launch(cli: CommandLine) -> None:
    path = cli.write("film.json", film(["Dawn"], key="foreseen"))
    before = ask(cli.home, "SELECT count(*) AS n FROM launches")

    cli("run", path, "--dry-run")

    assert ask(cli.home, "SELECT count(*) AS n FROM launches") == before


def test_what_ctrl_c_stopped_is_not_gone_on_with_by_itself(cli: CommandLine) -> None:
    scenes = [f"Scene number {number}" for number in range(1, 13)]
    data = film(scenes, key="cancelled", generation={"image_size": "1024x1024"})
    process = cli.start("run", cli.write("film.json", data), **ONE_AT_A_TIME)
    with process:
        assert process.stdout is not None
        next(line for line in process.stdout if "generated" in line and "scene_" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    rows = ask(
        cli.home,
        "SELECT l.outcome, (SELECT count(*) FROM scenes s WHERE s.project_id = p.id"
        "   AND s.wanted_at IS NOT NULL) AS wanted"
        " FROM launches l JOIN projects p ON p.id = l.project_id WHERE p.key = 'cancelled'",
    )
    assert rows == [{"outcome": "CANCELED", "wanted": 0}]
