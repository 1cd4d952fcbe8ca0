"""From a version to the run that planned it, and from a run or backfill back to its scenes."""

import uuid

from scene_pipeline.database.history import (
    LedgerLine,
    VersionOrigin,
    generations_of_backfill,
    generations_of_run,
    version_origins,
)
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.versions import list_versions
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film

BACKFILL = "kpzhgbxd"


def origins(studio: Studio, scene_id: str) -> dict[int, VersionOrigin]:
    """By version."""

    async def work(services: Services) -> dict[int, VersionOrigin]:
        async with services.pool.connection() as conn:
            project = await get_project(conn, "film")
            found = await version_origins(conn, project.id, scene_id)
            rows = await list_versions(conn, project.id, scene_id)
            return {row.version: found[row.id] for row in rows}

    return studio.do(work)


def lines(studio: Studio, *, run: str | None = None, backfill: str = "") -> list[LedgerLine]:
    async def work(services: Services) -> list[LedgerLine]:
        async with services.pool.connection() as conn:
            if run is not None:
                return await generations_of_run(conn, run)
            return await generations_of_backfill(conn, backfill)

    return studio.do(work)


def test_a_run_leads_to_the_scenes_that_it_planned_and_to_no_others(studio: Studio) -> None:
    studio.bring(film(["One", "Two"]))
    first, second = str(uuid.uuid4()), str(uuid.uuid4())

    studio.run("scene_1", run_id=first)
    studio.run(run_id=second)

    assert [line.scene_id for line in lines(studio, run=first)] == ["scene_1"]
    [line] = lines(studio, run=second)
    assert (line.scene_id, line.state, line.versions) == ("scene_2", "published", [1])
    assert line.storage_url == studio.start_frame("scene_2")
    assert origins(studio, "scene_2")[1].run_id == second


def test_a_backfill_leads_to_its_scenes_whichever_of_its_runs_made_them(studio: Studio) -> None:
    studio.bring(film(["One", "Two"]))
    studio.run()
    for scene_id in ("scene_1", "scene_2"):
        studio.run(scene_id, mode="regenerate", token=BACKFILL)

    found = lines(studio, backfill=BACKFILL)

    assert [(line.scene_id, line.versions) for line in found] == [
        ("scene_1", [2]),
        ("scene_2", [2]),
    ]
    assert lines(studio, backfill="kpzhgb") == []
    assert {version: o.token for version, o in origins(studio, "scene_1").items()} == {
        1: "",
        2: BACKFILL,
    }


def test_the_steps_after_a_rejection_belong_to_the_same_backfill(studio: Studio) -> None:
    studio.bring(film(["One"]))
    studio.run(mode="regenerate", token=f"{BACKFILL}#rung1")

    assert [line.token for line in lines(studio, backfill=BACKFILL)] == [f"{BACKFILL}#rung1"]


def test_candidates_tell_which_generation_they_belong_to(studio: Studio) -> None:
    studio.bring(film(["One"]))
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
        " SELECT id, 'scene_1', '{\"candidates\": 3}' FROM projects"
    )

    run_id = str(uuid.uuid4())
    studio.run(run_id=run_id)

    found = origins(studio, "scene_1")
    assert {version: origin.image_index for version, origin in found.items()} == {1: 0, 2: 1, 3: 2}
    assert {origin.image_count for origin in found.values()} == {3}
    assert len({origin.generation_id for origin in found.values()}) == 1
    assert [line.versions for line in lines(studio, run=run_id)] == [[1, 2, 3]]


def test_a_renamed_scene_tells_whose_picture_it_shows(studio: Studio) -> None:
    studio.bring(film({"old": "One"}))
    studio.run("old")
    studio.bring(film({"new": "One"}), force=True)

    studio.run("new")

    origin = origins(studio, "new")[1]
    assert (origin.reused_project_key, origin.reused_scene_id, origin.reused_version) == (
        "film",
        "old",
        1,
    )
