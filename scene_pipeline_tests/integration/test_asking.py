"""What may be asked for with a new version: seeds, words, sizes; and what cannot be."""

import threading
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from scene_pipeline.database.versions import same_request_version
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import fixed_seed, next_seed
from scene_pipeline_tests.films import Studio, assert_invariants, film


def ask(studio: Studio, scene_id: str = "scene_1", **overrides: Any) -> None:
    """Ask for a new version as another program does: by SQL."""
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
        " SELECT id, %s, %s FROM projects",
        scene_id,
        Jsonb(overrides),
    )


def generations(studio: Studio) -> list[dict[str, Any]]:
    return [
        dict(row)
        for row in studio.sql(
            "SELECT seed, prompt, scene_prompt, content_hash, request_hash, request_id, width,"
            " error_code, flagged_input FROM generations ORDER BY seq"
        )
    ]


def seeds(studio: Studio) -> list[int]:
    return [row["seed"] for row in generations(studio)]


def with_policy(policy: str) -> bytes:
    return film(["A lighthouse"], generation={"image_size": "64x64", "seed_policy": policy})


def test_a_fixed_seed_is_the_same_for_every_version(studio: Studio) -> None:
    studio.bring(with_policy("fixed"))
    studio.run()
    ask(studio)
    studio.run()

    [project] = studio.sql("SELECT id FROM projects")
    assert seeds(studio) == [fixed_seed(project["id"], "scene_1")] * 2


def test_a_random_seed_is_another_one_for_every_version(studio: Studio) -> None:
    studio.bring(with_policy("random"))
    studio.run()
    ask(studio)
    studio.run()

    assert len(set(seeds(studio))) == 2


@pytest.mark.parametrize("policy", ["reuse", "increment"])
def test_a_seed_follows_the_current_versions(policy: str, studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    for _ in range(2):
        ask(studio, seed_policy=policy)
        studio.run()

    first, second, third = seeds(studio)
    if policy == "reuse":
        assert first == second == third
    else:
        assert (second, third) == (next_seed(first), next_seed(next_seed(first)))
    assert_invariants(studio)


def test_a_policy_of_the_settings_holds_where_nobody_else_says_one(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"seed_policy": "reuse"})
    reusing = Studio(settings, studio.database_url)
    reusing.bring(film(["A lighthouse"]))
    reusing.run()
    ask(reusing)
    reusing.run()
    ask(reusing, seed_policy="random")
    reusing.run()

    first, second, third = seeds(reusing)
    assert first == second != third


def test_planners_at_once_make_the_same_request_whatever_seed_each_would_choose(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal_studio.run()
    ask(fal_studio, seed_policy="increment")

    planners = [threading.Thread(target=fal_studio.run) for _ in range(3)]
    for planner in planners:
        planner.start()
    for planner in planners:
        planner.join(60)
    fal_studio.run()

    first, second = seeds(fal_studio)
    assert second == next_seed(first)
    assert len(fal.meter.accepted) == 2
    assert_invariants(fal_studio)


def test_other_words_make_a_frame_that_is_up_to_date(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"], style="film still"))
    studio.run()
    ask(studio, prompt="A boat", prompt_suffix="At night.")

    run = studio.run()

    before, after = generations(studio)
    assert after["prompt"] == "A boat\n\nStyle: film still\n\nAt night."
    assert after["scene_prompt"] == before["scene_prompt"] == "A lighthouse"
    assert after["content_hash"] == before["content_hash"]
    assert run.outcomes["scene_1"].frame is not None
    assert studio.start_frame("scene_1") == run.outcomes["scene_1"].frame.url
    assert studio.run(refresh_stale=True).statuses == {"scene_1": "kept"}
    assert_invariants(studio)


def test_another_size_makes_a_frame_that_is_up_to_date(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    ask(studio, image_size="96x48")

    run = studio.run()

    frame = run.outcomes["scene_1"].frame
    assert frame is not None
    assert (frame.width, frame.height) == (96, 48)
    assert studio.run(refresh_stale=True).statuses == {"scene_1": "kept"}
    studio.edit(["generation", "image_size"], "32x32")
    assert studio.run().statuses == {"scene_1": "stale"}
    assert studio.sql("SELECT stale_causes FROM scene_status") == [{"stale_causes": ["size"]}]


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"sed": 7}, "overrides_invalid"),
        ({"candidates": 100}, "overrides_invalid"),
        ({"provider": "nobody"}, "unknown_provider"),
    ],
)
def test_a_request_that_cannot_be_granted_is_told_and_holds_nothing_up(
    overrides: dict[str, Any], code: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse", "A storm"]))
    ask(fal_studio, **overrides)

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "failed", "scene_2": "generated"}
    failure = run.outcomes["scene_1"].failure
    assert failure is not None
    assert failure.code == code
    assert next(
        str(value if name == "provider" else name) for name, value in overrides.items()
    ) in (failure.message)
    assert [accepted.prompt for accepted in fal.meter.accepted] == ["A storm"]


