"""Verdicts of many runs on the same scenes at once: no deadlock, and each turn is told once."""

import asyncio
import random
from itertools import pairwise
from uuid import UUID

from scene_pipeline.database.frame_checks import VerdictRow, save_verdicts
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film

SCENES = [f"scene_{number}" for number in range(1, 13)]
NAMES = ("image_decodes", "not_blank", "prompt_unchanged_since")
WRITERS, ROUNDS = 6, 8


def verdict(project_id: UUID, scene_id: str, name: str, *, passed: bool) -> VerdictRow:
    return VerdictRow(project_id, scene_id, name, 1, passed, "error", "As it was found.")


def test_writers_in_any_order_never_wait_for_each_other_and_tell_each_turn_once(
    studio: Studio,
) -> None:
    studio.bring(film(dict.fromkeys(SCENES, "A pier")))
    [project] = studio.sql("SELECT id FROM projects")

    async def write(services: Services, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # no secret
        places = [(scene_id, name) for scene_id in SCENES for name in NAMES]
        for _ in range(ROUNDS):
            rows = [
                verdict(project["id"], *place, passed=chance.random() < 0.5)
                for place in chance.sample(places, 18)
            ]
            async with services.pool.connection() as conn:
                await save_verdicts(conn, rows, run_id=f"run-{seed}")

    async def all_at_once(services: Services) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(write(services, seed) for seed in range(WRITERS)))

    studio.do(all_at_once)

    told = studio.sql(
        "SELECT scene_id, data ->> 'check' AS name, array_agg(kind ORDER BY id) AS kinds"
        " FROM pipeline_events WHERE kind LIKE 'frame_check_%%' GROUP BY 1, 2"
    )
    assert len(told) == len(SCENES) * len(NAMES)
    for of_check in told:
        assert of_check["kinds"][0] == "frame_check_failed", "that all is well at first is no news"
        assert all(one != other for one, other in pairwise(of_check["kinds"])), of_check
    failing = studio.sql("SELECT scene_id, name FROM frame_checks WHERE NOT passed")
    last = [one for one in told if one["kinds"][-1] == "frame_check_failed"]
    assert {(row["scene_id"], row["name"]) for row in failing} == {
        (one["scene_id"], one["name"]) for one in last
    }
