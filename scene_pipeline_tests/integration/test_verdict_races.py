"""Verdicts of many runs on the same scenes at once: no deadlock, each turn is told once, and what
comes late is dropped."""

import asyncio
import random
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

from scene_pipeline.database.asked_addresses import due_addresses, save_unasked
from scene_pipeline.database.frame_checks import VerdictRow, save_verdicts, timely_verdicts
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film

SCENES = [f"scene_{number}" for number in range(1, 13)]
NAMES = ("image_decodes", "not_blank", "prompt_unchanged_since")
WRITERS, ROUNDS = 6, 8


def verdict(project_id: UUID, scene_id: str, name: str, *, passed: bool) -> VerdictRow:
    """Of a scene that has no frame."""
    return VerdictRow(project_id, scene_id, name, None, passed, "error", "As it was found.")


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


ASKED = "url_serves_the_stored_bytes"


def save(studio: Studio, *rows: VerdictRow) -> frozenset[VerdictRow]:
    async def work(services: Services) -> frozenset[VerdictRow]:
        async with services.pool.connection() as conn:
            timely = await timely_verdicts(conn, rows)
            assert await save_verdicts(conn, rows, run_id="late") == timely
            return timely

    return studio.do(work)


def kept(studio: Studio) -> list[tuple[str, int | None, bool]]:
    rows = studio.sql("SELECT name, version, passed FROM frame_checks ORDER BY name")
    return [(row["name"], row["version"], row["passed"]) for row in rows]


def test_a_late_verdict_on_a_version_that_was_replaced_is_dropped_and_not_told(
    studio: Studio,
) -> None:
    studio.bring(film(["A pier"]))
    studio.run()
    studio.run(mode="regenerate", token="again")
    studio.sql("DELETE FROM frame_checks")
    [project] = studio.sql("SELECT id FROM projects")
    sound = VerdictRow(project["id"], "scene_1", "not_blank", 2, True, "error", "It is not.")

    save(studio, sound)
    timely = replace(sound, passed=False, name="size_as_requested")
    of_those = save(
        studio,
        replace(sound, version=1, passed=False),
        replace(sound, version=None, passed=False, name="image_decodes"),
        timely,
    )
    assert of_those == {timely}
    assert kept(studio) == [("not_blank", 2, True), ("size_as_requested", 2, False)]
    told = studio.sql("SELECT data FROM pipeline_events WHERE run_id = 'late'")
    assert [row["data"]["check"] for row in told] == ["size_as_requested"]


def test_a_late_verdict_on_an_address_that_moved_is_dropped(studio: Studio) -> None:
    studio.bring(film(["A pier"]))
    studio.run()
    [frame] = studio.sql("SELECT project_id, storage_url FROM scene_images")
    former = VerdictRow(
        frame["project_id"], "scene_1", ASKED, 1, True, "error", "It is.", frame["storage_url"]
    )
    studio.sql("UPDATE scene_images SET storage_url = storage_url || '#'")
    studio.sql("DELETE FROM frame_checks")

    save(studio, former)
    assert kept(studio) == []
    save(studio, replace(former, url=f"{former.url}#"))
    assert kept(studio) == [(ASKED, 1, True)]


def test_a_late_turn_of_an_address_that_moved_or_of_a_version_that_was_replaced_is_dropped(
    studio: Studio,
) -> None:
    studio.bring(film(["A pier", "A storm", "A kitchen"]))
    studio.run()

    async def late(services: Services) -> None:
        async with services.pool.connection() as conn:
            due = await due_addresses(conn, ASKED, 10)
            await conn.execute(
                "UPDATE scene_images SET storage_url = storage_url || '#'"
                " WHERE scene_id = 'scene_1'"
            )
            _, _, third = due
            await save_unasked(conn, [*due[:2], replace(third, version=2)])

    studio.do(late)
    kept_turns = studio.sql("SELECT scene_id FROM unasked_addresses")
    assert [row["scene_id"] for row in kept_turns] == ["scene_2"]
