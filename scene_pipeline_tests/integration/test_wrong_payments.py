"""Attacks: ways to be paid for something that nobody asked for, or twice for one wish."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.errors import SceneError, UsageError
from scene_pipeline.pipeline.planning import plan
from scene_pipeline.pipeline.planning.survey import ProjectSurvey, survey_project
from scene_pipeline.pipeline.projects.promotion import promote
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.drift import ReconcileReport
from scene_pipeline.pipeline.upkeep.reconcile import reconcile
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider

SUFFIX = "seen at night"


@pytest.fixture
def set_up(provider: ScriptedProvider, database_url: str, tmp_path: Path) -> Studio:
    settings = provider.settings(
        tmp_path / "home",
        ambiguous_settle_seconds=0,
    )
    return Studio(settings, database_url, {"fal": provider})


def stop_at(studio: Studio, place: str, *scene_ids: str, **order: Any) -> None:
    """A run that breaks off at a failpoint."""
    settings = studio.settings.model_copy(update={"failpoint": f"{place}:raise"})
    with suppress(SceneError):
        replace(studio, settings=settings).run(*scene_ids, **order)


def ask(studio: Studio, scene_id: str = "scene_1", **overrides: Any) -> None:
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
        " SELECT id, %s, %s::jsonb FROM projects",
        scene_id,
        json.dumps(overrides),
    )


def requests(studio: Studio) -> list[str]:
    return [r["state"] for r in studio.sql("SELECT state FROM regeneration_requests ORDER BY id")]


def prompts(provider: ScriptedProvider) -> list[str]:
    return [request.prompt for request in provider.accepted.values()]


def write(studio: Studio, prompt: str, scene_id: str = "scene_1") -> None:
    studio.edit(["scenes", scene_id, "scene_frame_prompt"], prompt)


def without_money(studio: Studio) -> Studio:
    settings = studio.settings.model_copy(update={"project_cap_usd": Decimal("0.00001")})
    return replace(studio, settings=settings)


def current(studio: Studio) -> int:
    [row] = studio.sql("SELECT version FROM scene_images WHERE is_current")
    version: int = row["version"]
    return version


BACKFILL: dict[str, Any] = {"mode": "regenerate", "token": "a-backfill"}
WISHES: dict[str, Any] = {**BACKFILL, "overrides": RequestOverrides(prompt_suffix=SUFFIX)}


def test_what_a_dead_backfill_had_planned_is_made_as_it_was_asked_for_and_once(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    stop_at(set_up, "after_plan", "scene_1", **WISHES)

    set_up.run()  # a sensor takes it up, and knows nothing of the backfill's configuration
    set_up.run("scene_1", **WISHES)  # the backfill is tried again

    assert prompts(provider) == ["A lighthouse", f"A lighthouse\n\n{SUFFIX}"]
    assert_invariants(set_up)


def test_what_the_cap_of_a_run_held_back_is_not_bought_by_itself(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))

    set_up.run(max_cost_usd=Decimal("0.0001"))

    [row] = set_up.sql("SELECT take_up_at = 'infinity' AS waits FROM generations")
    assert row == {"waits": True}
    assert set_up.run().statuses == {"scene_1": "generated"}
    assert len(provider.accepted) == 1


def test_a_backfill_that_is_tried_again_leaves_what_people_chose_since(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    set_up.run("scene_1", **BACKFILL)
    ask(set_up)
    set_up.run()
    assert current(set_up) == 3

    again = set_up.run("scene_1", **BACKFILL)

    assert again.statuses == {"scene_1": "kept"}
    assert current(set_up) == 3
    assert len(provider.accepted) == 3
    assert_invariants(set_up)


def remove_first_version(studio: Studio) -> None:
    """As retention does it."""
    studio.sql(
        "WITH said AS (SELECT set_config('scene_pipeline.retention', 'on', true)), less AS ("
        "  UPDATE storage_objects SET refcount = refcount - 1 FROM said"
        "  WHERE key = (SELECT storage_path FROM scene_images WHERE version = 1))"
        " UPDATE scene_images SET storage_status = 'removed', storage_path = NULL,"
        " removed_at = now() FROM said WHERE version = 1"
    )


def test_what_retention_removed_is_made_again_once_and_stops_nobody(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse", "A storm"]))
    set_up.run("scene_1")
    write(set_up, "A harbour")
    set_up.run("scene_1", refresh_stale=True)
    remove_first_version(set_up)
    write(set_up, "A lighthouse")

    first = set_up.run(refresh_stale=True)
    second = set_up.run(refresh_stale=True)

    assert first.statuses == {"scene_1": "generated", "scene_2": "generated"}
    assert second.statuses == {"scene_1": "kept", "scene_2": "kept"}
    assert len(provider.accepted) == 4
    assert_invariants(set_up)


def test_an_address_that_is_dead_is_not_put_into_the_document_again(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    write(set_up, "A harbour")
    set_up.run(refresh_stale=True)
    set_up.sql(
        "UPDATE scene_images SET storage_status = 'external', storage_path = NULL, storage_url ="
        " 'https://gone.example/1.png', external_expires_at = now() - interval '1 hour'"
        " WHERE version = 1; UPDATE generations SET storage_status = 'external', storage_key ="
        " NULL, external_url = 'https://gone.example/1.png' WHERE scene_prompt = 'A lighthouse'"
    )
    write(set_up, "A lighthouse")

    run = set_up.run(refresh_stale=True)

    assert run.statuses == {"scene_1": "generated"}
    assert len(provider.accepted) == 3


Change = Callable[[Studio, str], object]
CHANGES: dict[str, Change] = {
    "edited": lambda studio, scene_id: write(studio, "A harbour", scene_id),
    "removed": lambda studio, scene_id: studio.sql(
        "UPDATE projects SET master_json = master_json #- %s", ["scenes", scene_id]
    ),
    "locked": lambda studio, _: studio.sql("UPDATE scenes SET locked = true"),
    "archived": lambda studio, _: studio.sql("UPDATE projects SET archived_at = now()"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_while_a_scene_waits_for_its_turn_is_seen_before_it_is_paid(
    change: str, provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse", "A storm"]))
    set_up.run()
    settings = set_up.settings.model_copy(update={"generation_concurrency": 1})
    waiting = []

    def change_the_other(request: ImageRequest) -> None:
        provider.before_accepting = lambda _request: None
        waiting.append("scene_2" if request.prompt == "A lighthouse" else "scene_1")
        CHANGES[change](set_up, waiting[0])

    provider.before_accepting = change_the_other

    run = replace(set_up, settings=settings).run(**BACKFILL)

    assert len(provider.accepted) == 3
    failure = run.outcomes[waiting[0]].failure
    assert failure is not None
    assert failure.code == "scene_changed"
    assert run.statuses[waiting[0]] == "stale"


def test_a_locked_frame_is_not_bought_anew_by_what_waited_for_money(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    ask(set_up)
    without_money(set_up).run()
    set_up.sql("UPDATE scenes SET locked = true")

    run = set_up.run()

    assert run.statuses == {"scene_1": "kept"}
    assert len(provider.accepted) == 1
    assert requests(set_up) == ["failed"]
    assert set_up.sql("SELECT error_code FROM regeneration_requests") == [
        {"error_code": "scene_locked"}
    ]
    assert_invariants(set_up)


@pytest.mark.parametrize("how", ["removed", "unusable"])
@pytest.mark.parametrize("place", ["after_post", "after_submitted", "after_completed"])
def test_what_was_paid_for_a_scene_that_is_gone_becomes_a_version(
    place: str, how: str, provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    stop_at(set_up, place)
    if how == "removed":
        set_up.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_1}'")
        set_up.edit(["scenes", "scene_2"], {"scene_frame_prompt": "A storm"})
    else:
        write(set_up, "")

    set_up.run("scene_1")
    assert set_up.sql("SELECT state FROM generations") == [{"state": "superseded"}]
    set_up.edit(["scenes", "scene_1"], {"scene_frame_prompt": "A lighthouse"})

    assert set_up.run("scene_1").statuses == {"scene_1": "kept"}
    assert len(provider.accepted) == 1


def test_what_was_never_sent_for_a_scene_that_is_gone_is_not_sent(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse", "A storm"]))
    stop_at(set_up, "after_permit", "scene_1")
    set_up.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_1}'")

    set_up.run("scene_1")
    set_up.run("scene_1")

    assert provider.accepted == {}
    assert set_up.sql("SELECT * FROM budgets WHERE reserved_micros <> 0") == []


def test_a_wish_for_the_words_of_today_is_not_answered_by_those_of_yesterday(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    stop_at(set_up, "after_submitted", "scene_1", **BACKFILL)
    write(set_up, "A storm")
    ask(set_up)

    set_up.run()
    set_up.run()

    assert prompts(provider) == ["A lighthouse", "A lighthouse", "A storm"]
    assert requests(set_up) == ["done"]
    assert_invariants(set_up)


@pytest.mark.parametrize(("place", "attempts"), [("after_permit", 9), ("after_submitted", 0)])
def test_what_is_paid_after_a_long_wait_is_taken_up_again_soon(
    place: str, attempts: int, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    without_money(set_up).run()
    set_up.sql(
        "UPDATE generations SET take_up_at = now() + interval '1 hour', take_up_attempts = 9"
    )

    stop_at(set_up, place)

    [row] = set_up.sql(
        "SELECT take_up_at < now() + interval '1 minute' AS is_soon, take_up_attempts AS n"
        " FROM generations"
    )
    assert row == {"is_soon": True, "n": attempts}


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 15), (6, 960)])
def test_a_service_that_refuses_again_and_again_is_asked_ever_more_rarely(
    attempts: int, seconds: int, set_up: Studio, provider: ScriptedProvider
) -> None:
    set_up.bring(film(["A lighthouse"]))
    without_money(set_up).run()
    set_up.sql("UPDATE generations SET take_up_attempts = %s", attempts)
    provider.set_fault("too_busy")

    set_up.run()

    [row] = set_up.sql(
        "SELECT state, extract(epoch FROM take_up_at - updated_at)::int AS wait FROM generations"
    )
    assert row["state"] == "planned"
    assert abs(row["wait"] - seconds) < 15


def let_another_run_be_faster(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one run from its beginning to its end while the next one plans: between the look at a
    scene and what is done about it.
    """

    async def look_slowly(*arguments: Any, **options: Any) -> ProjectSurvey:
        survey = await survey_project(*arguments, **options)
        monkeypatch.setattr(plan, "survey_project", survey_project)
        await asyncio.to_thread(studio.run)
        return survey

    monkeypatch.setattr(plan, "survey_project", look_slowly)


