"""Adding, replacing, removing and collecting the same few pictures at once, by many."""

import asyncio
import hashlib
import random
from datetime import timedelta
from pathlib import Path

import pytest

from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.library.adding import add_file
from scene_pipeline.pipeline.library.removing import remove_asset
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.libraries import Library, details

WORKERS = 5
ROUNDS = 14
EXPECTED = {"asset_unknown", "asset_exists", "library_busy"}


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_in_the_library_keeps_its_bytes(
    studio: Studio, tmp_path: Path, seed: int
) -> None:
    library = Library(studio, tmp_path / "files")
    paths = [library.file(f"{number}.png", seed=number) for number in range(3)]
    dice = random.Random(seed)  # noqa: S311  # a walk that can be walked again
    told: list[str] = []

    async def one_step(services: Services) -> None:
        path, client = dice.choice(paths), dice.choice((None, "acme"))
        async with services.pool.connection() as conn:
            cursor = await conn.execute("SELECT asset_id FROM user_assets WHERE deleted_at IS NULL")
            ids = [row["asset_id"] for row in await cursor.fetchall()]
        what = dice.choice(("add", "add", "replace", "remove", "collect"))
        told.append(what)
        if what == "collect":
            # Whatever nothing refers to has no grace at all.
            async with services.pool.connection() as conn:
                await conn.execute(
                    "UPDATE storage_objects SET created_at = now() - %s WHERE refcount = 0",
                    (timedelta(days=9),),
                )
            await collect(services, apply=True)
        elif what == "remove" and ids:
            async with services.pool.connection() as conn:
                await remove_asset(conn, dice.choice(ids))
        else:
            replace = dice.choice(ids) if what == "replace" and ids else None
            await add_file(
                services,
                path,
                details(client_id=client, tags=(what,)),
                asked_at=library.asked_at,
                replace=replace,
            )

    async def worker(services: Services) -> None:
        for _ in range(ROUNDS):
            try:
                await one_step(services)
            except ScenePipelineError as error:
                assert error.error_code in EXPECTED, error  # noqa: PT017  # any other is a finding
                told.append(error.error_code)

    async def work(services: Services) -> None:
        await asyncio.gather(*(worker(services) for _ in range(WORKERS)))

    studio.do(work)

    assert len(set(told)) >= 4, told
    library.assert_sound()
    kept = studio.sql("SELECT storage_key, sha256 FROM user_assets WHERE deleted_at IS NULL")

    async def digests(services: Services) -> list[str]:
        reading = (services.call(services.store.read, row["storage_key"]) for row in kept)
        return [hashlib.sha256(data).hexdigest() for data in await asyncio.gather(*reading)]

    assert studio.do(digests) == [row["sha256"] for row in kept]
