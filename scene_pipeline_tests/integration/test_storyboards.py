"""Which contact sheets are due, at a cost that follows the changes."""

from scene_pipeline.database.session import in_database
from scene_pipeline.database.storyboards import projects_with_stale_storyboards
from scene_pipeline.pipeline.projects.promotion import promote
from scene_pipeline.pipeline.reporting.storyboard import make_storyboard
from scene_pipeline_tests.films import Studio, film


def again(studio: Studio) -> None:
    """Another version of the film's first scene."""
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id)"
        " SELECT id, 'scene_1' FROM projects"
    )
    studio.run()


def draw(studio: Studio) -> None:
    studio.do(lambda services: make_storyboard("film", services))


def test_a_promoted_version_makes_a_storyboard_due(studio: Studio) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    again(studio)
    draw(studio)
    assert projects_with_stale_storyboards(studio.database_url, 10) == []

    in_database(
        studio.database_url,
        lambda conn: promote(conn, studio.settings, "film", "scene_1", 1),
    )

    assert len(projects_with_stale_storyboards(studio.database_url, 10)) == 1


def test_projects_take_turns_where_their_storyboards_cannot_be_drawn(studio: Studio) -> None:
    for key in ("one", "two", "three"):
        studio.bring(film(["Dawn"], key=key))
        studio.run("scene_1", key=key)

    looks = [projects_with_stale_storyboards(studio.database_url, 1)[0][0] for _ in range(6)]

    assert looks == ["one", "two", "three"] * 2


def test_only_a_project_in_use_has_a_storyboard_due(studio: Studio) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    studio.sql("UPDATE projects SET archived_at = now()")
    assert projects_with_stale_storyboards(studio.database_url, 10) == []
    assert studio.sql("SELECT 1 FROM storyboard_changes") == []

    studio.sql("UPDATE projects SET archived_at = NULL")

    assert len(projects_with_stale_storyboards(studio.database_url, 10)) == 1
