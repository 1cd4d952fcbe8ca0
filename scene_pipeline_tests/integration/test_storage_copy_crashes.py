"""Killed at every step of a copy, and run twice at once: the next call ends it, sending little."""

import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.failpoints import COPY_FAILPOINTS
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_storage_copy import copy, elsewhere, keys, tables
from scene_pipeline_tests.waiting import wait_until

SCENES = 3
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["scene_pipeline_tests.films"])


def work(settings: dict[str, Any], there: dict[str, Any], database_url: str) -> None:
    """The body of a worker process."""
    from scene_pipeline.settings import load_settings  # noqa: PLC0415  # in the new process

    copy(Studio(load_settings(**settings), database_url), load_settings(**there))


def start_copy(studio: Studio, tmp_path: Path, failpoint: str | None) -> Any:
    given = studio.settings.model_dump() | {"failpoint": failpoint, "upload_concurrency": 1}
    there = elsewhere(studio, tmp_path).model_dump()
    worker = processes.Process(target=work, args=(given, there, studio.database_url))
    worker.start()
    return worker


@pytest.mark.parametrize("failpoint", COPY_FAILPOINTS)
def test_killed_while_copying_at(failpoint: str, studio: Studio, tmp_path: Path) -> None:
    studio.bring(film([f"Scene number {n}" for n in range(SCENES)]))
    studio.run()
    before = tables(studio)["versions"]

    worker = start_copy(studio, tmp_path, f"{failpoint}:kill")
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    half_way = tables(studio)["versions"]
    [shown] = studio.sql(
        "SELECT count(*) AS n FROM current_scene_images c JOIN projects p ON p.id = c.project_id"
        " WHERE scene_entry(p.master_json, c.scene_id) ->> 'scene_start_frame' = c.storage_url"
    )
    assert shown["n"] == SCENES, "a row and its document never disagree"
    is_corrected = failpoint in ("copy_between_addresses", "copy_after_addresses")
    assert (half_way == before) is not is_corrected

    report = copy(studio, elsewhere(studio, tmp_path), verify=True)

    assert report.is_complete
    assert report.copied.objects == len(keys(studio)) == SCENES
    assert report.verified >= SCENES
    assert all(url.startswith("https://frames.example.org/") for url in tables(studio)["versions"])
    assert_invariants(studio)


def test_of_two_copies_at_once_one_works_and_the_other_says_so(
    studio: Studio, tmp_path: Path
) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    worker = start_copy(studio, tmp_path, "copy_before_addresses:stop")
    try:
        copied = "SELECT 1 FROM storage_copies"
        wait_until(lambda: bool(studio.sql(copied)), 30.0)
        with pytest.raises(UsageError, match="Another copy of this library"):
            copy(studio, elsewhere(studio, tmp_path))
    finally:
        worker.kill()
        worker.join(30)

    assert copy(studio, elsewhere(studio, tmp_path)).is_complete
    assert_invariants(studio)
