"""Continuity groups: in order, each scene with the frame before it, and paid once as ever."""

import base64
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scene_pipeline.database.generations import get_generation
from scene_pipeline.errors import ProviderError
from scene_pipeline.pipeline.keeping.references import request_hash_of
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneProgress, SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline_tests.films import Run, Studio, assert_invariants
from scene_pipeline_tests.integration.test_crashes import start_worker
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider, scripted_provider
from scene_pipeline_tests.waiting import wait_until


def grouped_film(groups: Mapping[str, str | None]) -> bytes:
    """A film whose scenes are in these groups; their words are their names."""
    scenes = {
        scene_id: {"scene_frame_prompt": f"This is {scene_id}"}
        | ({"continuity_group": group} if group else {})
        for scene_id, group in groups.items()
    }
    document = {"project": {"key": "film"}, "generation": {"image_size": "64x64"}}
    return json.dumps({**document, "scenes": scenes}).encode()


def scene_of(request: ImageRequest) -> str:
    return request.prompt.splitlines()[0].removeprefix("This is ")


def told(run: Run, scene_id: str) -> list[str]:
    return [
        event.text
        for event in run.events
        if isinstance(event, SceneProgress) and event.scene.scene_id == scene_id
    ]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider() as provider:
        provider.reference_limit = 1
        yield provider


@pytest.fixture
def set_up(database_url: str, tmp_path: Path, provider: ScriptedProvider) -> Studio:
    return studio_with(provider, database_url, tmp_path)


def studio_with(
    provider: ScriptedProvider, database_url: str, home: Path, **settings: Any
) -> Studio:
    return Studio(provider.settings(home / "home", **settings), database_url, {"fal": provider})


def sent(provider: ScriptedProvider) -> dict[str, ImageRequest]:
    """The last accepted request of every scene."""
    return {scene_of(request): request for request in provider.accepted.values()}


def stored_bytes(studio: Studio, scene_id: str) -> bytes:
    key = urlsplit(studio.start_frame(scene_id) or "").path.removeprefix("/frames/")
    return (studio.settings.home_directory / "frames" / key).read_bytes()


def references_of(studio: Studio, scene_id: str) -> list[dict[str, Any]]:
    [row] = studio.sql(
        "SELECT reference_images FROM generations WHERE scene_id = %s ORDER BY seq DESC LIMIT 1",
        scene_id,
    )
    references: list[dict[str, Any]] = row["reference_images"]
    return references


def test_each_scene_is_sent_the_frame_before_it_once_that_is_published(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"one": "hall", "two": "hall", "alone": None, "three": "hall"}))
    published_before: dict[str, set[str]] = {}

    def look(request: ImageRequest) -> None:
        published_before[scene_of(request)] = {
            scene_id for scene_id in ("one", "two") if set_up.start_frame(scene_id)
        }

    provider.before_accepting = look
    run = set_up.run()

    assert set(run.statuses.values()) == {"generated"}
    assert published_before["one"] == set()
    assert published_before["two"] == {"one"}
    assert published_before["three"] == {"one", "two"}
    requests = sent(provider)
    assert requests["one"].references == requests["alone"].references == ()
    for scene_id, before in (("two", "one"), ("three", "two")):
        [reference] = requests[scene_id].references
        header, _, encoded = reference.url.partition(",")
        assert header == f"data:{reference.content_type};base64"
        assert base64.b64decode(encoded) == stored_bytes(set_up, before)
        assert reference.source == f"{before} version 1"
        [row] = set_up.sql("SELECT sha256 FROM scene_images WHERE scene_id = %s", before)
        assert reference.sha256 == row["sha256"]
        assert [(r["scene_id"], r["version"], r["sha256"]) for r in references_of(set_up, scene_id)]
    assert_invariants(set_up)


def test_a_reference_makes_it_another_request_and_not_another_content(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"one": "hall", "two": "hall"}))
    set_up.run("one", "two")
    [first] = set_up.sql("SELECT request_hash FROM generations WHERE scene_id = 'two'")

    set_up.run("one", mode="regenerate", token="other")
    kept = set_up.run("two")

    assert kept.statuses == {"two": "kept"}, "a frame is not stale because of the one before it"
    set_up.sql("UPDATE scenes SET continuity_group = NULL")
    provider.reference_limit = 0
    set_up.run("two", mode="regenerate", token="alone")
    hashes = {r["request_hash"] for r in set_up.sql("SELECT request_hash FROM generations")}
    assert first["request_hash"] in hashes
    assert len(hashes) == 4


def test_a_picture_with_a_public_address_is_sent_as_that(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    studio = studio_with(provider, database_url, tmp_path, public_url="https://frames.example.com")
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))

    studio.run()

    [reference] = sent(provider)["two"].references
    assert reference.url == studio.start_frame("one")


