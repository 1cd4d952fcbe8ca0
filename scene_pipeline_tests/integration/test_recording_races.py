"""Many recorders and people going back to old versions, all at once, on a few scenes."""

import asyncio
import random
from typing import LiteralString

import pytest

from scene_pipeline.database.generations import get_generation
from scene_pipeline.database.promotion import promote_version
from scene_pipeline.database.recording import CheckedPicture, record_versions
from scene_pipeline.database.rows import Generation
from scene_pipeline.database.versions import list_versions
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film

SCENES = tuple(f"scene_{number}" for number in range(1, 6))
RECORDERS = 16

_STORED: LiteralString = """
WITH wanted AS (
    SELECT p.id AS project_id, s.scene_id, s.scene_prompt, n,
           'projects/race/scenes/' || s.scene_id || '_' || n || '.png' AS key
    FROM projects p JOIN scenes s ON s.project_id = p.id, generate_series(1, %s) AS n
), objects AS (
    INSERT INTO storage_objects (key, state, sha256, size_bytes, content_type)
    SELECT key, 'present', repeat('a', 64), 100, 'image/png' FROM wanted RETURNING key
)
INSERT INTO generations (project_id, scene_id, idempotency_key, token, provider, endpoint,
    scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,
    submit_count, request_id, storage_key, image)
SELECT project_id, scene_id, key, n::text, 'offline', 'offline/landscape',
    scene_prompt, scene_prompt, '{}', 'c', 'r', 64, 64, n, 'stored', 1, key, key,
    jsonb_build_object('size_bytes', 100, 'content_type', 'image/png', 'width', 64, 'height', 64,
                       'sha256', repeat('a', 64))
FROM wanted WHERE EXISTS (SELECT 1 FROM objects)
"""


def prepare(studio: Studio, per_recorder: int) -> None:
    """Pictures that lie in the store and wait to be recorded, many of each scene.

    The pipeline has one open generation per scene at a time; recording must hold without that.
    """
    studio.bring(film([f"Scene number {n}" for n in range(len(SCENES))]))
    studio.sql("DROP INDEX generations_one_open")
    studio.sql(_STORED, RECORDERS * per_recorder // len(SCENES) + 1)


def stored(generation: Generation, rejection: str | None) -> CheckedPicture:
    return CheckedPicture(
        image_index=0,
        url=f"http://x/{generation.seed}",
        storage_key=generation.storage_key,
        image=generation.image or {},
        thumbnail=None,
        rejection=rejection,
    )


def record_all(studio: Studio, *, is_promoting: bool) -> None:
    """Record everything that waits, by many recorders in a random order."""

    async def record_some(services: Services, share: list[Generation]) -> None:
        for generation in share:
            async with services.pool.connection() as conn:
                rejection = "It is blank." if generation.seed % 20 == 0 else None
                await record_versions(conn, generation, [stored(generation, rejection)])
                if not is_promoting or random.random() > 0.3:  # noqa: S311  # order of events
                    continue
                versions = await list_versions(conn, generation.project_id, generation.scene_id)
                sound = [version for version in versions if version.rejection is None]
                await conn.commit()
                if sound:
                    back = random.choice(sound)  # noqa: S311  # as above
                    await promote_version(conn, back.project_id, back.scene_id, back.version)

    async def race(services: Services) -> None:
        await services.pool.resize(2, RECORDERS)
        async with services.pool.connection() as conn:
            cursor = await conn.execute("SELECT id FROM generations WHERE state = 'stored'")
            waiting = [await get_generation(conn, row["id"]) for row in await cursor.fetchall()]
        random.shuffle(waiting)
        shares = [waiting[number::RECORDERS] for number in range(RECORDERS)]
        async with asyncio.TaskGroup() as group:
            for share in shares:
                group.create_task(record_some(services, share))

    studio.do(race)


def assert_recorded(studio: Studio) -> None:
    [total] = studio.sql("SELECT count(*) AS n FROM generations")
    assert studio.sql("SELECT count(*) AS n FROM scene_images") == [total]
    per_scene = studio.sql(
        "SELECT scene_id, count(*) FILTER (WHERE is_current) AS current, min(version) AS first,"
        " max(version) - count(*) AS missing, bool_or(is_current AND rejection IS NOT NULL) AS bad"
        " FROM scene_images GROUP BY scene_id ORDER BY scene_id"
    )
    assert per_scene == [
        {"scene_id": scene_id, "current": 1, "first": 1, "missing": 0, "bad": False}
        for scene_id in SCENES
    ]
    assert studio.sql("SELECT key FROM storage_objects WHERE refcount <> 1") == []
    assert studio.sql("SELECT id FROM generations WHERE state = 'stored'") == []


def test_recorders_and_promotions_at_once(studio: Studio) -> None:
    prepare(studio, per_recorder=8)
    record_all(studio, is_promoting=True)
    assert_recorded(studio)


@pytest.mark.long
def test_many_recorders_and_promotions_at_once(studio: Studio) -> None:
    prepare(studio, per_recorder=100)
    record_all(studio, is_promoting=True)
    assert_recorded(studio)


def test_whoever_records_last_the_newest_picture_is_the_current_one(studio: Studio) -> None:
    prepare(studio, per_recorder=4)
    record_all(studio, is_promoting=False)

    assert_recorded(studio)
    assert (
        studio.sql(
            "SELECT g.scene_id FROM generations g JOIN scene_images i ON i.generation_id = g.id"
            " WHERE i.is_current AND EXISTS (SELECT 1 FROM generations n WHERE n.seq > g.seq"
            " AND n.scene_id = g.scene_id AND mod(n.seed, 20) <> 0)"
        )
        == []
    )
