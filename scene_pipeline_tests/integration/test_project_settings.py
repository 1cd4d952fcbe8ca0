"""What people set of a project: refreshing by itself, and the archive where nothing new begins."""

from typing import Any

import pytest

from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.planning.preview import RunIntent, RunPreview, prepare_run
from scene_pipeline.pipeline.projects.overview import list_overviews
from scene_pipeline.pipeline.projects.settings import (
    KeptVersions,
    ProjectChange,
    change_project_settings,
)
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, assert_invariants, film


def change(studio: Studio, **settings: Any) -> ProjectChange:
    async def work(services: Services) -> ProjectChange:
        async with services.pool.connection() as conn:
            return await change_project_settings(conn, "film", **settings)

    return studio.do(work)


def prepare(studio: Studio, *, is_dry: bool) -> RunPreview:
    async def work(services: Services) -> RunPreview:
        async with services.pool.connection() as conn:
            return await prepare_run(
                conn, services.settings, services.prices, "film", RunIntent(), is_dry=is_dry
            )

    return studio.do(work)


def stop_at(studio: Studio, place: str) -> None:
    failing = Studio(
        studio.settings.model_copy(update={"failpoint": f"{place}:raise"}), studio.database_url
    )
    failing.run()
    arm(None)


def test_switching_refresh_on_makes_the_scenes_due(studio: Studio) -> None:
    studio.bring(film(["One"]))
    studio.sql("UPDATE scenes SET wanted_at = NULL")

    done = change(studio, auto_refresh=True)

    assert done.changed == ("auto_refresh",)
    assert done.settings.auto_refresh
    assert studio.sql("SELECT 1 AS due FROM scenes WHERE wanted_at IS NOT NULL") == [{"due": 1}]
    assert change(studio, auto_refresh=True).changed == ()
    assert studio.sql(
        "SELECT data FROM pipeline_events WHERE kind = 'project_settings_changed'"
    ) == [
        {
            "data": {
                "changed": ["auto_refresh"],
                "auto_refresh": True,
                "archived": False,
                "keep_versions": None,
                "keep_days": None,
                "fallbacks": [],
            }
        }
    ]


def test_nothing_begins_in_an_archived_project(studio: Studio) -> None:
    studio.bring(film(["One", "Two"]))
    studio.run("scene_1")
    change(studio, is_archived=True)

    with pytest.raises(UsageError) as caught:
        prepare(studio, is_dry=False)

    assert caught.value.error_code == "project_archived"
    assert "--unarchive" in caught.value.next_action
    assert prepare(studio, is_dry=True).survey.project.is_archived
    run = studio.run(mode="regenerate", token="backfill")
    assert run.statuses == {"scene_1": "kept", "scene_2": "failed"}
    failure = run.outcomes["scene_2"].failure
    assert failure is not None
    assert failure.code == "project_archived"
    assert studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 1}]

    async def overviews(services: Services) -> int:
        async with services.pool.connection() as conn:
            return len(await list_overviews(conn))

    assert studio.do(overviews) == 0
    assert change(studio, is_archived=False).changed == ("archived",)
    assert studio.run().statuses == {"scene_1": "kept", "scene_2": "generated"}
    assert_invariants(studio)


def test_what_was_sent_is_finished_after_archiving(studio: Studio) -> None:
    studio.bring(film(["One"]))
    stop_at(studio, "after_completed")

    done = change(studio, is_archived=True)

    assert (done.given_up, done.finishing) == ((), ("scene_1",))
    assert studio.run().statuses == {"scene_1": "generated"}
    assert studio.start_frame("scene_1")


def test_what_was_not_sent_is_given_up_by_archiving(studio: Studio) -> None:
    studio.bring(film(["One"]))
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id)"
        " SELECT id, 'scene_1' FROM projects"
    )
    poor = Studio(studio.settings.model_copy(update={"failpoint": "after_plan:raise"}),
                  studio.database_url)  # fmt: skip
    with pytest.raises(Exception, match="after_plan"):
        poor.run()
    arm(None)

    assert change(studio, is_archived=True).given_up == ("scene_1",)

    assert studio.sql("SELECT state FROM generations") == [{"state": "abandoned"}]
    assert studio.sql("SELECT state FROM regeneration_requests") == [{"state": "failed"}]


def test_a_project_is_not_archived_while_a_request_is_in_doubt(studio: Studio) -> None:
    studio.bring(film(["One"]))
    stop_at(studio, "after_permit")
    assert studio.sql("SELECT state FROM generations") == [{"state": "submitting"}]

    with pytest.raises(UsageError) as caught:
        change(studio, is_archived=True, auto_refresh=True)

    assert caught.value.error_code == "generation_open"
    assert studio.sql("SELECT archived_at, auto_refresh FROM projects") == [
        {"archived_at": None, "auto_refresh": False}
    ]


def test_a_drills_project_is_left_alone(studio: Studio) -> None:
    studio.bring(film(["One"]))
    studio.sql("UPDATE projects SET archived_at = now(), is_scratch = true")

    with pytest.raises(UsageError) as caught:
        change(studio, is_archived=False)

    assert caught.value.error_code == "project_scratch"
    assert studio.run().statuses == {"scene_1": "generated"}


def test_what_is_kept_is_set_part_by_part_and_taken_back(studio: Studio) -> None:
    studio.bring(film(["One"]))

    versions = change(studio, kept=KeptVersions(versions=3))
    days = change(studio, kept=KeptVersions(days=0.5))
    same = change(studio, kept=KeptVersions(versions=3, days=0.5))
    default = change(studio, kept=KeptVersions(is_default=True))

    assert (versions.settings.keep_versions, versions.settings.keep_days) == (3, None)
    assert (days.settings.keep_versions, days.settings.keep_days) == (3, 0.5)
    assert (days.changed, same.changed) == (("kept_versions",), ())
    assert (default.settings.keep_versions, default.settings.keep_days) == (None, None)
    assert studio.sql(
        "SELECT count(*) AS n FROM pipeline_events WHERE kind = 'project_settings_changed'"
    ) == [{"n": 3}]
