"""What is told beside a version: the one before it, what changed, the attempts, and the time."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from scene_pipeline.database.frame_history import HISTORY_LENGTH, frame_histories
from scene_pipeline.pipeline.making.histories import MAX_BATCH, FrameHistories
from scene_pipeline.pipeline.orders import FrameFacts, Stage, StageDone
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import Run, Studio, film


def told(run: Run, scene_id: str = "scene_1", stage: Stage = "scene_start_frame") -> FrameFacts:
    """The frame that a run showed last at a stage of a scene."""
    found = [
        event.frame
        for event in run.events
        if isinstance(event, StageDone) and (event.scene.scene_id, event.stage) == (scene_id, stage)
    ]
    assert found
    assert found[-1] is not None
    return found[-1]


def facts(run: Run, scene_id: str = "scene_1") -> dict[str, Any]:
    """What a run showed of the provider's answer."""
    [found] = [
        event.facts
        for event in run.events
        if isinstance(event, StageDone)
        and (event.scene.scene_id, event.stage) == (scene_id, "generated_frame")
    ]
    return dict(found)


def regenerate(studio: Studio, **order: Any) -> Run:
    return studio.run(**{"mode": "regenerate", "token": str(uuid.uuid4()), **order})


def give_up(studio: Studio, version: int) -> None:
    """Take a version's bytes away as retention does."""
    with psycopg.connect(studio.database_url) as conn:
        conn.execute("SELECT set_config('scene_pipeline.retention', 'on', true)")
        conn.execute(
            "UPDATE scene_images SET storage_status = 'removed', removed_at = now(),"
            " storage_path = NULL WHERE version = %s",
            (version,),
        )


def test_a_first_frame_has_nothing_before_it_and_tells_how_long_it_took(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))

    run = studio.run()

    image = told(run, stage="scene_image")
    frame = told(run)
    assert frame.previous is None
    assert image.stage_seconds.keys() == {"generation", "storing"}
    assert frame.stage_seconds.keys() == {"generation", "storing", "publishing"}
    assert all(0 <= seconds < 60 for seconds in frame.stage_seconds.values())
    [only] = frame.attempts
    assert (only.generation_id, only.version, only.code) == (frame.generation_id, 1, None)
    assert only.state == "published"
    assert only.cost_kind == "free"
    assert only.seconds == frame.stage_seconds["generation"]
    answer = facts(run)
    assert answer["generation_seconds"] == only.seconds
    assert answer["attempts_total"] == 1
    assert [one.state for one in answer["attempts"]] == ["completed"]


