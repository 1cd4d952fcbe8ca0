"""`heal` and `reconcile` as a person calls them: words, documents, exit codes."""

import json
import shutil
from pathlib import Path

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film

PROMPTS = ["A lighthouse at dawn", "A storm at sea"]


@pytest.fixture
def shop(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """Commands whose frames go to a store of the test's own."""
    cli.variables["SCENE_PIPELINE_STORAGE"] = (tmp_path / "store").as_uri()
    return cli


def test_nothing_to_heal_and_nothing_to_reconcile(shop: CommandLine) -> None:
    shop.run(shop.write("calm.json", film(PROMPTS, key="calm")))

    healed = shop("heal", "calm")
    compared = shop("reconcile", "calm", "--json")

    assert (healed.code, compared.code) == (0, 0), healed.err + compared.err
    assert "nothing is to be healed" in healed.out
    assert compared.document["versions_checked"] == 2
    assert compared.document["drifts"] == []


def test_drift_is_shown_first_and_repaired_when_asked(shop: CommandLine, tmp_path: Path) -> None:
    shop.run(shop.write("lost.json", film(PROMPTS, key="drifted")))
    shutil.rmtree(tmp_path / "store" / "projects")

    shown = shop("reconcile", "drifted")
    repaired = shop("reconcile", "drifted", "--apply", "--json")
    again = shop("reconcile", "drifted")

    assert (shown.code, repaired.code, again.code) == (1, 0, 0)
    assert "[object_gone]" in shown.out
    assert "reconcile drifted --apply" in shown.out
    assert {drift["status"] for drift in repaired.document["drifts"]} == {"repaired"}
    assert "no drift" in again.out


@pytest.mark.long
def test_frames_made_during_an_outage_are_healed(shop: CommandLine, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with FalStandIn(tmp_path / "fal") as fal:
        shop.variables |= fal.environment
        # The store works when the run begins and fails while frames are made.
        fal.jobs.run_seconds = 3.0
        running = shop.start("run", shop.write("out.json", film(PROMPTS, key="out")), "--json")
        while not fal.meter.accepted:
            assert running.poll() is None
        store.rename(tmp_path / "aside")
        store.write_text("a file where the store's directory should be")
        out, err = running.communicate(timeout=60)
        status = shop("heal", "out")
        store.unlink()
        healed = shop("heal", "out", "--json")

    run = json.loads(out)
    assert running.returncode == 0, err
    assert {scene["error"]["code"] for scene in run["scenes"]} == {"storage_external"}
    assert status.code == 1
    assert "2 at their providers only" in status.out
    assert healed.code == 0, healed.err
    assert healed.document["remaining"] == 0
    assert [v["document"] for v in healed.document["versions"]] == ["written", "written"]
    exported = shop("export", "out").out
    assert "fal.media" not in exported


def test_an_unknown_project_is_refused(shop: CommandLine) -> None:
    for name in ("heal", "reconcile"):
        refused = shop(name, "nobody", "--json")

        assert refused.code == 2
        assert refused.document["error"]["code"] == "project_unknown"
