"""A run that is killed at any step of an import: the next one ends it, once, and leaves nothing."""

import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.pipeline.failpoints import IMPORT_FAILPOINTS
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.import_desk import ImportDesk, settings_for, site
from scene_pipeline_tests.standins.hostile_http import HostileServer
from scene_pipeline_tests.standins.pictures import scene_file

STEPS = [name for name in IMPORT_FAILPOINTS if name != "import_tick_after_mark"]
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["scene_pipeline_tests.import_desk"])


@pytest.fixture
def server() -> Iterator[HostileServer]:
    hero, other = scene_file("PNG", 1), scene_file("PNG", 2)
    with site({"/hero.png": hero, "/copy.png": hero, "/other.png": other}) as running:
        yield running


@pytest.fixture
def desk(server: HostileServer, database_url: str, tmp_path: Path) -> ImportDesk:
    return ImportDesk(Studio(settings_for(server, tmp_path / "home"), database_url), server)


def work(settings: dict[str, Any], database_url: str) -> None:
    """The body of a worker process: everything that is open, as a run does it."""
    from scene_pipeline.settings import load_settings  # noqa: PLC0415  # in the new process

    desk = ImportDesk(Studio(load_settings(**settings), database_url))
    desk.carry_out("killed")


def kill_at(desk: ImportDesk, failpoint: str) -> None:
    given = desk.studio.settings.model_dump() | {"failpoint": f"{failpoint}:kill"}
    worker = processes.Process(target=work, args=(given, desk.studio.database_url))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"


@pytest.mark.parametrize("failpoint", STEPS)
def test_killed_at(failpoint: str, desk: ImportDesk) -> None:
    desk.ask("/hero.png")

    kill_at(desk, failpoint)
    desk.carry_out("next")

    [row] = desk.rows()
    assert row["state"] == "done"
    [asset] = desk.studio.sql("SELECT asset_id, storage_key FROM user_assets")
    assert (row["asset_id"], row["is_duplicate"]) == (asset["asset_id"], False)
    assert len(desk.studio.sql("SELECT 1 FROM pipeline_events WHERE kind = 'asset_added'")) == 1
    assert desk.events()[-1] == "upload_complete"
    assert desk.events().count("upload_complete") == 1
    objects = desk.studio.sql(
        "SELECT key FROM storage_objects WHERE key = %s AND state = 'present' AND refcount = 1",
        asset["storage_key"],
    )
    assert len(objects) == 1
    assert desk.carry_out() == {}


def test_what_a_killed_run_had_replaced_is_no_duplicate(desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    asset_id = str(desk.carry_out()["hero.png"].asset_id)
    desk.ask("/other.png", replace_asset_id=asset_id)

    kill_at(desk, "import_after_add")
    desk.carry_out("next")

    done = desk.rows()[-1]
    assert (done["state"], done["asset_id"], done["is_duplicate"]) == ("done", asset_id, False)
    replaced = desk.studio.sql("SELECT 1 FROM pipeline_events WHERE kind = 'asset_replaced'")
    assert len(replaced) == 1


def test_what_somebody_else_brought_in_meanwhile_is_one(desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    kill_at(desk, "import_after_download")
    desk.studio.sql("UPDATE asset_imports SET due_at = now() + interval '1 h'")
    desk.ask("/copy.png")

    outcomes = desk.carry_out("next")

    assert sorted(one.status for one in outcomes.values()) == ["duplicate", "new"]
