"""Addresses in a document that were never ours: somebody put them there, and they stay."""

from datetime import UTC, datetime, timedelta

import pytest

from scene_pipeline.pipeline.due.changes import look
from scene_pipeline.pipeline.planning.survey import ProjectSurvey, survey_project
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import Studio, film

FOREIGN = "https://example.com/mine.jpg"
PATH = ["scenes", "scene_1", "scene_start_frame"]


def surveyed(studio: Studio) -> ProjectSurvey:
    async def work(services: Services) -> ProjectSurvey:
        async with services.pool.connection() as conn:
            return await survey_project(
                conn,
                services.settings,
                services.prices,
                "film",
                scene_ids=None,
                mode="ensure",
                refresh_stale=False,
                overrides=RequestOverrides(),
            )

    return studio.do(work)


def test_an_address_of_somebody_else_is_not_overwritten_by_a_kept_frame(studio: Studio) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    studio.edit(PATH, FOREIGN)

    assert studio.run().statuses == {"scene_1": "kept"}

    assert studio.start_frame("scene_1") == FOREIGN


def test_an_older_address_of_ours_is_corrected(studio: Studio) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    first = studio.start_frame("scene_1")
    studio.run(mode="regenerate", token="again")
    second = studio.start_frame("scene_1")
    studio.edit(PATH, first)

    studio.run()

    assert studio.start_frame("scene_1") == second != first


@pytest.mark.parametrize(("frame", "verdict"), [(FOREIGN, "settle"), (None, "launch")])
def test_a_frame_of_somebody_else_is_replaced_only_when_asked(
    studio: Studio, frame: str | None, verdict: str
) -> None:
    studio.bring(film(["Dawn"]))
    studio.edit(PATH, frame)

    [scene] = surveyed(studio).scenes

    assert look(scene, datetime.now(UTC), timedelta(0)) == verdict
    assert studio.run().statuses == {"scene_1": "generated"}  # a run was asked for
    assert studio.start_frame("scene_1") != FOREIGN
