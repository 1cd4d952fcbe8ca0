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
    with site({"/hero.png": scene_file("PNG", 1)}) as running:
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
    assert row["asset_id"] == asset["asset_id"]
    assert desk.events()[-1] == "upload_complete"
    assert desk.events().count("upload_complete") == 1
    objects = desk.studio.sql(
        "SELECT key FROM storage_objects WHERE key = %s AND state = 'present' AND refcount = 1",
        asset["storage_key"],
    )
    assert len(objects) == 1
    assert desk.carry_out() == {}