def test_groups_run_side_by_side_and_with_single_scenes(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"a1": "a", "a2": "a", "b1": "b", "b2": "b", "alone": None}))
    together = threading.Barrier(3)
    later = threading.Barrier(2)

    def meet(request: ImageRequest) -> None:
        (later if scene_of(request) in ("a2", "b2") else together).wait(20)

    provider.before_accepting = meet
    run = set_up.run()

    assert set(run.statuses.values()) == {"generated"}
    assert not together.broken
    assert not later.broken


def test_a_group_is_never_more_than_one_request(provider: ScriptedProvider, set_up: Studio) -> None:
    set_up.bring(grouped_film({f"s{number}": "a" for number in range(6)}))

    set_up.run()

    assert [scene_of(request) for request in provider.accepted.values()] == [
        f"s{number}" for number in range(6)
    ]
    assert provider.most_at_once == 1


def test_a_model_that_takes_no_reference_goes_on_alone_and_says_so(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    provider.reference_limit = 0
    set_up.bring(grouped_film({"one": "hall", "two": "hall"}))

    run = set_up.run()

    assert run.statuses == {"one": "generated", "two": "generated"}
    assert sent(provider)["two"].references == ()
    assert references_of(set_up, "two") == []
    assert any("takes no reference" in text for text in told(run, "two"))


def refuse_one(request: ImageRequest) -> None:
    if scene_of(request) == "one":
        raise ProviderError("No.", code="refused", charge="not_charged")


def test_behind_a_scene_without_a_frame_nothing_is_paid(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"one": "hall", "two": "hall", "three": "hall", "alone": None}))
    provider.before_accepting = refuse_one

    run = set_up.run()

    assert run.statuses == {
        "one": "failed",
        "two": "blocked",
        "three": "blocked",
        "alone": "generated",
    }
    failure = run.outcomes["two"].failure
    assert failure is not None
    assert failure.code == "continuity_broken"
    assert "--scene one" in failure.next_action
    assert list(sent(provider)) == ["alone"]
    states = set_up.sql("SELECT scene_id, state FROM scene_status ORDER BY position")
    assert [row["state"] for row in states] == ["failed", "blocked", "blocked", "current"]
    set_up.sql("UPDATE generations SET take_up_at = now() + interval '1 hour'")

    provider.before_accepting = lambda _request: None
    first = set_up.run("one")
    due = set_up.sql("SELECT 1 FROM generations WHERE take_up_at <= now() AND state = 'planned'")
    rest = set_up.run("two", "three")

    assert first.statuses == {"one": "generated"}
    assert len(due) == 2, "what waited for the frame is due at once"
    assert rest.statuses == {"two": "generated", "three": "generated"}
    assert all(len(sent(provider)[scene_id].references) == 1 for scene_id in ("two", "three"))
    assert set(provider.charges.values()) == {1}


def test_a_scene_that_cannot_be_used_is_passed_over(set_up: Studio) -> None:
    document = json.loads(grouped_film({"one": "hall", "two": "hall", "three": "hall"}))
    document["scenes"]["two"]["scene_frame_prompt"] = " "
    set_up.bring(json.dumps(document).encode())

    run = set_up.run()

    assert run.statuses == {"one": "generated", "two": "invalid", "three": "generated"}
    assert [sent["scene_id"] for sent in references_of(set_up, "three")] == ["one"]


def test_of_a_chain_only_what_is_asked_for_is_paid(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"one": "hall", "two": "hall", "three": "hall"}))
    set_up.run()

    kept = set_up.run()
    again = set_up.run("two", mode="regenerate", token="again")

    assert set(kept.statuses.values()) == {"kept"}
    assert again.statuses == {"two": "generated"}
    assert len(provider.accepted) == 4
    assert references_of(set_up, "two")[0]["version"] == 1
    both = set_up.run("one", "two", mode="regenerate", token="both")
    assert set(both.statuses.values()) == {"generated"}
    [reference] = references_of(set_up, "two")
    assert reference["version"] == 2, "the frame that was made in this very run"


def test_a_scene_waits_for_the_run_that_works_on_the_one_before_it(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"one": "hall", "two": "hall"}))
    is_waiting = threading.Event()
    runs: dict[str, Run] = {}
    rival = Run()
    order = FrameOrder((SceneRef("film", "two"),), mode="ensure", token="", run_id="rival")

    def hold_one(request: ImageRequest) -> None:
        if scene_of(request) == "one":
            assert is_waiting.wait(60)

    async def follow(services: Services) -> None:
        async for event in stream_frames(order, services):
            rival.events.append(event)

    provider.before_accepting = hold_one
    first = threading.Thread(target=lambda: runs.update(one=set_up.run("one")))
    first.start()
    wait_until(lambda: bool(set_up.sql("SELECT 1 FROM generations WHERE state = 'submitting'")))
    second = threading.Thread(target=lambda: set_up.do(follow))
    second.start()
    waits = "another run is working on one"
    wait_until(lambda: any(waits in text for text in told(rival, "two")), 30)
    assert sent(provider) == {}
    is_waiting.set()
    first.join(60)
    second.join(60)

    assert runs["one"].statuses == {"one": "generated"}
    assert rival.statuses == {"two": "generated"}
    assert references_of(set_up, "two")[0]["version"] == 1


