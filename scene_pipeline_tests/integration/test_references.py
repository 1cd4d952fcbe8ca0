"""Pictures that a document names: found, checked before anything is paid, sent, and compared."""

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.database.projects import get_project, load_document
from scene_pipeline.pipeline.due.changes import changes
from scene_pipeline.pipeline.due.launches import Wish
from scene_pipeline.pipeline.orders import StageDone
from scene_pipeline.pipeline.projects.scene_rows import request_defaults, synchronise
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest, ReferenceLimits
from scene_pipeline.providers.registry import reference_limits
from scene_pipeline.scenes.document import read_document
from scene_pipeline_tests.films import Studio, assert_invariants
from scene_pipeline_tests.reference_films import (
    HERO,
    MOOD,
    OTHER_HERO,
    PLACE,
    PictureSite,
    add,
    film,
    picture_site,
    plan,
    reasons,
    reference_studio,
    scene_of,
    sent_bytes,
    states,
)
from scene_pipeline_tests.standins.pictures import animated, scene_file
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider

TAKES_NONE, ALSO_NONE, TAKES_SOME = (
    "fal-ai/flux/schnell", "fal-ai/flux/dev", "fal-ai/flux-2/edit"
)  # fmt: skip


@pytest.fixture
def site() -> Iterator[PictureSite]:
    with picture_site() as site:
        yield site


@pytest.fixture
def made(
    database_url: str, tmp_path: Path, provider: ScriptedProvider, site: PictureSite
) -> Studio:
    return reference_studio(database_url, tmp_path / "home", provider, site)


def code_of(studio: Studio, scene_id: str = "one") -> str:
    run = studio.run(scene_id)
    failure = run.outcomes[scene_id].failure
    assert run.statuses == {scene_id: "blocked"}
    assert failure is not None
    return failure.code


