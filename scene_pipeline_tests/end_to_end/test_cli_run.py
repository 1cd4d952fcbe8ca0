"""`scene-pipeline run`, from a file to permanent frames and back."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine, Finished
from scene_pipeline_tests.films import film

EXAMPLE = Path(__file__).parents[2] / "examples" / "lighthouse.json"


def without_frames(document: dict[str, Any]) -> dict[str, Any]:
    """The document as it was before it had frames."""
    bare: dict[str, Any] = json.loads(json.dumps(document))
    for scene in bare["scenes"].values():
        scene.pop("scene_start_frame", None)
    return bare


def current_frames(home: Path) -> set[Path]:
    return {path for path in (home / "frames").rglob("*") if path.suffix == ".jpg"}


@pytest.fixture(scope="module")
def example_runs(
    shared_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Finished, Finished]:
    """The example's first run and its second."""
    cli = CommandLine(shared_home, tmp_path_factory.mktemp("example"))
    return cli.run(EXAMPLE), cli.run(EXAMPLE)


def test_the_example_is_made_once_and_kept_by_the_second_run(
    example_runs: tuple[Finished, Finished],
) -> None:
    first, second = example_runs

    assert (first.code, second.code) == (0, 0)
    assert first.document["totals"]["generated"] == 12
    assert set(second.statuses.values()) == {"kept"}
    assert second.document["totals"]["generated"] == 0
    assert second.document["totals"]["kept"] == 12
    assert second.document["totals"]["cost_usd"] == 0
    assert [scene["url"] for scene in second.document["scenes"]] == [
        scene["url"] for scene in first.document["scenes"]
    ]
    assert second.document["totals"]["seconds"] < first.document["totals"]["seconds"]


def test_the_json_document_has_the_promised_form(
    example_runs: tuple[Finished, Finished],
) -> None:
    first, _ = example_runs

    document = first.document
    assert list(document)[:5] == ["project", "run_id", "provider", "scenes", "totals"]
    assert list(document["totals"])[:5] == ["generated", "kept", "failed", "cost_usd", "seconds"]
    assert (document["project"], document["provider"]) == ("lighthouse", "offline")
    scene = document["scenes"][0]
    assert list(scene) == [
        "scene_id", "status", "version", "url", "storage_path", "width", "height", "seed",
        "cost_usd", "paid_by_run_id", "error",
    ]  # fmt: skip
    assert [scene["scene_id"] for scene in document["scenes"]] == [
        f"scene_{number}" for number in range(1, 13)
    ]
    assert (scene["version"], scene["width"], scene["height"]) == (1, 1024, 576)
    assert scene["url"].endswith(scene["storage_path"])
    assert scene["error"] is None
    assert first.err == ""


def test_the_updated_document_differs_in_the_start_frames_alone(
    example_runs: tuple[Finished, Finished],
) -> None:
    first, _ = example_runs

    updated = json.loads(Path(first.document["document"]).read_bytes())
    assert without_frames(updated) == json.loads(EXAMPLE.read_bytes())
    frames = {key: scene["scene_start_frame"] for key, scene in updated["scenes"].items()}
    assert frames == {scene_id: scene["url"] for scene_id, scene in first.scenes.items()}
    sheet = Path(first.document["contact_sheet"]).read_bytes()
    assert sheet.startswith(b"\x89PNG")
    page = Path(first.document["storyboard_page"]).read_text()
    assert page.startswith("<!doctype html>")
    listed = json.loads(Path(first.document["start_frames"]).read_bytes())
    assert {scene["scene_id"]: scene["url"] for scene in listed["scenes"]} == frames
    assert all(scene["is_ready"] for scene in listed["scenes"])
    for name, ending in (("storyboard_page", ".html"), ("start_frames", ".json")):
        assert first.document[f"{name}_url"].endswith(ending)


@pytest.mark.usefixtures("example_runs")
def test_people_are_told_what_is_used_what_came_of_it_and_what_to_do_next(
    cli: CommandLine,
) -> None:
    done = cli("run", "lighthouse")

    assert done.code == 0
    for words in (
        "provider  offline, model offline/landscape",
        f"storage   local files in {cli.home / 'frames'}",
        "database  PostgreSQL",
        "project $5.00, day $20.00",
        "lighthouse.frames.json",
        "lighthouse.contact-sheet.png",
        "lighthouse.storyboard.html",
        "lighthouse.start_frames.json",
        "12 kept",
        "scene-pipeline up",
    ):
        assert words in done.out
    assert "\x1b" not in done.out


def test_a_dry_run_prices_and_changes_nothing(cli: CommandLine) -> None:
    path = cli.write("dry.json", film(["One", "Two"], key="dry"))
    frames = current_frames(cli.home)

    done = cli.run(path, "--dry-run", "--provider", "fal")

    assert done.code == 0
    assert done.document["totals"] == {
        "to_generate": 2,
        "estimated_cost_usd": 0.006,
        "unknown_prices": 0,
    }
    assert {scene["reason"] for scene in done.document["scenes"]} == {"no frame yet"}
    assert done.scenes["scene_1"]["prompt"]["expanded_prompt"].startswith("One")
    assert done.document["left_usd"] == {"project": 5.0, "day": 20.0}
    projects = cli("status", "--json").document["projects"]
    assert "dry" not in {project["project"] for project in projects}
    assert current_frames(cli.home) == frames