def test_a_scene_does_not_wait_for_ever_for_another_run(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    studio = studio_with(provider, database_url, tmp_path)
    impatient = studio_with(provider, database_url, tmp_path, generation_timeout_seconds=1.0)
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))
    may_go_on = threading.Event()

    def hold_one(request: ImageRequest) -> None:
        if scene_of(request) == "one":
            assert may_go_on.wait(30)

    provider.before_accepting = hold_one
    first = threading.Thread(target=lambda: studio.run("one"))
    first.start()
    wait_until(lambda: bool(studio.sql("SELECT 1 FROM generations WHERE state = 'submitting'")))
    second = impatient.run("two")
    may_go_on.set()
    first.join(60)

    assert second.statuses == {"two": "blocked"}
    assert list(sent(provider)) == ["one"]
    assert impatient.run("two").statuses == {"two": "generated"}
    assert_invariants(studio)


@pytest.mark.parametrize("failpoint", ["after_references", "after_permit", "before_post"])
def test_what_was_committed_before_a_crash_is_what_is_sent(failpoint: str, studio: Studio) -> None:
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))
    studio.run("one")
    worker = start_worker(studio, failpoint=f"{failpoint}:kill")
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, "the failpoint was not reached"
    [settled] = references_of(studio, "two")

    other = studio.run("one", mode="regenerate", token="other")
    run = studio.run("two")

    assert other.outcomes["one"].frame is not None
    assert other.outcomes["one"].frame.version == 2
    assert run.statuses == {"two": "generated"}
    assert settled["version"] == 1
    assert references_of(studio, "two") == [settled]
    assert_invariants(studio)


def test_a_reference_that_was_removed_meanwhile_is_settled_anew(studio: Studio) -> None:
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))
    studio.run("one")
    worker = start_worker(studio, failpoint="after_references:kill")
    worker.join(60)
    [settled] = references_of(studio, "two")
    studio.run("one", mode="regenerate", token="other")
    studio.sql(
        "UPDATE storage_objects SET state = 'deleted', refcount = 0 WHERE key = %s",
        settled["storage_key"],
    )

    run = studio.run("two")

    assert run.statuses == {"two": "generated"}
    assert references_of(studio, "two")[0]["version"] == 2


def test_a_frame_that_is_at_its_provider_only_is_sent_by_its_address(
    provider: ScriptedProvider, set_up: Studio
) -> None:
    set_up.bring(grouped_film({"one": "hall", "two": "hall"}))
    frames = set_up.settings.home_directory / "frames"
    set_up.settings.home_directory.mkdir(parents=True, exist_ok=True)
    frames.write_text("a file where the store's directory should be")

    outage = set_up.run("one")
    first = set_up.run("two")
    frames.unlink()
    healed = set_up.run("one")
    again = set_up.run("two", mode="regenerate", token="again")

    assert outage.statuses == {"one": "generated"}
    assert healed.statuses == {"one": "kept"}
    assert first.statuses == again.statuses == {"two": "generated"}
    external, stored = (
        request.references[0]
        for request in provider.accepted.values()
        if scene_of(request) == "two"
    )
    assert external.url.startswith(provider.site_url)
    assert stored.url.startswith("data:")
    assert external.sha256 == stored.sha256
    rows = set_up.sql("SELECT reference_images::text AS text FROM generations")
    assert not any(provider.site_url in row["text"] for row in rows)


def test_a_lost_picture_costs_nothing(studio: Studio) -> None:
    studio.bring(grouped_film({"one": "hall", "two": "hall"}))
    studio.run("one")
    key = urlsplit(studio.start_frame("one") or "").path.removeprefix("/frames/")
    file = studio.settings.home_directory / "frames" / key
    aside = file.with_suffix(".aside")
    file.rename(aside)

    run = studio.run("two")
    aside.rename(file)

    assert run.statuses == {"two": "failed"}
    assert studio.sql("SELECT state, submit_count FROM generations WHERE scene_id = 'two'") == [
        {"state": "planned", "submit_count": 0}
    ]
    assert studio.run("two").statuses == {"two": "generated"}


def test_without_references_the_hash_of_a_row_is_that_of_its_planning(studio: Studio) -> None:
    document = json.loads(grouped_film({"one": None}))
    document["negative_prompt"] = "people"
    document["scenes"]["one"]["generation"] = {
        "seed": 7,
        "steps": 3,
        "guidance": 2.5,
        "output_format": "png",
        "arguments": {"acceleration": "none"},
    }
    studio.bring(json.dumps(document).encode())
    studio.run()

    async def read(services: Services) -> tuple[str, str]:
        async with services.pool.connection() as conn:
            cursor = await conn.execute("SELECT id, request_hash FROM generations")
            row = await cursor.fetchone()
            assert row is not None
            generation = await get_generation(conn, row["id"])
        return row["request_hash"], request_hash_of(generation, ())

    planned, computed = studio.do(read)
    assert planned == computed
