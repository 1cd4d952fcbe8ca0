"""Frames of runs that were killed between making and telling: the next storyboard tells them."""

import dagster as dg
import psycopg
import pytest

from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.reporting import changed_frames
from scene_pipeline_tests.defs.jobs import make_frames
from scene_pipeline_tests.defs.test_checks import OF_DOCUMENT, OF_IMAGE, URL, renew, results
from scene_pipeline_tests.defs.test_frames import latest, register, statuses
from scene_pipeline_tests.films import Studio, film

ALL_WELL = dict.fromkeys((OF_IMAGE | OF_DOCUMENT) - {URL}, "SUCCEEDED")
STAGES = ("scene_image", "scene_start_frame")


@pytest.fixture(autouse=True)
def _scenes(instance: dg.DagsterInstance, studio: Studio) -> None:
    studio.bring(film({"one": "A pier", "two": "A storm"}))
    register(instance, "one", "two")


def forget_checks(studio: Studio) -> None:
    studio.sql("DELETE FROM frame_checks")


def test_a_frame_of_a_run_that_was_killed_before_it_told_is_shown_and_checked(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    studio.run("one", "two")
    forget_checks(studio)

    told = renew(instance, runtime)

    assert told == 2 * len(ALL_WELL)
    for stage in STAGES:
        assert set(statuses(instance, stage).values()) == {"MATERIALIZED"}
        shown = latest(instance, stage, "film/one").metadata
        assert (shown["version"].value, shown["kept"].value) == (1, True)
        assert shown["url"].value == studio.start_frame("one")
    assert results(instance_url) == {"film/one": ALL_WELL, "film/two": ALL_WELL}
    assert renew(instance, runtime) == 0, "it is told once"
    assert studio.sql("SELECT * FROM untold_frames") == []
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 2}]


def test_a_frame_that_was_shown_before_its_run_was_killed_gets_its_checks(
    instance: dg.DagsterInstance, instance_url: str, runtime: PipelineRuntime, studio: Studio
) -> None:
    assert make_frames(instance, runtime).success
    forget_checks(studio)
    with psycopg.connect(instance_url) as conn:
        conn.execute("DELETE FROM asset_check_executions WHERE partition = 'film/one'")
    before = latest(instance, "scene_image", "film/one").metadata

    renew(instance, runtime)

    assert results(instance_url)["film/one"] == ALL_WELL
    assert latest(instance, "scene_image", "film/one").metadata == before, "nothing is new of it"
    assert before["kept"].value is False


def test_many_frames_of_dead_runs_are_taken_up_in_parts(
    instance: dg.DagsterInstance,
    runtime: PipelineRuntime,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changed_frames, "MAX_UNCHECKED", 1)
    studio.run("one", "two")
    forget_checks(studio)

    renew(instance, runtime)
    first = statuses(instance, "scene_image")
    renew(instance, runtime)

    assert first == {"film/one": "MATERIALIZED", "film/two": None}
    assert set(statuses(instance, "scene_image").values()) == {"MATERIALIZED"}
