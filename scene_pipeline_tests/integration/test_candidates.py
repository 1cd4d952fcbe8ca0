"""Candidates: several pictures of one paid request become versions, one of which is current."""

import multiprocessing
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.database.collection import Amount, mark_leftovers
from scene_pipeline.database.promotion import promote_version
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.failpoints import CANDIDATE_FAILPOINTS, arm
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.reconcile import reconcile
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_heal import store_directory, store_down

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["scene_pipeline_tests.films"])


def work(settings: dict[str, Any], database_url: str) -> None:
    """The body of a worker process."""
    from scene_pipeline.settings import load_settings  # noqa: PLC0415  # in the new process

    Studio(load_settings(**settings), database_url).run()


def with_settings(studio: Studio, **settings: Any) -> Studio:
    return Studio(studio.settings.model_copy(update=settings), studio.database_url)


def ask_for(studio: Studio, candidates: int) -> Run:
    return studio.run(overrides=RequestOverrides(candidates=candidates))


def ask_by_row(studio: Studio, candidates: int) -> None:
    """Ask as another program does: by SQL."""
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
        " SELECT id, 'scene_1', jsonb_build_object('candidates', %s::int) FROM projects",
        candidates,
    )


def versions(studio: Studio) -> list[dict[str, Any]]:
    return [
        dict(row)
        for row in studio.sql(
            "SELECT version, image_index, is_current, rejection IS NOT NULL AS is_rejected,"
            " storage_url, storage_path, sha256 FROM scene_images ORDER BY version"
        )
    ]


def places(studio: Studio) -> list[tuple[int, int, bool]]:
    return [(v["version"], v["image_index"], v["is_current"]) for v in versions(studio)]


def states(studio: Studio) -> list[str]:
    return [row["state"] for row in studio.sql("SELECT state FROM generations ORDER BY seq")]


def test_every_candidate_becomes_a_version_and_the_first_is_current(studio: Studio) -> None:
    studio.bring(film(["A lighthouse at dusk"]))

    run = ask_for(studio, 3)

    assert run.statuses == {"scene_1": "generated"}
    assert places(studio) == [(1, 0, True), (2, 1, False), (3, 2, False)]
    made = versions(studio)
    assert len({version["sha256"] for version in made}) == 3
    assert len({version["storage_path"] for version in made}) == 3
    assert studio.start_frame("scene_1") == made[0]["storage_url"]
    assert states(studio) == ["published"]
    assert_invariants(studio)


def test_candidates_with_the_same_bytes_have_an_object_each(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    plain = with_settings(fal_studio, embed_metadata=False)
    plain.bring(film(["A lighthouse"]))
    fal.faults.add("black_frame")

    with_settings(plain, rejection_reseeds=0).run(overrides=RequestOverrides(candidates=2))

    made = versions(plain)
    assert len({version["sha256"] for version in made}) == 1
    assert len({version["storage_path"] for version in made}) == 2
    assert_invariants(plain)


def test_all_of_them_are_paid_by_one_request_at_the_price_of_each(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse", "A storm"]))
    fal_studio.run("scene_2")

    run = fal_studio.run("scene_1", overrides=RequestOverrides(candidates=4))

    assert len(fal.meter.accepted) == 2
    [one, four] = fal_studio.sql(
        "SELECT estimated_micros, cost_micros, image_count FROM generations ORDER BY seq"
    )
    assert (four["image_count"], one["image_count"]) == (4, 1)
    assert four["estimated_micros"] == 4 * one["estimated_micros"]
    assert four["cost_micros"] == 4 * one["cost_micros"] > 0
    assert run.outcomes["scene_1"].cost_usd * 1_000_000 == four["cost_micros"]
    assert_invariants(fal_studio)


def test_a_cap_holds_for_all_of_them_together(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))

    run = fal_studio.run(overrides=RequestOverrides(candidates=4), max_cost_usd="0.0119")

    assert run.statuses == {"scene_1": "blocked"}
    assert fal.meter.accepted == []


def test_the_first_sound_one_is_current_where_the_first_is_flagged(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal.faults.add("nsfw_first")

    run = ask_for(fal_studio, 3)

    assert run.statuses == {"scene_1": "generated"}
    assert places(fal_studio) == [(1, 0, False), (2, 1, True), (3, 2, False)]
    assert [version["is_rejected"] for version in versions(fal_studio)] == [True, False, False]
    assert run.outcomes["scene_1"].frame is not None
    assert run.outcomes["scene_1"].frame.version == 2
    assert_invariants(fal_studio)


def test_where_all_are_flagged_the_request_failed(fal: FalStandIn, fal_studio: Studio) -> None:
    final = with_settings(fal_studio, rejection_reseeds=0)
    final.bring(film(["A lighthouse"]))
    fal.faults.add("nsfw_flagged")

    run = ask_for(final, 2)

    assert run.statuses == {"scene_1": "failed"}
    assert final.sql("SELECT state, error_code, flagged_input FROM generations") == [
        {"state": "failed", "error_code": "content_rejected", "flagged_input": "output"}
    ]
    assert [version["is_rejected"] for version in versions(final)] == [True, True]
    assert final.start_frame("scene_1") is None


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (["image_gone"], [(1, 0, True), (2, 2, False)]),
        # the further ones are stored before the first
        (["image_lying_type", "image_lying_type", "image_gone"], [(1, 1, True), (2, 2, False)]),
    ],
)
def test_a_candidate_that_is_lost_is_left_out(
    faults: list[str],
    expected: list[tuple[int, int, bool]],
    fal: FalStandIn,
    fal_studio: Studio,
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    for fault in faults:
        fal.faults.add(fault)

    run = ask_for(fal_studio, 3)

    assert run.statuses == {"scene_1": "generated"}
    assert places(fal_studio) == expected
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


def test_more_than_the_model_makes_is_refused_before_it_is_paid(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))

    with pytest.raises(UsageError) as refused:
        ask_for(fal_studio, 5)

    assert refused.value.error_code == "candidates_unsupported"
    assert "fewer candidates" in refused.value.next_action
    assert fal.meter.accepted == []
    assert fal_studio.run().statuses == {"scene_1": "generated"}
    assert_invariants(fal_studio)


