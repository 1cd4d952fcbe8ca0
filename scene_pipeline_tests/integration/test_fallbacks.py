"""Named fallbacks: who makes a frame where the first model cannot, what is paid, what is told."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, ReferenceLimits
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import Run, Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_continuity import grouped_film, studio_with
from scene_pipeline_tests.integration.test_crashes import finish_racing, start_worker
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider, scripted_provider

SCHNELL, DEV = "fal-ai/flux/schnell", "fal-ai/flux/dev"
DEV_PRICE = Decimal("0.025")
OFFLINE = ("offline", "offline/landscape")
REPLICATE = ("replicate", "black-forest-labs/flux-schnell")


def with_settings(studio: Studio, **settings: Any) -> Studio:
    return replace(studio, settings=studio.settings.model_copy(update=settings))


def set_fallbacks(studio: Studio, *fallbacks: tuple[str, str], key: str = "film") -> None:
    """As another program does: by plain SQL."""
    listed = [{"provider": provider, "model": model} for provider, model in fallbacks]
    studio.sql("UPDATE projects SET fallbacks = %s::jsonb WHERE key = %s", json.dumps(listed), key)


def note_of(run: Run, scene_id: str = "scene_1") -> tuple[str, str]:
    failure = run.outcomes[scene_id].failure
    assert failure is not None
    return failure.code, failure.message


def attempts(studio: Studio) -> list[tuple[int, str, str, str]]:
    rows = studio.sql("SELECT rung, provider, endpoint, state FROM generations ORDER BY seq")
    return [(row["rung"], row["provider"], row["endpoint"], row["state"]) for row in rows]


def refusing(
    code: str, *, asked: list[str] | None = None, only: str | None = None, **error: Any
) -> Callable[[ImageRequest], None]:
    """A service that refuses every request, or those for one model, before it accepts them."""

    def refuse(request: ImageRequest) -> None:
        if asked is not None:
            asked.append(request.endpoint)
        if only in (None, request.endpoint):
            raise ProviderError("No.", code=code, **({"charge": "not_charged"} | error))

    return refuse


@pytest.fixture
def scripted(provider: ScriptedProvider, database_url: str, tmp_path: Path) -> Studio:
    """A film of one scene, made by a scripted service, or else by the offline provider."""
    studio = studio_with(provider, database_url, tmp_path)
    studio.bring(film(["A lighthouse"]))
    set_fallbacks(studio, OFFLINE)
    return studio


@pytest.fixture
def replicate() -> Iterator[ScriptedProvider]:
    """A second service, with a meter of its own."""
    with scripted_provider() as running:
        running.name = "replicate"
        yield running


@pytest.fixture
def two_services(
    provider: ScriptedProvider, replicate: ScriptedProvider, database_url: str, tmp_path: Path
) -> Studio:
    hosts = ",".join(one.site_url.removeprefix("http://") for one in (provider, replicate))
    settings = provider.settings(
        tmp_path / "home", asset_host_allowlist=hosts, trusted_private_hosts=hosts
    )
    studio = Studio(settings, database_url, {"fal": provider, "replicate": replicate})
    studio.bring(film(["A lighthouse"]))
    return studio


def test_a_fallback_makes_the_frame_and_every_place_says_so(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    provider.before_accepting = refusing("model_unknown")
    story = (
        f"{SCHNELL} at fal is not known there; made by fallback 1 of 1: offline/landscape at"
        " offline"
    )

    run = scripted.run()

    assert run.statuses == {"scene_1": "generated"}
    assert note_of(run) == ("made_by_fallback", f"{story}.")
    outcome = run.outcomes["scene_1"]
    assert outcome.cost_usd == 0
    assert outcome.frame is not None
    assert (outcome.frame.provider, outcome.frame.model) == OFFLINE
    [told] = [e for e in run.events if getattr(e, "stage", "") == "generated_frame"]
    assert told.facts["fallback"] == story  # type: ignore[union-attr]  # a stage that is done
    assert scripted.sql("SELECT provider FROM scene_images") == [{"provider": "offline"}]
    [event] = scripted.sql("SELECT data FROM pipeline_events WHERE kind = 'generation_fallback'")
    assert event["data"] == {
        "number": 1,
        "of": 1,
        "because": f"{SCHNELL} at fal is not known there",
        "provider": "offline",
        "model": "offline/landscape",
    }
    [status] = scripted.sql("SELECT state, current_fallback FROM scene_status")
    assert status["state"] == "current"
    assert status["current_fallback"]["number"] == 1
    assert not provider.charges
    assert_invariants(scripted)


def test_a_later_run_keeps_it_and_a_new_version_begins_with_the_first_model(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    provider.before_accepting = refusing("model_unknown")
    scripted.run()
    provider.before_accepting = lambda _request: None

    kept = scripted.run()
    again = scripted.run(mode="regenerate", token="again")

    assert kept.statuses == {"scene_1": "kept"}
    assert again.statuses == {"scene_1": "generated"}
    assert again.outcomes["scene_1"].failure is None
    assert [request.endpoint for request in provider.accepted.values()] == [SCHNELL]
    assert_invariants(scripted)


def test_what_may_pass_is_tried_three_times_first(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    asked: list[str] = []
    provider.before_accepting = refusing("provider_unavailable", asked=asked, retryable=True)

    run = scripted.run()

    assert note_of(run)[0] == "made_by_fallback"
    assert len(asked) == 3
    assert_invariants(scripted)


def test_without_fallbacks_the_row_stays_planned_for_the_next_run(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    set_fallbacks(scripted)
    asked: list[str] = []
    provider.before_accepting = refusing("rate_limited", asked=asked, retryable=True)

    failed = scripted.run()
    provider.before_accepting = lambda _request: None
    made = scripted.run()

    assert failed.statuses == {"scene_1": "failed"}
    assert note_of(failed) == ("rate_limited", "No.")
    assert len(asked) == 3
    assert made.statuses == {"scene_1": "generated"}
    assert attempts(scripted) == [(0, "fal", SCHNELL, "published")]


def test_the_other_scenes_do_not_try_a_service_that_refuses_everything(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    studio = studio_with(provider, database_url, tmp_path, generation_concurrency=1)
    studio.bring(film([f"Scene {number}" for number in range(5)]))
    set_fallbacks(studio, OFFLINE)
    studio.bring(film(["Alone"], key="other"))
    asked: list[str] = []
    provider.before_accepting = refusing("balance_exhausted", asked=asked, stops_the_line=True)

    run = studio.run()
    alone = studio.run("scene_1", key="other")

    assert set(run.statuses.values()) == {"generated"}
    assert {note_of(run, scene_id)[0] for scene_id in run.statuses} == {"made_by_fallback"}
    assert len(asked) == 2, "once in each run"
    assert alone.statuses == {"scene_1": "failed"}
    assert note_of(alone)[0] == "balance_exhausted"


@pytest.mark.parametrize(
    "fault", ["lost_and_history_down", "dies_charged", "refused", "does_not_answer"]
)
def test_what_may_have_cost_something_or_is_no_services_fault_is_nobody_elses(
    fault: Any, provider: ScriptedProvider, scripted: Studio
) -> None:
    provider.set_fault(fault)

    replace(with_settings(scripted, ambiguous_patience_seconds=0), hurries=True).run()

    assert [rung for rung, *_ in attempts(scripted)] == [0]


def test_a_refused_question_about_an_accepted_request_is_no_reason(
    provider: ScriptedProvider, scripted: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise ProviderError("No.", code="key_rejected", retryable=False, stops_the_line=True)

    monkeypatch.setattr(provider, "poll", refuse)

    run = scripted.run()

    assert run.statuses == {"scene_1": "failed"}
    assert attempts(scripted) == [(0, "fal", SCHNELL, "failed")]
    assert sorted(provider.charges.values()) == [1]


def test_a_request_that_ended_unpaid_at_the_runner_is_made_by_another(
    provider: ScriptedProvider, scripted: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> Any:
        raise ProviderError("No.", code="runner_failed", retryable=True, charge="not_charged")

    monkeypatch.setattr(provider, "poll", break_down)

    run = scripted.run()

    assert note_of(run)[1].startswith(f"{SCHNELL} at fal broke down; made by fallback 1 of 1")
    assert len(provider.accepted) == 3


def test_a_submit_in_doubt_before_it_forbids_a_fallback(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    stopped = with_settings(scripted, failpoint="after_plan:raise")
    with pytest.raises(Exception, match="after_plan"):
        stopped.run()
    scripted.sql("UPDATE generations SET doubtful_submits = 1, doubtful_since = now()")
    provider.before_accepting = refusing("model_unknown")

    run = scripted.run()

    assert run.statuses == {"scene_1": "failed"}
    assert [rung for rung, *_ in attempts(scripted)] == [0]


def test_a_cap_and_an_unknown_price_of_the_first_model_are_no_reason(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    capped = scripted.run(max_cost_usd=Decimal("0.001"))
    unknown = with_settings(scripted, model="fal-ai/no-price-known").run(
        mode="regenerate", token="again"
    )

    assert [note_of(run)[0] for run in (capped, unknown)] == ["budget_exhausted", "price_unknown"]
    assert not provider.charges
    assert {rung for rung, *_ in attempts(scripted)} == {0}


def test_a_missing_key_of_the_first_service_is_a_reason(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    keyless = Studio(
        scripted.settings.model_copy(update={"fal_key": None, "provider": "fal"}),
        scripted.database_url,
    )

    run = keyless.run()

    assert note_of(run)[1].startswith(f"{SCHNELL} at fal has no key; made by fallback 1 of 1")
    assert not provider.accepted
    assert_invariants(scripted)


def test_a_fallback_that_cannot_be_used_is_passed_over_and_said(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    set_fallbacks(scripted, REPLICATE, ("fal", "fal-ai/no-price-known"), OFFLINE)
    provider.before_accepting = refusing("model_unknown", only=SCHNELL)

    run = scripted.run()

    assert note_of(run)[1] == (
        f"{SCHNELL} at fal is not known there; black-forest-labs/flux-schnell at replicate was"
        " passed over: its key is missing; fal-ai/no-price-known at fal was passed over: its price"
        " is unknown; made by fallback 3 of 3: offline/landscape at offline."
    )


def test_where_nobody_else_can_be_asked_the_scene_fails_as_ever_and_says_why(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    set_fallbacks(scripted, REPLICATE)
    provider.before_accepting = refusing("model_unknown")

    run = scripted.run()

    code, message = note_of(run)
    assert code == "model_unknown"
    assert message.startswith("No. No fallback was asked:")
    assert "its key is missing" in message
    assert attempts(scripted) == [(0, "fal", SCHNELL, "failed")]


def test_a_list_that_another_program_spoilt_is_told_and_the_rest_of_it_used(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    scripted.sql(
        "UPDATE projects SET fallbacks = %s::jsonb",
        '[7, {"provider": "nobody", "model": "m"}, {"provider": "offline", "model": "o"}]',
    )
    provider.before_accepting = refusing("model_unknown")

    run = scripted.run()

    message = note_of(run)[1]
    assert "fallback 1: it names no provider" in message
    assert "fallback 2: there is no provider 'nobody'" in message
    assert message.endswith("made by fallback 3 of 3: o at offline.")


def test_every_model_has_its_own_price_and_no_others_steps(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    set_fallbacks(scripted, ("fal", DEV), OFFLINE)
    provider.before_accepting = refusing("size_unsupported", only=SCHNELL)
    wishes = RequestOverrides(steps=3, candidates=2)

    capped = scripted.run(overrides=wishes, max_cost_usd=Decimal("0.01"))
    made = scripted.run()

    assert note_of(capped)[0] == "budget_exhausted"
    assert made.outcomes["scene_1"].cost_usd == DEV_PRICE
    [request] = provider.accepted.values()
    assert (request.endpoint, request.steps, request.image_count) == (DEV, None, 1)
    assert note_of(made)[1].endswith(f"made by fallback 1 of 2: {DEV} at fal.")
    assert_invariants(scripted)


def test_fallbacks_are_asked_in_order_and_the_first_model_again_in_the_next_run(
    provider: ScriptedProvider, replicate: ScriptedProvider, two_services: Studio
) -> None:
    set_fallbacks(two_services, REPLICATE)
    provider.before_accepting = refusing("model_unknown")
    replicate.before_accepting = refusing("model_unknown")
    both_down = [two_services.run(), two_services.run()]
    provider.before_accepting = lambda _request: None

    made = two_services.run()

    assert [run.statuses["scene_1"] for run in both_down] == ["failed", "failed"]
    assert "Failed before: fal-ai/flux/schnell at fal is not known" in note_of(both_down[0])[1]
    assert made.statuses == {"scene_1": "generated"}
    assert made.outcomes["scene_1"].failure is None
    assert attempts(two_services) == [
        (1, *REPLICATE, "failed"),
        (0, "fal", SCHNELL, "published"),
    ]
    assert (sum(provider.charges.values()), sum(replicate.charges.values())) == (1, 0)


def test_what_is_told_of_one_scene_is_not_told_of_the_next(
    provider: ScriptedProvider, replicate: ScriptedProvider, two_services: Studio
) -> None:
    two_services.bring(film(["One", "Two", "Three"], key="other"))
    set_fallbacks(two_services, REPLICATE, key="other")
    provider.before_accepting = refusing("model_unknown")
    replicate.before_accepting = refusing("balance_exhausted", stops_the_line=True)

    run = two_services.run("scene_1", "scene_2", "scene_3", key="other")

    told = {note_of(run, scene_id)[1] for scene_id in run.statuses}
    assert told == {f"No. Failed before: {SCHNELL} at fal is not known there."}


def test_the_place_of_a_fallback_that_cost_nothing_is_taken_by_another(
    provider: ScriptedProvider, replicate: ScriptedProvider, two_services: Studio
) -> None:
    set_fallbacks(two_services, REPLICATE)
    provider.before_accepting = refusing("model_unknown")
    replicate.before_accepting = refusing("model_unknown")
    two_services.run()
    set_fallbacks(two_services, OFFLINE)

    made = two_services.run()

    assert note_of(made)[1].endswith("made by fallback 1 of 1: offline/landscape at offline.")
    assert [(rung, name) for rung, name, *_ in attempts(two_services)] == [
        (0, "fal"),
        (1, "offline"),
    ]
    assert not provider.charges + replicate.charges


def test_a_list_that_is_changed_while_a_run_is_on_holds_from_then_on(
    provider: ScriptedProvider, replicate: ScriptedProvider, two_services: Studio
) -> None:
    def change_and_refuse(_request: ImageRequest) -> None:
        set_fallbacks(two_services, REPLICATE)
        raise ProviderError("No.", code="model_unknown", charge="not_charged")

    provider.before_accepting = change_and_refuse
    # What was planned from the list stays, whatever becomes of the list.
    replicate.before_accepting = lambda _request: set_fallbacks(two_services)

    run = two_services.run()

    assert note_of(run)[1].endswith(f"fallback 1 of 1: {REPLICATE[1]} at replicate.")
    assert (len(provider.accepted), len(replicate.accepted)) == (0, 1)
    assert_invariants(two_services)


def test_two_projects_have_lists_of_their_own(
    provider: ScriptedProvider, replicate: ScriptedProvider, two_services: Studio
) -> None:
    two_services.bring(film(["A storm"], key="other"))
    set_fallbacks(two_services, OFFLINE)
    set_fallbacks(two_services, REPLICATE, key="other")
    provider.before_accepting = refusing("model_unknown")

    frames = [
        two_services.run("scene_1", key=key).outcomes["scene_1"].frame for key in ("film", "other")
    ]

    assert [frame.provider for frame in frames if frame] == ["offline", "replicate"]
    assert len(replicate.accepted) == 1


def test_a_request_stays_open_until_a_fallback_has_answered_it(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    scripted.run()
    provider.before_accepting = refusing("model_unknown")
    scripted.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id) SELECT id, 'scene_1'"
        " FROM projects"
    )

    run = scripted.run()

    assert run.statuses == {"scene_1": "generated"}
    assert scripted.sql(
        "SELECT r.state, g.provider FROM regeneration_requests r"
        " JOIN generations g ON g.id = r.generation_id"
    ) == [{"state": "done", "provider": "offline"}]


def test_a_repeated_order_that_failed_everywhere_begins_with_the_first_model(
    provider: ScriptedProvider, replicate: ScriptedProvider, two_services: Studio
) -> None:
    set_fallbacks(two_services, REPLICATE)
    two_services.run()
    provider.before_accepting = refusing("model_unknown")
    replicate.before_accepting = refusing("model_unknown")
    failed = two_services.run(mode="regenerate", token="backfill-1")
    provider.before_accepting = lambda _request: None

    made = two_services.run(mode="regenerate", token="backfill-1")
    repeated = two_services.run(mode="regenerate", token="backfill-1")

    assert failed.statuses == {"scene_1": "failed"}
    assert made.statuses == {"scene_1": "generated"}
    assert repeated.statuses == {"scene_1": "kept"}
    assert (len(provider.accepted), len(replicate.accepted)) == (2, 0)


def test_a_rejection_goes_down_the_ladder_before_the_list(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    studio = with_settings(scripted, rejection_fallback_model=DEV)
    asked: list[str] = []
    provider.before_accepting = refusing("content_rejected", asked=asked, flagged_input="prompt")

    run = studio.run()

    assert asked == [SCHNELL, DEV]
    assert note_of(run)[1] == (
        f"{SCHNELL} at fal: the prompt was refused; {DEV} at fal: the prompt was refused; made by"
        " fallback 1 of 1: offline/landscape at offline."
    )
    assert_invariants(studio)


def test_a_flagged_picture_that_was_paid_is_followed_by_a_fallback(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    provider.set_fault("blank")

    run = scripted.run()

    assert len(provider.accepted) == 2, "the first one, and another seed"
    assert run.statuses == {"scene_1": "generated"}
    assert note_of(run)[0] == "made_by_fallback"
    assert run.outcomes["scene_1"].cost_usd == 2 * Decimal("0.003")
    assert_invariants(scripted)


def test_a_refused_reference_is_shown_to_nobody_else(
    provider: ScriptedProvider, scripted: Studio
) -> None:
    provider.before_accepting = refusing("content_rejected", flagged_input="reference")

    assert scripted.run().statuses == {"scene_1": "failed"}
    assert [rung for rung, *_ in attempts(scripted)] == [0]


@pytest.mark.parametrize(
    ("of_dev", "expected"), [(0, "offline"), (1, "fal")], ids=["passed over", "asked"]
)
def test_references_go_to_a_fallback_that_takes_them(
    of_dev: int,
    expected: str,
    provider: ScriptedProvider,
    scripted: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def limits(endpoint: str) -> ReferenceLimits:
        return ReferenceLimits(max_count=of_dev if endpoint == DEV else 0)

    monkeypatch.setattr(provider, "reference_limits", limits)
    set_fallbacks(scripted, ("fal", DEV), OFFLINE)
    picture = f"{provider.site_url}/request-0.png"
    scripted.run("scene_1")  # so that there is a picture at that address

    run = scripted.run(
        mode="regenerate", token="again", overrides=RequestOverrides(references=(picture,))
    )

    words = f"{DEV} at fal was passed over: it takes no reference pictures"
    assert (words in note_of(run)[1]) == (of_dev == 0)
    assert "does not take as many reference pictures" in note_of(run)[1]
    frame = run.outcomes["scene_1"].frame
    assert frame is not None
    assert frame.provider == expected


def test_a_model_after_a_rejection_is_not_asked_without_the_pictures_that_were_named(
    provider: ScriptedProvider, scripted: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_fallbacks(scripted)
    scripted.run("scene_1")  # so that there is a picture at its address
    paid = len(provider.accepted)

    def limits(endpoint: str) -> ReferenceLimits:
        return ReferenceLimits(max_count=0 if endpoint == DEV else 1)

    monkeypatch.setattr(provider, "reference_limits", limits)
    monkeypatch.setattr(
        "scene_pipeline.pipeline.making.named_references.is_reachable", lambda _url: True
    )
    provider.set_fault("blank")
    strict = with_settings(scripted, rejection_reseeds=0, rejection_fallback_model=DEV)
    picture = f"{provider.site_url}/request-0.png"

    run = strict.run(
        mode="regenerate", token="again", overrides=RequestOverrides(references=(picture,))
    )

    assert run.statuses == {"scene_1": "failed"}
    assert len(provider.accepted) == paid + 1


def test_pictures_that_cannot_be_brought_there_are_tried_three_times_first(
    provider: ScriptedProvider,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploads: list[bytes] = []

    def refuse(data: bytes, _content_type: str) -> str:
        uploads.append(data)
        raise ProviderError("No.", code="upload_failed", retryable=True, charge="not_charged")

    monkeypatch.setattr(provider, "upload_reference", refuse, raising=False)
    provider.reference_limit = 1
    studio = studio_with(provider, database_url, tmp_path, fal_use_upload=True)
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))
    set_fallbacks(studio, OFFLINE)

    run = studio.run()

    assert len(uploads) == 3
    assert "took no reference pictures into its storage; made by" in note_of(run, "two")[1]
    assert run.outcomes["one"].failure is None
    assert len(provider.accepted) == 1


def test_at_fal_another_model_is_paid_once(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    set_fallbacks(fal_studio, ("fal", DEV), OFFLINE)
    fal.faults.add("model_missing")

    run = fal_studio.run()

    assert [submit.endpoint for submit in fal.meter.accepted] == [DEV]
    assert run.outcomes["scene_1"].cost_usd == DEV_PRICE
    assert_invariants(fal_studio)


@pytest.mark.parametrize("failpoint", ["before_post", "after_rung", "after_submitted"])
def test_killed_around_the_change_of_model(
    failpoint: str, fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse [[fault:model_missing*1]]"]))
    set_fallbacks(fal_studio, ("fal", DEV))

    worker = start_worker(fal_studio, failpoint=f"{failpoint}:kill")
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    runs = finish_racing(fal_studio)

    assert {run.statuses["scene_1"] for run in runs} <= {"generated", "kept"}
    assert attempts(fal_studio) == [(0, "fal", SCHNELL, "failed"), (1, "fal", DEV, "published")]
    assert [submit.endpoint for submit in fal.meter.accepted] == [DEV]
    assert_invariants(fal_studio)


def test_two_workers_fall_back_once(fal: FalStandIn, fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene {number} [[fault:model_missing*1]]" for number in range(4)]))
    set_fallbacks(fal_studio, ("fal", DEV))

    runs = finish_racing(fal_studio)

    assert {s for run in runs for s in run.statuses.values()} <= {"generated", "kept"}
    assert [submit.endpoint for submit in fal.meter.accepted] == [DEV] * 4
    told = sum(outcome.cost_usd for run in runs for outcome in run.outcomes.values())
    assert told == 4 * DEV_PRICE
    assert_invariants(fal_studio)