def test_a_new_version_tells_what_changed_since_the_one_before(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A blue boat")

    run = regenerate(studio, overrides=RequestOverrides(seed=7, image_size="128x64", steps=9))

    frame = told(run)
    before = frame.previous
    assert before is not None
    assert (frame.version, before.version) == (2, 1)
    assert (before.prompt, frame.prompt) == ("A red boat", "A blue boat")
    assert before.thumbnail is not None
    changes = {change.what: (change.before, change.after) for change in before.changes}
    assert changes.keys() == {"seed", "steps", "size"}
    assert changes["seed"] == (str(before.seed), "7")
    assert changes["steps"] == ("none", "9")
    assert changes["size"] == ("64x64", "128x64")
    assert [attempt.version for attempt in frame.attempts] == [2, 1]


def test_a_kept_frame_is_shown_as_it_was_when_it_was_made(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    made = told(regenerate(studio))

    kept = studio.run()

    assert kept.statuses == {"scene_1": "kept"}
    assert told(kept) == told(kept, stage="scene_image") == made
    assert facts(kept)["attempts"] == made.attempts
    assert facts(kept)["generation_seconds"] == made.stage_seconds["generation"]


def test_candidates_stand_beside_the_version_before_all_of_them(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()

    frame = told(regenerate(studio, overrides=RequestOverrides(candidates=3)))

    assert frame.version == 2
    assert frame.previous is not None
    assert frame.previous.version == 1
    studio.sql("UPDATE scene_images SET is_current = false")
    studio.sql("UPDATE scene_images SET is_current = true WHERE version = 4")
    assert studio.start_frame("scene_1") == frame.url
    last = told(studio.run())
    assert last.version == 4
    assert last.previous is not None
    assert last.previous.version == 1
    assert [attempt.version for attempt in last.attempts] == [4, 1]
    assert [change.what for change in last.previous.changes] == ["seed"]


def test_a_version_that_was_chosen_again_stands_beside_the_one_before_it(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    for _ in range(2):
        regenerate(studio)
    studio.sql("UPDATE scene_images SET is_current = false")
    studio.sql("UPDATE scene_images SET is_current = true WHERE version = 2")

    frame = told(studio.run())

    assert frame.version == 2
    assert frame.previous is not None
    assert frame.previous.version == 1
    assert [attempt.version for attempt in frame.attempts] == [2, 1]


def test_a_version_that_was_set_aside_stands_before_none(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    for _ in range(3):
        regenerate(studio)
    studio.sql("UPDATE scene_images SET rejection = 'blank' WHERE version = 2")

    before = told(studio.run()).previous

    assert before is not None
    assert before.version == 1


def test_a_removed_version_is_still_told_of(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    regenerate(studio)
    give_up(studio, 1)

    before = told(studio.run()).previous

    assert before is not None
    assert before.version == 1
    assert before.storage_status == "removed"
    assert before.prompt == "A red boat"


def test_a_picture_that_was_taken_over_claims_no_time_and_no_money(studio: Studio) -> None:
    studio.bring(film({"old": "A red boat"}))
    studio.run("old")
    studio.bring(film({"new": "A red boat"}), force=True)

    frame = told(studio.run("new"), "new")

    assert frame.stage_seconds.keys() == {"publishing"}
    assert frame.previous is None
    [attempt] = frame.attempts
    assert attempt.seconds is None
    assert attempt.cost_usd == 0


def test_failed_attempts_are_told_with_their_code(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    regenerate(studio)
    studio.sql(
        "UPDATE generations SET state = 'failed', error_code = 'content_rejected',"
        " completed_at = NULL, cost_micros = 3000, doubtful_micros = 1000, cost_kind = 'metered'"
        " WHERE seq = (SELECT max(seq) FROM generations)"
    )

    frame = told(regenerate(studio))

    newest, failed, first = frame.attempts
    assert (newest.state, first.version) == ("published", 1)
    assert (failed.state, failed.code, failed.seconds) == ("failed", "content_rejected", None)
    assert (str(failed.cost_usd), failed.cost_kind) == ("0.004", "metered")


def test_the_history_of_a_scene_is_bounded(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    studio.sql(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state)"
        " SELECT project_id, scene_id, n::text, provider, endpoint, scene_prompt, prompt, content,"
        " content_hash, request_hash, width, height, seed, 'abandoned'"
        " FROM generations, generate_series(1, 30) n"
    )

    frame = told(regenerate(studio))

    assert len(frame.attempts) == HISTORY_LENGTH
    assert frame.attempts_total == 32
    assert frame.attempts[0].generation_id == frame.generation_id


def test_only_what_is_shown_is_asked_for(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()

    with counting_histories() as unshown:
        run = studio.run(stages=frozenset({"scene_prompt"}))
    with counting_histories() as shown:
        studio.run()

    assert run.statuses == {"scene_1": "kept"}
    assert (len(unshown), bool(shown)) == (0, True)


def test_hundreds_of_kept_scenes_are_a_handful_of_statements(studio: Studio) -> None:
    scenes = 250
    studio.bring(film(["A red boat"]))
    studio.run()
    [row] = studio.sql("SELECT id FROM generations")

    async def ask(services: Services) -> list[object]:
        histories = FrameHistories(services)
        return list(await asyncio.gather(*(histories.of(row["id"]) for _ in range(scenes))))

    found, statements = counted(studio, ask)

    assert len(found) == scenes
    assert None not in found
    assert statements == 2 * -(-scenes // MAX_BATCH)


def test_what_came_before_a_new_version_is_read_once(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()

    with counting_histories() as asked:
        made = told(regenerate(studio))

    assert len(asked) == 2, "the attempts, and the version before"
    assert made == told(studio.run()), "as a later run reads it"


def test_a_scene_that_is_cut_off_takes_nobody_with_it(studio: Studio) -> None:
    studio.bring(film(["A red boat"]))
    studio.run()
    [row] = studio.sql("SELECT id FROM generations")

    async def ask(services: Services) -> list[object]:
        histories = FrameHistories(services)
        tasks = [asyncio.create_task(histories.of(row["id"])) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # it is the one that reads for all
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    cut_off, *others = studio.do(ask)

    assert isinstance(cut_off, asyncio.CancelledError)
    assert None not in others


def test_an_unknown_generation_has_no_history(studio: Studio) -> None:
    async def ask(services: Services) -> dict[UUID, Any]:
        async with services.pool.connection() as conn:
            return dict(await frame_histories(conn, [uuid.uuid4()]))

    assert studio.do(ask) == {}


def counted(studio: Studio, ask: Any) -> tuple[list[object], int]:
    """What was found, and by how many questions about histories."""
    with counting_histories() as asked:
        return studio.do(ask), len(asked)


@contextmanager
def counting_histories() -> Iterator[list[str]]:
    """The statements about histories that are sent while the block lasts."""
    asked: list[str] = []
    execute = psycopg.AsyncConnection.execute

    async def noting(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if "LATERAL" in str(query) and "%(ids)s" in str(query):
            asked.append(str(query))
        return await execute(self, query, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, "execute", noting)
        yield asked