def test_while_the_store_is_down_they_wait_at_the_provider(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    ask_by_row(fal_studio, 3)

    with store_down(fal_studio):
        run = fal_studio.run()
        waiting = fal_studio.sql("SELECT state, error_code, error_retryable FROM generations")
    later = fal_studio.run()

    assert run.statuses == {"scene_1": "failed"}
    assert [(row["state"], row["error_retryable"]) for row in waiting] == [("completed", True)]
    assert later.statuses == {"scene_1": "generated"}
    assert places(fal_studio) == [(1, 0, True), (2, 1, False), (3, 2, False)]
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


@pytest.mark.parametrize(
    "failpoint",
    [*CANDIDATE_FAILPOINTS, "after_download", "after_intent", "after_stored", "after_recorded"],
)
def test_killed_at(failpoint: str, fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    ask_by_row(fal_studio, 3)
    given = fal_studio.settings.model_dump() | {"failpoint": f"{failpoint}:kill"}

    worker = processes.Process(target=work, args=(given, fal_studio.database_url))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    rivals = [threading.Thread(target=fal_studio.run) for _ in range(2)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join(60)

    assert places(fal_studio) == [(1, 0, True), (2, 1, False), (3, 2, False)]
    assert fal_studio.sql("SELECT state FROM regeneration_requests") == [{"state": "done"}]
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


def test_what_is_kept_already_is_not_fetched_again_and_not_collected(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    ask_by_row(fal_studio, 2)
    with_settings(fal_studio, failpoint="candidate_after_keep:raise").run()
    arm(None)

    async def collect_at_once(services: Services) -> Amount:
        async with services.pool.connection() as conn:
            return await mark_leftovers(conn, timedelta(0), 100)

    assert fal_studio.do(collect_at_once) == Amount()
    before = len(fal.contacts)
    fal_studio.run()

    fetched = [c.path for c in fal.contacts[before:] if c.host == "v3.fal.media"]
    assert len(fetched) == 1
    assert_invariants(fal_studio)


def test_an_object_that_was_collected_before_it_was_recorded_is_stored_again(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    ask_by_row(fal_studio, 2)
    with_settings(fal_studio, failpoint="after_stored:raise").run()
    arm(None)
    [lost] = fal_studio.sql(
        "UPDATE storage_objects SET state = 'deleted' WHERE key ="
        " (SELECT storage_key FROM generation_images) RETURNING key"
    )
    (store_directory(fal_studio) / lost["key"]).unlink()

    assert fal_studio.run().statuses == {"scene_1": "generated"}

    assert places(fal_studio) == [(1, 0, True), (2, 1, False)]
    assert lost["key"] not in {version["storage_path"] for version in versions(fal_studio)}
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)


def test_a_chosen_candidate_whose_object_is_gone_is_brought_back(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    ask_for(fal_studio, 3)
    third = versions(fal_studio)[2]

    async def choose(services: Services) -> None:
        async with services.pool.connection() as conn:
            [row] = await (await conn.execute("SELECT id FROM projects")).fetchall()
            await promote_version(conn, row["id"], "scene_1", 3)

    fal_studio.do(choose)
    file: Path = store_directory(fal_studio) / third["storage_path"]
    stored = file.read_bytes()
    file.unlink()

    report = fal_studio.do(lambda services: reconcile(services, apply=True))

    assert report.is_clean
    assert file.read_bytes() == stored
    assert fal_studio.start_frame("scene_1") == third["storage_url"]
    assert len(fal.meter.accepted) == 1


def test_asking_again_for_the_same_promotes_instead_of_paying(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    wish = RequestOverrides(candidates=2)
    fal_studio.run(mode="regenerate", token="backfill-1", overrides=wish)

    again = fal_studio.run(mode="regenerate", token="backfill-1", overrides=wish)

    assert again.statuses == {"scene_1": "kept"}
    assert again.outcomes["scene_1"].frame is not None
    assert again.outcomes["scene_1"].frame.version == 1
    assert len(fal.meter.accepted) == 1
    assert_invariants(fal_studio)
