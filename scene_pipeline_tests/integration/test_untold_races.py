"""Who notes frames waits for whoever changes the project, and not for single notes."""

import asyncio
from uuid import UUID

from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.untold_frames import note_frames
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.waiting import wait_until

_WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock' AND starts_with(query, 'SELECT 1 FROM projects')"
)


def test_notes_are_made_after_the_project_is_held_as_by_whoever_moves_addresses(
    studio: Studio,
) -> None:
    studio.bring(film({"one": "A pier", "two": "A storm"}))
    studio.run("one", "two")
    studio.sql("DELETE FROM untold_frames")
    [project] = studio.sql("SELECT id FROM projects")

    async def work(services: Services) -> None:
        async with services.pool.connection() as mover, mover.transaction():
            await hold_project(mover, project["id"])
            noting = asyncio.create_task(_note(services, project["id"]))
            await asyncio.to_thread(wait_until, lambda: bool(studio.sql(_WAITING)))
            # in whatever order: nobody holds a note by now
            for scene_id in ("two", "one"):
                await mover.execute(
                    "UPDATE scene_images SET storage_url = storage_url || '?' WHERE scene_id = %s",
                    (scene_id,),
                )
        await noting

    studio.do(work)

    noted = studio.sql("SELECT scene_id FROM untold_frames ORDER BY scene_id")
    assert [row["scene_id"] for row in noted] == ["one", "two"]


async def _note(services: Services, project_id: UUID) -> None:
    async with services.pool.connection() as conn:
        await note_frames(conn, project_id, ["one", "two"])