def test_an_import_of_foreign_changes_keeps_every_frame(
    cli: CommandLine, example_runs: tuple[Finished, Finished]
) -> None:
    document = json.loads(EXAMPLE.read_bytes()) | {"music": {"cue": "M1"}}
    edited = cli.write("lighthouse.json", json.dumps(document).encode())

    imported = cli("import", edited, "--json")
    planned = cli.run("lighthouse", "--dry-run")
    exported = json.loads(cli("export", "lighthouse").out)

    assert imported.document["is_changed"]
    assert planned.document["totals"]["to_generate"] == 0
    assert exported["music"] == {"cue": "M1"}
    frames = {key: scene["scene_start_frame"] for key, scene in exported["scenes"].items()}
    assert frames == {scene_id: scene["url"] for scene_id, scene in example_runs[0].scenes.items()}


def test_an_edited_scene_is_told_as_stale_and_bought_when_asked(cli: CommandLine) -> None:
    cli.run(cli.write("edited.json", film(["One", "Two"], key="edited")))
    path = cli.write("edited.json", film(["One at night", "Two"], key="edited"))

    told = cli("run", path)
    bought = cli.run("edited", "--stale")

    assert told.code == bought.code == 0
    assert "1 stale" in told.out
    assert "run edited --stale --scene scene_1" in told.out
    assert bought.statuses == {"scene_1": "generated", "scene_2": "kept"}
    assert bought.scenes["scene_1"]["version"] == 2


def test_regenerating_one_scene_leaves_the_others_alone(cli: CommandLine) -> None:
    cli.run(cli.write("anew.json", film(["One", "Two", "Three"], key="anew")))

    planned = cli.run("anew", "--regenerate", "--dry-run")  # of all scenes, and asks for none
    done = cli.run("anew", "--regenerate", "--scene", "scene_2")
    versions = cli("versions", "anew", "scene_2", "--json").document["versions"]

    assert {scene["action"] for scene in planned.document["scenes"]} == {"generate"}
    assert done.statuses == {"scene_2": "generated"}
    assert done.scenes["scene_2"]["version"] == 2
    assert [(version["version"], version["is_current"]) for version in versions] == [
        (2, True),
        (1, False),
    ]
    assert cli.run("anew", "--dry-run").document["totals"]["to_generate"] == 0


def test_a_bad_scene_is_set_aside_and_the_others_are_made(cli: CommandLine) -> None:
    document = json.loads(film(["One", "Two"], key="aside"))
    document["scenes"]["scene_2"]["scene_frame_prompt"] = "   "
    document["scenes"]["\u0007"] = {"scene_frame_prompt": "An id that no key can hold"}
    path = cli.write("aside.json", json.dumps(document).encode())

    told = cli("import", path)
    done = cli.run("aside")

    assert told.code == done.code == 1
    assert "prompt_empty" in told.out
    assert "\u0007" not in told.out
    assert done.scenes["scene_1"]["status"] == "generated"
    assert done.scenes["scene_2"]["error"]["code"] == "prompt_empty"
    assert [problem["code"] for problem in done.document["problems"]].count("bad_scene_id") == 1


def test_a_cap_blocks_what_it_does_not_cover_and_nothing_is_paid_twice(
    cli: CommandLine, tmp_path: Path
) -> None:
    with FalStandIn(tmp_path / "fal", hang_seconds=5.0) as fal:
        cli.variables = {
            "FAL_KEY": fal.key,
            "SCENE_PIPELINE_EGRESS_PROXY": fal.proxy_url,
            "SSL_CERT_FILE": str(fal.ca_file),
        }
        path = cli.write("paid.json", film(["One", "Two", "Three"], key="paid"))
        capped = cli.run(path, "--max-cost", "0.006")
        rest = cli.run("paid")
        paid = len(fal.meter.accepted)

    assert capped.code == 1
    assert capped.document["provider"] == "fal"
    assert sorted(capped.statuses.values()) == ["blocked", "generated", "generated"]
    blocked = next(s for s in capped.document["scenes"] if s["status"] == "blocked")
    assert "--max-cost" in blocked["error"]["next_action"]
    assert capped.document["totals"]["cost_usd"] == pytest.approx(0.006)
    assert rest.code == 0
    assert paid == 3


def interrupt_after_first_frame(cli: CommandLine, path: Path) -> Finished:
    """Ctrl-C as soon as one scene is through and others are not."""
    slow = {
        "SCENE_PIPELINE_GENERATION_CONCURRENCY": "1",
        "SCENE_PIPELINE_DOWNLOAD_CONCURRENCY": "1",
        "SCENE_PIPELINE_DECODE_WORKERS": "1",
        "SCENE_PIPELINE_UPLOAD_CONCURRENCY": "1",
    }
    process = cli.start("run", path, **slow)
    with process:
        assert process.stdout is not None
        seen = next(line for line in process.stdout if "generated" in line and "scene_" in line)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return Finished(process.returncode, seen + out, err)


def test_ctrl_c_is_one_sentence_and_the_next_run_goes_on(cli: CommandLine) -> None:
    scenes = [f"Scene number {number}" for number in range(1, 13)]
    data = film(scenes, key="interrupted", generation={"image_size": "1024x1024"})
    path = cli.write("interrupted.json", data)

    stopped = interrupt_after_first_frame(cli, path)
    resumed = cli.run("interrupted")

    assert stopped.code == 130
    assert stopped.err.startswith("error [interrupted]: ")
    assert stopped.err.count("\n") == 1
    assert f"run {path}" in stopped.err  # the same words are the same request
    assert resumed.code == 0
    assert set(resumed.statuses.values()) == {"generated", "kept"}
    assert {scene["version"] for scene in resumed.document["scenes"]} == {1}