def test_what_is_under_way_is_finished_whatever_is_asked_for_meanwhile(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    fal.faults.add("result_unavailable", times=5)
    assert fal_studio.run().statuses == {"scene_1": "failed"}
    ask(fal_studio, sed=7)

    assert fal_studio.run().statuses == {"scene_1": "generated"}
    assert len(fal.meter.accepted) == 1


@pytest.mark.parametrize(
    ("fault", "flagged"),
    [("content_policy", "prompt"), ("content_policy_reference", "reference")],
)
def test_what_a_content_check_objected_to_is_kept(
    fault: str, flagged: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    settings = fal_studio.settings.model_copy(update={"rejection_reseeds": 0})
    final = Studio(settings, fal_studio.database_url)
    final.bring(film(["A lighthouse"]))
    fal.faults.add(fault)

    assert final.run().statuses == {"scene_1": "failed"}
    [row] = generations(final)
    assert (row["error_code"], row["flagged_input"]) == ("content_rejected", flagged)


def test_the_version_that_the_same_request_made_is_found(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    ask(studio, seed=7)
    studio.run()
    ask(studio, seed=8)
    studio.run()
    [project] = studio.sql("SELECT id FROM projects")

    async def find(services: Services) -> list[int | None]:
        async with services.pool.connection() as conn:
            return [
                await same_request_version(conn, project["id"], scene_id, request_hash)
                for scene_id, request_hash in (
                    ("scene_1", generations(studio)[0]["request_hash"]),
                    ("scene_1", generations(studio)[1]["request_hash"]),
                    ("scene_2", generations(studio)[0]["request_hash"]),
                    ("scene_1", "0" * 64),
                )
            ]

    assert studio.do(find) == [1, 2, None, None]


def test_a_lost_request_is_not_taken_for_an_older_one_with_the_same_seed(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"], generation={"image_size": "64x64", "seed": 7}))
    fal_studio.run()
    ask(fal_studio)
    fal.faults.add("drop_before_accept")

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "generated"}
    first, second = generations(fal_studio)
    assert first["request_id"] != second["request_id"]
    assert len(fal.meter.accepted) == 2
    assert_invariants(fal_studio)


KONTEXT = "fal-ai/flux-pro/kontext"


def picture_at_fal(studio: Studio, scene_id: str) -> str:
    """The address of a picture that everybody can fetch."""
    [row] = studio.sql(
        "SELECT result -> 'images' -> 0 ->> 'url' AS url FROM generations WHERE scene_id = %s",
        scene_id,
    )
    return str(row["url"])


def test_a_picture_that_a_request_names_is_sent_along(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse", "A storm"]))
    fal_studio.run("scene_2")
    url = picture_at_fal(fal_studio, "scene_2")
    ask(fal_studio, references=[url], model=KONTEXT)

    assert fal_studio.run("scene_1").statuses == {"scene_1": "generated"}

    assert fal.jobs.all()[-1].arguments["image_url"] == url
    [row] = fal_studio.sql(
        "SELECT reference_images -> 0 AS sent, content -> 'references' AS content FROM generations"
        " WHERE scene_id = 'scene_1'"
    )
    assert (row["sent"]["url"], row["sent"]["content_type"]) == (url, "image/jpeg")
    assert len(row["sent"]["sha256"]) == 64
    assert row["content"] == []
    assert fal_studio.run(refresh_stale=True).statuses == {"scene_1": "kept", "scene_2": "kept"}
    assert_invariants(fal_studio)


@pytest.mark.parametrize(
    ("reference", "model", "code"),
    [
        ("https://elsewhere.example/a.png", KONTEXT, "blocked_host"),
        ("https://v3.fal.media/files/never.png", KONTEXT, "link_expired"),
        ("https://127.0.0.1/a.png", KONTEXT, "reference_unreachable"),
        ("https://v3.fal.media/files/never.png", "fal-ai/flux/dev", "references_unsupported"),
    ],
)
def test_a_picture_that_cannot_be_sent_is_told_before_anything_is_paid(
    reference: str, model: str, code: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    ask(fal_studio, references=[reference], model=model)

    run = fal_studio.run()

    assert run.statuses == {"scene_1": "failed"}
    assert run.outcomes["scene_1"].failure is not None
    assert run.outcomes["scene_1"].failure.code == code
    assert fal.meter.accepted == []
    assert fal_studio.sql("SELECT state FROM regeneration_requests") == [{"state": "failed"}]
    assert fal_studio.run().statuses == {"scene_1": "generated"}
    assert_invariants(fal_studio)
