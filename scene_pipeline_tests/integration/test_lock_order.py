"""Who changes a project's frames in many rows waits before the first of them, never in a ring.

The order is: the project, the turn of its verdicts, rows. A writer that waits for the first two
with a row locked is what somebody with both and another row waits for.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, LiteralString
from uuid import UUID

import pytest

from scene_pipeline.database.addresses import VersionAddress, move_versions
from scene_pipeline.database.asked_addresses import due_addresses, save_unasked
from scene_pipeline.database.frame_checks import VerdictRow, save_verdicts, take_turn
from scene_pipeline.database.healing import external_version, record_healed
from scene_pipeline.database.project_settings import hold_project
from scene_pipeline.database.projects import get_project, load_document
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.checks import CheckName
from scene_pipeline.pipeline.projects.scene_rows import request_defaults, synchronise
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.document import read_document
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.integration.test_retention import until_somebody_waits

PROMPTS = ["A lighthouse at dawn", "A storm at sea"]
ASKED: CheckName = "url_serves_the_stored_bytes"
ROWS: tuple[LiteralString, ...] = (
    "scenes",
    "scene_images",
    "frame_checks",
    "unasked_addresses",
    "untold_frames",
    "reference_pictures",
)

Writing = Callable[[Services, Connection, UUID], Coroutine[Any, Any, None]]


async def move(_services: Services, conn: Connection, project_id: UUID) -> None:
    cursor = await conn.execute(
        "SELECT id, generation_id, scene_id, version, storage_path AS key, storage_url AS url"
        " FROM scene_images"
    )
    moved = [VersionAddress(**row) for row in await cursor.fetchall()]
    await conn.commit()
    moves = [(one, f"https://frames.example.org/{one.key}") for one in moved]
    assert len(await move_versions(conn, project_id, moves)) == len(PROMPTS)


async def heal(_services: Services, conn: Connection, _project_id: UUID) -> None:
    cursor = await conn.execute(
        "UPDATE scene_images SET storage_status = 'external' WHERE scene_id = 'scene_1'"
        " RETURNING generation_id, storage_path"
    )
    [row] = await cursor.fetchall()
    version = await external_version(conn, row["generation_id"])
    await conn.commit()
    assert version is not None
    url = f"https://frames.example.org/{row['storage_path']}"
    assert await record_healed(conn, version, key=row["storage_path"], url=url) == "written"


async def plan(services: Services, conn: Connection, project_id: UUID) -> None:
    async with conn.transaction():
        stored = await load_document(conn, project_id)
        document = read_document(stored.master_json, order=stored.scene_order)
        await synchronise(conn, stored, document, request_defaults(services.settings))


async def keep_verdicts(_services: Services, conn: Connection, project_id: UUID) -> None:
    rows = [
        VerdictRow(project_id, f"scene_{number}", ASKED, 1, True, "error", "It serves them.")
        for number in (2, 1)
    ]
    await save_verdicts(conn, rows)


async def pass_turns(_services: Services, conn: Connection, _project_id: UUID) -> None:
    due = await due_addresses(conn, ASKED, 10)
    await conn.commit()
    await save_unasked(conn, due)


async def hold_turn(conn: Connection, project_id: UUID) -> None:
    await take_turn(conn, {project_id})


@pytest.fixture
def made(studio: Studio) -> Studio:
    studio.bring(film(PROMPTS))
    studio.run()
    # So that each table has rows that could be locked.
    studio.sql(
        "INSERT INTO unasked_addresses SELECT project_id, scene_id, version FROM scene_images"
    )
    studio.sql(
        "INSERT INTO untold_frames (project_id, scene_id) SELECT project_id, scene_id"
        " FROM scene_images ON CONFLICT DO NOTHING"
    )
    studio.sql(
        "INSERT INTO reference_pictures (project_id, reference, problem_code, problem_message)"
        " SELECT id, 'asset:no-longer-named', 'reference_unknown', 'There is no such picture.'"
        " FROM projects"
    )
    return studio


@pytest.mark.parametrize(
    ("holding", "writing"),
    [
        (hold_project, move),
        (hold_turn, move),
        (hold_project, heal),
        (hold_turn, heal),
        (hold_project, plan),
        (hold_turn, keep_verdicts),
        (hold_turn, pass_turns),
    ],
)
def test_who_waits_for_a_project_s_frames_has_locked_none_of_them(
    made: Studio, holding: Callable[[Connection, UUID], Coroutine[Any, Any, None]], writing: Writing
) -> None:
    made.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_2}'")

    async def work(services: Services) -> None:
        async with services.pool.connection() as holder, services.pool.connection() as writer:
            project = await get_project(holder, "film")
            await holder.commit()
            async with asyncio.TaskGroup() as tasks, holder.transaction():
                await holding(holder, project.id)
                tasks.create_task(writing(services, writer, project.id))
                await until_somebody_waits(holder)
                for table in ROWS:
                    await holder.execute(f"SELECT 1 FROM {table} FOR UPDATE NOWAIT")  # noqa: S608

    made.do(work)


def test_planning_that_changes_nothing_waits_for_nobody(made: Studio) -> None:
    async def work(services: Services) -> None:
        async with services.pool.connection() as holder, services.pool.connection() as planner:
            project = await get_project(holder, "film")
            await hold_project(holder, project.id)
            await take_turn(holder, {project.id})
            await planner.execute("SET lock_timeout = '50ms'")
            await planner.commit()
            await plan(services, planner, project.id)

    made.do(work)