@pytest.mark.parametrize("refresh_stale", [False, True])
def test_what_another_run_finishes_during_the_planning_is_not_bought_again(
    refresh_stale: bool,
    provider: ScriptedProvider,
    set_up: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    ask(set_up, prompt_suffix=SUFFIX)
    stop_at(set_up, "after_submitted")
    let_another_run_be_faster(set_up, monkeypatch)

    late = set_up.run(refresh_stale=refresh_stale)

    assert late.statuses == {"scene_1": "kept"}
    assert current(set_up) == 2
    assert len(provider.accepted) == 2
    assert_invariants(set_up)


def test_a_request_that_another_run_answers_during_the_planning_is_not_answered_twice(
    provider: ScriptedProvider, set_up: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    ask(set_up, prompt_suffix=SUFFIX)
    let_another_run_be_faster(set_up, monkeypatch)

    assert set_up.run().statuses == {"scene_1": "kept"}
    assert current(set_up) == 2
    assert len(provider.accepted) == 2


def test_a_version_that_its_provider_lost_is_not_promoted(set_up: Studio) -> None:
    set_up.bring(film(["A lighthouse"]))
    set_up.run()
    set_up.run("scene_1", **BACKFILL)
    set_up.sql(
        "UPDATE scene_images SET storage_status = 'external', storage_path = NULL"
        " WHERE version = 1; "
    )
    set_up.sql(
        "UPDATE generations SET heal_error_code = 'result_lost', heal_error_message = 'gone'"
        " WHERE id = (SELECT generation_id FROM scene_images WHERE version = 1)"
    )

    async def choose(services: Services) -> None:
        async with services.pool.connection() as conn:
            await promote(conn, services.settings, "film", "scene_1", 1)

    with pytest.raises(UsageError) as refused:
        set_up.do(choose)

    assert refused.value.error_code == "version_expired"
    assert current(set_up) == 2


def test_a_frame_that_a_renamed_scene_took_along_is_brought_back(set_up: Studio) -> None:
    set_up.bring(film({"scene_1": "A lighthouse", "scene_2": "A storm"}))
    set_up.run()
    set_up.bring(film({"scene_7": "A lighthouse", "scene_2": "A storm"}), force=True)
    assert set_up.run("scene_7").statuses == {"scene_7": "kept"}
    [row] = set_up.sql("SELECT storage_path FROM scene_images WHERE scene_id = 'scene_7'")
    set_up.sql("UPDATE scene_images SET is_current = false WHERE scene_id = 'scene_1'")

    async def lose_and_reconcile(services: Services) -> ReconcileReport:
        stored = services.store.read(row["storage_path"])
        services.store.delete(row["storage_path"])
        report = await reconcile(services, apply=True)
        assert services.store.read(row["storage_path"]) == stored
        return report

    report = set_up.do(lose_and_reconcile)

    assert [(d.kind, d.status) for d in report.drifts] == [("object_gone", "repaired")]


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"sed": 7}, "overrides_invalid"),
        ({"candidates": 5}, "candidates_unsupported"),
        ({"provider": "nobody"}, "unknown_provider"),
    ],
)
def test_a_request_that_cannot_be_granted_ends_with_its_reason_and_an_alert(
    overrides: dict[str, Any], code: str, provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(film(["A lighthouse"]))
    ask(set_up, **overrides)

    first = set_up.run()
    second = set_up.run()

    assert first.statuses == {"scene_1": "failed"}
    assert second.statuses == {"scene_1": "generated"}
    assert set_up.sql("SELECT state, error_code FROM regeneration_requests") == [
        {"state": "failed", "error_code": code}
    ]
    assert set_up.sql("SELECT code FROM alerts") == [{"code": code}]
    assert len(provider.accepted) == 1


def test_a_wish_whose_provider_has_no_key_is_told(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.run()
    ask(studio, provider="fal")

    assert studio.run().statuses == {"scene_1": "blocked"}

    assert studio.sql("SELECT code FROM alerts") == [{"code": "fal_key_missing"}]
    assert studio.sql("SELECT state FROM scene_status") == [{"state": "blocked"}]
