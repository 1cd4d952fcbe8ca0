"""Reference pictures as a person works with them: added, named, replaced, and told of."""

import json
import subprocess
import sys
from pathlib import Path

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.reference_films import picture_site
from scene_pipeline_tests.standins.pictures import scene_file

OFFLINE = {"SCENE_PIPELINE_PROVIDER": "offline"}
EXAMPLE = Path(__file__).parents[2] / "examples" / "ferry"


def test_the_example_with_pictures_has_all_it_needs(cli: CommandLine, database_url: str) -> None:
    cli.variables = {"DATABASE_URL": database_url, **OFFLINE}

    subprocess.run(
        [sys.executable, EXAMPLE / "add_pictures.py"],
        cwd=cli.directory,
        env=cli.environment(),
        check=True,
        timeout=60,
    )
    imported = cli("import", cli.directory / "ferry.json")
    plan = cli("plan", "ferry", "--json")

    assert imported.code == 0, imported.err
    assert {name: scene["error"] for name, scene in plan.scenes.items()} == dict.fromkeys(
        ("quay", "bridge", "crossing", "gulls")
    )


def test_a_replaced_picture_makes_exactly_its_scenes_anew(
    cli: CommandLine, database_url: str
) -> None:
    cli.variables = {"DATABASE_URL": database_url, **OFFLINE}
    added = [
        cli("assets", "add", cli.write(name, scene_file("PNG", seed=seed)), "--json").document
        for seed, name in enumerate(("hero.png", "harbour.png", "lamp.png"), start=1)
    ]
    hero, harbour, lamp = (f"asset:{one['assets'][0]['asset_id']}" for one in added)
    document = json.loads(
        film(["The hero", "The harbour", "The hero at night", "A sea"], key="ref")
    )
    for scene_id, named in {
        "scene_1": [hero, harbour],
        "scene_2": [harbour, lamp],
        "scene_3": [{"asset": hero.removeprefix("asset:")}],
    }.items():
        document["scenes"][scene_id]["references"] = named
    file = cli.write("ref.json", json.dumps(document).encode())
    assert cli.run(file, "--scene", "scene_1", "--scene", "scene_2").code == 0

    other = cli.write("hero.png", scene_file("PNG", seed=9))
    replaced = cli("assets", "add", other, "--replace", hero.removeprefix("asset:"))
    plan, status = cli("plan", "ref", "--json"), cli("status", "ref")
    run = cli.run("ref")
    again = cli.run("ref", "--stale")

    assert (replaced.code, plan.code) == (0, 0), replaced.err
    assert "the document of ref (scene_1, scene_3)" in replaced.out
    assert "run ref --stale" in replaced.out
    cause = f"reference {hero} (hero.png) was replaced"
    assert {scene_id: scene["state"] for scene_id, scene in plan.scenes.items()} == {
        "scene_1": "stale",
        "scene_2": "current",
        "scene_3": "missing",
        "scene_4": "missing",
    }
    assert plan.scenes["scene_1"]["edits"] == [{"cause": cause, "diff": None}]
    assert plan.scenes["scene_1"]["by_itself"]["reason"] == f"edited since: {cause}"
    assert hero in status.out
    assert run.statuses == {
        "scene_1": "stale",
        "scene_2": "kept",
        "scene_3": "generated",
        "scene_4": "generated",
    }
    assert again.statuses == {
        "scene_1": "generated",
        "scene_2": "kept",
        "scene_3": "kept",
        "scene_4": "kept",
    }


def test_a_picture_that_is_not_there_is_told_by_plan_and_run(
    cli: CommandLine, database_url: str
) -> None:
    cli.variables = {"DATABASE_URL": database_url, **OFFLINE}
    missing = f"asset:ast_{'0' * 26}"
    file = cli.write("gone.json", film(["The hero"], key="gone", references=[missing]))
    assert cli("import", file).code == 0

    plan, words, run = cli("plan", "gone", "--json"), cli("plan", "gone"), cli.run("gone")

    [told] = plan.scenes.values()
    assert told["error"]["code"] == "reference_missing"
    assert plan.document["totals"]["estimated_cost_usd"] == 0
    assert "nothing: blocked" in words.out
    assert (run.code, run.statuses) == (1, {"scene_1": "blocked"})
    error = run.scenes["scene_1"]["error"]
    assert error["code"] == "reference_missing"
    assert missing in error["message"]
    assert "assets add" in error["next_action"]


def test_a_dry_run_asks_about_pictures_as_plan_does(cli: CommandLine, database_url: str) -> None:
    """The picture goes after the document was looked at, and nothing was run since."""
    with picture_site() as site:
        cli.variables = {
            "DATABASE_URL": database_url,
            **OFFLINE,
            "ASSET_HOST_ALLOWLIST": site.host,
            "SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS": site.host,
            "SCENE_PIPELINE_REFERENCE_CHECK_SECONDS": "0",
        }
        picture = site.put("/hero.png", scene_file("PNG"))
        file = cli.write("dry.json", film(["The hero"], key="looked-at", references=[picture]))
        assert cli("import", file).code == 0
        before = cli("run", "looked-at", "--dry-run", "--json")
        site.files.clear()
        dry = cli("run", "looked-at", "--dry-run", "--json")
        words = cli("run", "looked-at", "--dry-run")
        plan = cli("plan", "looked-at", "--json")

    assert (before.code, before.scenes["scene_1"]["action"]) == (0, "generate")
    assert (dry.code, words.code) == (1, 1)
    assert dry.scenes["scene_1"]["action"] == "blocked"
    assert plan.scenes["scene_1"]["by_itself"]["action"] == "blocked"
    assert dry.scenes["scene_1"]["error"] == plan.scenes["scene_1"]["error"]
    assert dry.scenes["scene_1"]["error"]["code"] == "reference_missing"
    assert "1 scene: 1 blocked" in words.out
