"""Which storyboards are due, at a cost that follows the changes."""

from collections.abc import Callable

from scene_pipeline.database.session import in_database
from scene_pipeline.database.storyboards import projects_with_stale_storyboards
from scene_pipeline.pipeline.projects.promotion import promote
from scene_pipeline.pipeline.reporting.storyboard import make_storyboard
from scene_pipeline.pipeline.services import Services
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


def is_due(studio: Studio) -> bool:
    return projects_with_stale_storyboards(studio.database_url, 10) != []


def edit(studio: Studio) -> None:
    """As an editor and the sensor of changes do."""
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Noon")
    studio.run("scene_2")


def add_scene(studio: Studio) -> None:
    studio.edit(["scenes", "scene_3"], {"scene_frame_prompt": "Night"})
    studio.run("scene_1")


def retire_scene(studio: Studio) -> None:
    studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_2}'")
    studio.run("scene_1")


def rename(studio: Studio) -> None:
    studio.edit(["project", "title"], "Another film")
    studio.run("scene_1")


def lock(studio: Studio) -> None:
    studio.sql("UPDATE scenes SET locked = true WHERE scene_id = 'scene_1'")


def fail(studio: Studio) -> None:
    """A generation that ends without a picture."""
    studio.sql(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state)"
        " SELECT project_id, scene_id, 'another', provider, endpoint, scene_prompt, prompt,"
        " content, content_hash, request_hash, width, height, seed, 'planned' FROM generations"
        " WHERE scene_id = 'scene_1'"
    )
    assert not is_due(studio)  # it has only begun
    studio.sql(
        "UPDATE generations SET state = 'failed', error_code = 'content_rejected',"
        " error_message = 'Refused.' WHERE idempotency_key = 'another'"
    )


def meter(studio: Studio) -> None:
    """The provider says afterwards what it was."""
    studio.sql(
        "UPDATE generations SET cost_micros = 7000, cost_kind = 'metered'"
        " WHERE scene_id = 'scene_1'"
    )


def move(studio: Studio) -> None:
    studio.sql("UPDATE scene_images SET storage_url = storage_url || '?moved'")


def break_document(studio: Studio) -> None:
    studio.sql("""UPDATE projects SET document_problem = '{"code": "x", "message": "Broken."}'""")


def test_whatever_a_page_shows_makes_it_due_once(studio: Studio) -> None:
    studio.bring(film(["Dawn", "Dusk"]))
    studio.run()
    draw(studio)
    assert not is_due(studio)
    changes: tuple[Callable[[Studio], None], ...] = (
        meter,
        fail,
        edit,
        add_scene,
        rename,
        retire_scene,
        lock,
        move,
        break_document,
    )
    for change in changes:
        change(studio)

        assert is_due(studio), change
        draw(studio)
        assert not is_due(studio), change


def test_a_film_that_was_only_imported_has_nothing_to_show_yet(studio: Studio) -> None:
    studio.bring(film(["Dawn"]))

    assert studio.sql("SELECT 1 FROM storyboard_changes") == []


def test_a_planning_of_many_scenes_leaves_one_change(studio: Studio) -> None:
    studio.bring(film(["Dawn"] * 200))
    studio.run("scene_1")
    draw(studio)
    assert not is_due(studio)

    # Every scene's content is another with this.
    studio.edit(["generation", "image_size"], "96x96")
    studio.run("scene_2")

    edited = "SELECT count(*) AS n FROM scenes WHERE content ->> 'size' = '96x96'"
    assert studio.sql(edited) == [{"n": 200}]
    planning = "SELECT count(*) AS n FROM storyboard_changes GROUP BY looked_at ORDER BY looked_at"
    assert max(row["n"] for row in studio.sql(planning)) == 1


def test_a_change_while_a_storyboard_is_made_makes_the_next_one_due(studio: Studio) -> None:
    """What is shown is never older than the fingerprint that is kept with it."""
    studio.bring(film(["Dawn"]))
    studio.run()

    async def draw_meanwhile(services: Services) -> None:
        sheet = services.workers.contact_sheet

        def lock_and_draw(*args: object, **options: object) -> object:
            studio.sql("UPDATE scenes SET locked = true")
            return sheet(*args, **options)  # type: ignore[arg-type]  # as given

        services.workers.contact_sheet = lock_and_draw  # type: ignore[method-assign,assignment]
        await make_storyboard("film", services)

    studio.do(draw_meanwhile)

    assert is_due(studio)
