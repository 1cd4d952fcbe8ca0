"""What commands that show a whole project name as its next steps."""

import shlex

from scene_pipeline.cli.next_steps import standing_steps
from scene_pipeline.pipeline.planning.outlook import look_ahead
from scene_pipeline.pipeline.planning.survey import ProjectSurvey
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film


def surveyed(studio: Studio) -> ProjectSurvey:
    async def look(services: Services) -> ProjectSurvey:
        async with services.pool.connection() as conn:
            ahead = await look_ahead(conn, services.settings, services.prices, "film")
            return ahead.preview.survey

    return studio.do(look)


def commands(studio: Studio) -> list[list[str]]:
    return [shlex.split(step)[1:] for _, step in standing_steps(surveyed(studio))]


def test_a_film_without_frames_is_run_and_a_whole_one_needs_nothing(studio: Studio) -> None:
    studio.bring(film(["Dawn", "Dusk"]))
    before = commands(studio)
    studio.run()

    assert (before, commands(studio)) == ([["run", "film"]], [])


def test_what_a_run_would_not_take_up_again_is_asked_for(fal_studio: Studio) -> None:
    fal_studio.bring(film(["Forbidden [[fault:content_policy]]", "A calm sea"]))
    fal_studio.run()
    failed = commands(fal_studio)
    fal_studio.edit(["scenes", "scene_2", "scene_frame_prompt"], "A rough sea")

    assert failed == [["regenerate", "film", "--failed"]]
    assert commands(fal_studio) == [*failed, ["run", "film", "--stale"]]


def test_what_cost_nothing_is_simply_run_again(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal_studio.run(max_cost_usd=0)

    assert commands(fal_studio) == [["run", "film"]]