def test_one_of_three_pictures_is_replaced_half_way(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    hero, place = add(made, HERO, "hero.png"), add(made, PLACE, "harbour.png")
    mood = site.put("/mood.png?signature=secret", MOOD)
    made.bring(
        film(
            {
                "one": [f"asset:{hero}", f"asset:{place}", mood],
                "two": [f"asset:{place}"],
                "three": [f"asset:{hero}"],
                "four": [mood, f"asset:{hero}"],
                "five": [],
            }
        )
    )
    assert set(made.run("one", "two", "five").statuses.values()) == {"generated"}
    before = {scene_of(request): request for request in provider.accepted.values()}
    assert [hashlib.sha256(data).hexdigest() for data in sent_bytes(before["one"])] == [
        sent.sha256 for sent in before["one"].references
    ]
    assert before["five"].references == ()

    # Half-way: two scenes are made, one of them with the hero; two are not.
    add(made, OTHER_HERO, "hero.png", replace=hero)
    words = f"edited since: reference asset:{hero} (hero.png) was replaced"
    seen = reasons(made)
    run = made.run()

    assert seen["one"] == words
    assert (seen["two"], seen["five"]) == ("up to date", "up to date")
    assert run.statuses == {
        "one": "stale",
        "two": "kept",
        "three": "generated",
        "four": "generated",
        "five": "kept",
    }
    again = made.run(refresh_stale=True)
    assert again.statuses == {
        "one": "generated",
        "two": "kept",
        "three": "kept",
        "four": "kept",
        "five": "kept",
    }
    after = {scene_of(request): request for request in provider.accepted.values()}
    assert after["one"].references[0].sha256 == after["three"].references[0].sha256
    assert after["one"].references[0].sha256 != before["one"].references[0].sha256
    assert after["one"].references[1:] == before["one"].references[1:]
    assert len(provider.accepted) == sum(provider.charges.values()) == 6
    assert set(states(made).values()) == {"current"}
    assert "secret" not in json.dumps(reasons(made))
    assert_invariants(made)


def test_a_picture_that_is_replaced_while_its_scene_is_made_is_never_sent_as_the_other(
    provider: ScriptedProvider, made: Studio
) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"], "two": [f"asset:{hero}"]}))
    replaced = threading.Event()

    def replace_once(_request: ImageRequest) -> None:
        if not replaced.is_set():
            replaced.set()
            thread = threading.Thread(
                target=add, args=(made, OTHER_HERO, "hero.png"), kwargs={"replace": hero}
            )
            thread.start()
            thread.join(30)

    provider.before_accepting = replace_once
    made = Studio(
        made.settings.model_copy(update={"generation_concurrency": 1}),
        made.database_url,
        made.providers,
    )
    run = made.run()

    first, late = sorted(run.statuses.values())
    assert (first, late) == ("blocked", "generated"), run.statuses
    blocked = next(o for o in run.outcomes.values() if o.status == "blocked")
    assert blocked.failure is not None
    assert blocked.failure.code == "reference_changed"
    [sent] = provider.accepted.values()
    [digest] = [picture.sha256 for picture in sent.references]
    assert made.run(refresh_stale=True).statuses == {"one": "generated", "two": "generated"}
    now = {picture.sha256 for r in list(provider.accepted.values())[1:] for picture in r.references}
    assert len(now) == 1
    assert digest not in now
    assert len(provider.accepted) == 3
    assert_invariants(made)


def test_other_bytes_at_an_address_are_found_by_the_next_plan(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    mood = site.put("/mood.png", MOOD)
    made.bring(film({"one": [mood], "two": []}))
    made.run()
    fetched = site.count("GET")

    assert reasons(made, asks_servers=True)["one"] == "up to date"
    assert site.count("GET") == fetched, "an unchanged picture is not fetched again"
    site.put("/mood.png", OTHER_HERO)
    assert reasons(made)["one"] == "up to date", "nobody was asked"
    shown = f"edited since: reference {mood} was replaced"
    assert reasons(made, asks_servers=True) == {"one": shown, "two": "up to date"}
    assert states(made)["one"] == "current", "looking changes no scene"
    assert made.run(refresh_stale=True).statuses == {"one": "generated", "two": "kept"}
    assert len(provider.accepted) == 3


def test_a_server_that_is_down_makes_nothing_stale_and_holds_back_what_needs_it(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    mood = site.put("/mood.png", MOOD)
    made.bring(film({"one": [mood], "two": [mood]}))
    made.run("one")
    site.is_down = True

    run = made.run(refresh_stale=True)

    assert run.statuses == {"one": "kept", "two": "blocked"}
    assert run.outcomes["two"].failure is not None
    assert run.outcomes["two"].failure.code == "reference_unreachable"
    assert states(made) == {"one": "current", "two": "blocked"}
    assert len(provider.accepted) == 1
    site.is_down = False
    assert made.run().statuses == {"one": "kept", "two": "generated"}
    assert_invariants(made)


def test_a_foreign_picture_that_changes_after_it_was_settled_is_not_sent(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    mood = site.put("/mood.png", MOOD)
    made.bring(film({"one": [mood], "two": [mood]}))

    def exchange(_request: ImageRequest) -> None:
        site.put("/mood.png", OTHER_HERO)

    provider.before_accepting = exchange
    slow = made.settings.model_copy(update={"generation_concurrency": 1})

    run = Studio(slow, made.database_url, made.providers).run()

    assert sorted(run.statuses.values()) == ["blocked", "generated"]
    again = made.run(refresh_stale=True)
    assert again.statuses == {"one": "generated", "two": "generated"}
    assert len(provider.accepted) == 3
    assert_invariants(made)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("asset:noor-portrait", "reference_missing"),
        (f"asset:ast_{'0' * 26}", "reference_missing"),
        (f"asset:frm_{'0' * 32}", "reference_missing"),
        ("assets/images/never.png", "reference_missing"),
        ("portrait of Noor", "reference_missing"),
        ("https://elsewhere.example/a.png", "reference_refused"),
        ("/gone.png", "reference_missing"),
        ("/moving.png", "reference_animated"),
        ("/page.png", "reference_refused"),
    ],
)
def test_what_cannot_be_sent_blocks_its_scene_and_costs_nothing(
    reference: str, code: str, provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    site.put("/moving.png", animated("PNG"))
    site.put("/page.png", b"<html>" * 100)
    if reference.startswith("/"):
        reference = f"http://{site.host}{reference}"
    made.bring(film({"one": [reference], "two": []}))

    told = reasons(made, asks_servers=True)
    outcome = plan(made).scenes[0].scene
    run = made.run()

    assert told["one"].startswith("blocked: Reference "), told
    assert outcome.blocked is not None
    assert outcome.blocked.code == code
    assert plan(made).preview.estimated_micros == 0
    assert run.statuses == {"one": "blocked", "two": "generated"}
    assert run.outcomes["one"].failure is not None
    assert run.outcomes["one"].failure.code == code
    assert run.outcomes["one"].failure.next_action
    assert states(made) == {"one": "blocked", "two": "current"}
    assert len(provider.accepted) == 1


def test_a_picture_that_is_gone_is_gone_however_often_it_is_asked_about(
    made: Studio, site: PictureSite
) -> None:
    made.bring(film({"one": [site.put("/hero.png", HERO)]}))
    assert reasons(made, asks_servers=True) == {"one": "no frame yet"}
    site.files.clear()

    told = [reasons(made, asks_servers=True)["one"] for _ in range(3)]

    assert [reason.partition(":")[0] for reason in told] == ["blocked"] * 3


def test_a_scene_that_a_fallback_takes_over_is_told_as_its_run_makes_it(
    provider: ScriptedProvider, made: Studio, site: PictureSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first model takes no pictures, nor does the first fallback; the second one does."""
    monkeypatch.setattr(provider, "reference_limits", partial(reference_limits, "fal"))
    studio = replace(made, settings=made.settings.model_copy(update={"model": TAKES_NONE}))
    picture = site.put("/hero.png", HERO)
    studio.bring(film({"one": [picture]}))
    listed = [("replicate", "no/key"), ("fal", ALSO_NONE), ("fal", TAKES_SOME)]
    entries = json.dumps([{"provider": name, "model": model} for name, model in listed])

    alone = plan(studio, asks_servers=True).scenes[0].scene
    studio.sql("UPDATE projects SET fallbacks = %s::jsonb", entries)
    told = plan(studio).scenes[0].scene
    run = studio.run()

    assert alone.blocked is not None
    assert alone.blocked.code == "references_unsupported"
    assert told.blocked is None
    assert told.decision.action == "generate"
    assert f"Fallback 3 of 3 is asked: {TAKES_SOME} at fal." in told.decision.reason
    assert told.next_estimate is not None
    assert told.next_estimate != told.estimate
    assert run.statuses == {"one": "generated"}
    assert run.outcomes["one"].failure is not None
    assert f"made by fallback 3 of 3: {TAKES_SOME}" in run.outcomes["one"].failure.message


def test_what_a_fallback_cannot_be_sent_either_stays_blocked(
    provider: ScriptedProvider, made: Studio, site: PictureSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "reference_limits", partial(reference_limits, "fal"))
    studio = replace(made, settings=made.settings.model_copy(update={"model": TAKES_NONE}))
    studio.bring(film({"one": [f"http://{site.host}/gone.png"]}))
    entries = json.dumps([{"provider": "fal", "model": TAKES_SOME}])
    studio.sql("UPDATE projects SET fallbacks = %s::jsonb", entries)

    told = plan(studio, asks_servers=True).scenes[0].scene
    run = studio.run()

    assert told.blocked is not None
    assert told.blocked.code == "reference_missing"
    assert run.statuses == {"one": "blocked"}
    assert run.outcomes["one"].failure is not None
    assert run.outcomes["one"].failure.code == "reference_missing"


def test_a_scene_whose_picture_was_missing_is_taken_up_once_it_is_there(
    made: Studio, site: PictureSite
) -> None:
    address = f"http://{site.host}/late.png"
    made.bring(film({"one": [address]}))
    assert code_of(made) == "reference_missing"
    made.sql("UPDATE generations SET take_up_at = now() + interval '1 hour'")
    site.put("/late.png", MOOD)

    plan(made, asks_servers=True)

    assert made.sql("SELECT take_up_at <= now() AS is_due FROM generations") == [{"is_due": True}]
    assert made.run().statuses == {"one": "generated"}
    assert_invariants(made)


def test_a_deleted_asset_makes_no_frame_stale_and_no_new_one(made: Studio) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"], "two": [f"asset:{hero}"]}))
    made.run("one")

    made.sql("UPDATE user_assets SET deleted_at = now()")

    assert made.run(refresh_stale=True).statuses == {"one": "kept", "two": "blocked"}
    made.sql("UPDATE user_assets SET deleted_at = NULL")
    assert made.run().statuses == {"one": "kept", "two": "generated"}


def test_limits_of_a_model_are_told_before_anything_is_paid(
    provider: ScriptedProvider, made: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    hero, place = add(made, HERO, "hero.png"), add(made, PLACE, "harbour.png")
    made.bring(film({"one": [f"asset:{hero}", f"asset:{place}"]}))

    def limited(**limits: Any) -> str:
        monkeypatch.setattr(provider, "reference_limits", lambda _model: ReferenceLimits(**limits))
        return code_of(made)

    assert limited(max_count=0) == "references_unsupported"
    assert limited(max_count=1) == "references_unsupported"
    assert limited(max_count=2, min_side=1000) == "reference_too_small"
    assert limited(max_count=2, max_side=100) == "reference_too_large"
    assert limited(max_count=2, content_types=frozenset({"image/webp"})) == "reference_refused"
    assert provider.accepted == {}
    monkeypatch.setattr(
        provider,
        "reference_limits",
        lambda _model: ReferenceLimits(
            max_count=2, max_bytes=2000, content_types=frozenset({"image/jpeg"})
        ),
    )
    assert made.run().statuses == {"one": "generated"}
    [request] = provider.accepted.values()
    assert {picture.content_type for picture in request.references} == {"image/jpeg"}
    assert all(len(data) <= 2000 for data in sent_bytes(request))


def test_a_model_that_needs_a_picture_says_so(
    provider: ScriptedProvider, made: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ReferenceLimits(max_count=1, is_required=True)
    monkeypatch.setattr(provider, "reference_limits", lambda _model: limits)
    made.bring(film({"one": []}))

    assert code_of(made) == "reference_required"
    assert provider.accepted == {}


def test_a_frame_or_an_object_of_ours_is_a_reference_by_any_of_its_names(
    provider: ScriptedProvider, made: Studio
) -> None:
    made.bring(film({"one": []}))
    made.run()
    [frame] = made.sql("SELECT id, storage_path, storage_url, sha256 FROM scene_images")
    names = [f"asset:frm_{frame['id'].hex}", frame["storage_path"], frame["storage_url"]]
    made.bring(film({"one": [], "two": names}), force=True)

    assert made.run().statuses == {"one": "kept", "two": "generated"}

    request = list(provider.accepted.values())[-1]
    assert {picture.sha256 for picture in request.references} == {frame["sha256"]}
    rows = made.sql("SELECT storage_key FROM reference_pictures")
    assert [row["storage_key"] for row in rows] == [frame["storage_path"]] * 3


def test_the_document_comes_first_and_the_frame_before_it_where_there_is_room(
    provider: ScriptedProvider, made: Studio
) -> None:
    hero, place = add(made, HERO, "hero.png"), add(made, PLACE, "harbour.png")
    document = json.loads(
        film({"one": [], "two": [f"asset:{hero}"]}, references=[f"asset:{place}"])
    )
    for scene in document["scenes"].values():
        scene["continuity_group"] = "hall"
    made.bring(json.dumps(document).encode())

    made.run()

    requests = {scene_of(request): request for request in provider.accepted.values()}
    assert [p.source.partition(" ")[0] for p in requests["two"].references] == [
        f"asset:{hero}",
        f"asset:{place}",
        "one",
    ]
    provider.reference_limit = 2
    made.run("two", mode="regenerate", token="again")
    assert len(list(provider.accepted.values())[-1].references) == 2


def test_signed_addresses_are_made_anew_and_kept_nowhere(
    provider: ScriptedProvider, made: Studio
) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"]}))
    settings = made.settings.model_copy(
        update={"url_mode": "gateway", "public_url": "https://frames.example.com"}
    )

    Studio(settings, made.database_url, made.providers).run()

    [request] = provider.accepted.values()
    [picture] = request.references
    assert picture.url.startswith("https://frames.example.com/")
    assert "?" in picture.url
    [row] = made.sql("SELECT reference_images::text AS text FROM generations")
    assert picture.url.partition("?")[2] not in row["text"]


def test_pictures_are_brought_to_the_providers_own_storage_where_that_is_asked_for(
    provider: ScriptedProvider, made: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: list[tuple[bytes, str]] = []

    def upload_reference(_self: ScriptedProvider, data: bytes, content_type: str) -> str:
        uploaded.append((data, content_type))
        return "https://storage.example/picture"

    monkeypatch.setattr(ScriptedProvider, "upload_reference", upload_reference, raising=False)
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"]}))
    settings = made.settings.model_copy(update={"fal_use_upload": True})

    Studio(settings, made.database_url, made.providers).run()

    [request] = provider.accepted.values()
    assert [picture.url for picture in request.references] == ["https://storage.example/picture"]
    [(data, content_type)] = uploaded
    assert hashlib.sha256(data).hexdigest() == request.references[0].sha256
    assert content_type == "image/png"


def test_facts_go_with_the_name_and_replacing_makes_the_project_due(made: Studio) -> None:
    hero, place = add(made, HERO, "hero.png"), add(made, PLACE, "harbour.png")
    made.bring(film({"one": [f"asset:{hero}", f"asset:{place}"]}))
    made.run()

    made.edit(["scenes", "one", "references"], [f"asset:{hero}"])
    reasons_now = reasons(made)
    made.run()

    assert reasons_now["one"] == "edited since: references"
    assert made.sql("SELECT reference FROM reference_pictures") == [{"reference": f"asset:{hero}"}]
    add(made, OTHER_HERO, "hero.png", replace=hero)
    question = "SELECT revision > planned_revision AS is_due FROM projects"
    assert made.sql(question) == [{"is_due": True}]
    made.run()
    assert made.sql(question) == [{"is_due": False}]


def test_scenes_without_pictures_ask_nobody(made: Studio, site: PictureSite) -> None:
    made.bring(film({"one": []}))

    made.run()

    assert site.asked == []
    assert made.sql("SELECT count(*) AS n FROM reference_pictures") == [{"n": 0}]


def test_the_sensor_launches_what_a_replaced_picture_made_stale_and_names_it(made: Studio) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"], "two": []}))
    made.run()
    made.sql("UPDATE projects SET auto_refresh = true")
    made.sql("UPDATE scenes SET wanted_at = NULL")
    add(made, OTHER_HERO, "hero.png", replace=hero)
    settings = made.settings.model_copy(update={"auto_refresh_quiet_seconds": 0.0})

    async def tick(services: Services) -> list[Wish]:
        async with services.pool.connection() as conn:
            return await changes(conn, settings)

    [wish] = made.do(tick)

    assert [scene.scene_id for scene in wish.scenes] == ["one"]
    assert f"reference asset:{hero} (hero.png) was replaced" in wish.reason


def test_the_stage_that_the_ui_shows_names_the_replaced_picture(made: Studio) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"]}))
    made.run()
    add(made, OTHER_HERO, "hero.png", replace=hero)

    run = made.run(refresh_stale=True)

    [told] = [
        event.facts["reason"]
        for event in run.events
        if isinstance(event, StageDone) and event.stage == "scene_prompt"
    ]
    assert told == f"edited since: reference asset:{hero} (hero.png) was replaced"


def test_many_workers_derive_one_project_without_waiting_in_a_ring(made: Studio) -> None:
    hero, place = add(made, HERO, "hero.png"), add(made, PLACE, "harbour.png")
    named = [f"asset:{hero}", f"asset:{place}"]
    made.bring(film({f"scene_{number}": named for number in range(10)}))
    with ThreadPoolExecutor(4) as threads:
        for seed in (5, 6):
            add(made, scene_file("PNG", seed=seed), "hero.png", replace=hero)
            list(threads.map(lambda _: look_once(made), range(4)))
    digests = made.sql("SELECT DISTINCT content -> 'reference_digests' AS digests FROM scenes")
    [asset] = made.sql("SELECT sha256 FROM user_assets WHERE asset_id = %s", hero)
    assert [row["digests"][f"asset:{hero}"] for row in digests] == [asset["sha256"]]


def look_once(studio: Studio) -> None:
    async def work(services: Services) -> None:
        async with services.pool.connection() as conn, conn.transaction():
            stored = await load_document(conn, (await get_project(conn, "film")).id)
            document = read_document(stored.master_json, order=stored.scene_order)
            await synchronise(conn, stored, document, request_defaults(services.settings))

    studio.do(work)


def test_a_fallback_that_takes_no_pictures_is_not_asked(
    provider: ScriptedProvider, made: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"]}))
    settings = made.settings.model_copy(
        update={"rejection_reseeds": 0, "rejection_fallback_model": "fal-ai/flux/dev"}
    )
    provider.set_fault("blank")

    def limits(endpoint: str) -> ReferenceLimits:
        return ReferenceLimits(max_count=0 if endpoint == "fal-ai/flux/dev" else 3)

    monkeypatch.setattr(provider, "reference_limits", limits)

    run = Studio(settings, made.database_url, made.providers).run()

    assert run.statuses == {"one": "failed"}
    assert len(provider.accepted) == 1
