"""Checks of frames on real rows, pictures and servers: in a run, and for a whole project."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from scene_pipeline.database.checked_frames import picture_records
from scene_pipeline.database.frame_checks import verdicts_of_project
from scene_pipeline.database.projects import get_project
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.checking import frames
from scene_pipeline.pipeline.checking.addresses import (
    ANSWER_SECONDS,
    MAX_UNREACHABLE,
    AddressReader,
    Answer,
)
from scene_pipeline.pipeline.checking.frames import check_scenes
from scene_pipeline.pipeline.checking.standing import (
    STANDING_CHECKS,
    changed_standing,
    keep_standing,
)
from scene_pipeline.pipeline.checks import CheckedAsset, CheckVerdict
from scene_pipeline.pipeline.making import following_checks
from scene_pipeline.pipeline.making.following_checks import FollowingChecks
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import (
    FrameOrder,
    SceneChecked,
    SceneOutcome,
    SceneRef,
    StreamEvent,
)
from scene_pipeline.pipeline.projects.stored_pictures import check_stored
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.together import MAX_TOGETHER, Together
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.settings import load_settings
from scene_pipeline.telemetry.context import current_context, log_context
from scene_pipeline_tests.films import Run, Studio, film
from scene_pipeline_tests.standins.media_server import free_port, serving
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider

PROMPTS = ["A lighthouse at dawn", "A storm at sea"]
OF_ROWS = {
    "image_decodes",
    "size_as_requested",
    "not_blank",
    "not_a_duplicate_of_the_previous_version",
    "document_points_to_current",
    "prompt_unchanged_since",
}
URL = "url_serves_the_stored_bytes"
FRAMES_OF_ALL = (
    "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
    " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,"
    " request_id, storage_status, external_url, submit_count, cost_micros, cost_kind,"
    " submitting_at, submitted_at, completed_at)"
    " SELECT project_id, scene_id, scene_id, 'fal', 'a-model', 'x', 'x', '{}', 'x', 'x', 1, 1, 1,"
    "  'published', scene_id, 'external', 'https://x.example', 1, 3000, 'metered', now(), now(),"
    "  now() FROM scenes WHERE scene_id <> 'scene_1'",
    "INSERT INTO scene_images (project_id, scene_id, storage_url, storage_status, generation_id,"
    " version, is_current)"
    " SELECT project_id, scene_id, 'https://x.example', 'external', id, 1, true FROM generations"
    " WHERE scene_id <> 'scene_1'",
)
"""Frames of scenes that have none, all of another prompt."""


@pytest.fixture
def served_studio(database_url: str, tmp_path: Path) -> Studio:
    """A studio whose frames have addresses on a port of its own; nobody listens there yet."""
    settings = load_settings(home=tmp_path / "home", public_url=f"http://127.0.0.1:{free_port()}")
    return Studio(settings, database_url)


def verdicts(run: Run, scene_id: str = "scene_1") -> dict[str, CheckVerdict]:
    [told] = [
        event
        for event in run.events
        if isinstance(event, SceneChecked) and event.scene.scene_id == scene_id
    ]
    return {verdict.name: verdict for verdict in told.verdicts}


def failed(found: dict[str, CheckVerdict]) -> set[str]:
    return {name for name, verdict in found.items() if not verdict.passed}


def kept(studio: Studio) -> list[dict[str, Any]]:
    return [
        dict(row)
        for row in studio.sql("SELECT scene_id, name, version, passed, words FROM frame_checks")
    ]


def renew(studio: Studio) -> list[tuple[SceneRef, CheckVerdict]]:
    async def work(services: Services) -> list[tuple[SceneRef, CheckVerdict]]:
        async with services.pool.connection() as conn:
            project = await get_project(conn, "film")
            changed = await changed_standing(conn, project.id)
            await keep_standing(conn, project.id, changed, run_id="renewal")
            return changed

    return studio.do(work)


def stored_file(studio: Studio, scene_id: str = "scene_1") -> Path:
    [row] = studio.sql(
        "SELECT storage_path FROM scene_images WHERE scene_id = %s AND is_current", scene_id
    )
    return studio.settings.home_directory / "frames" / str(row["storage_path"])


def test_new_and_kept_frames_are_checked_once_their_outcome_was_told(served_studio: Studio) -> None:
    served_studio.bring(film(PROMPTS))

    for run in (served_studio.run(), served_studio.run()):
        found = verdicts(run)
        assert found.keys() == OF_ROWS, "nobody listens, so nothing is said of the URL"
        assert failed(found) == set()
        events = [event for event in run.events if event.scene.scene_id == "scene_1"]
        assert isinstance(events[-2], SceneOutcome)
        assert isinstance(events[-1], SceneChecked)
    assert len(kept(served_studio)) == 2 * len(OF_ROWS)
    assert {row["version"] for row in kept(served_studio)} == {1}


def test_a_host_that_does_not_answer_holds_up_no_outcome(
    database_url: str, tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's host answers only when every outcome is told, or when the test is lost."""
    settings = provider.settings(
        tmp_path / "home", public_url=provider.site_url, download_concurrency=1
    )
    studio = Studio(settings, database_url, {"fal": provider}, hurries=True)
    studio.bring(film([*PROMPTS, "A harbour", "A pier"]))
    outcomes_are_told = threading.Event()
    picture = provider.picture

    def answer(path: str) -> bytes | int:
        return picture(path) if path in provider.accepted else held(path)

    def held(_path: str) -> int:
        outcomes_are_told.wait(ANSWER_SECONDS / 2)
        return 404

    monkeypatch.setattr(provider, "picture", answer)
    order = FrameOrder(tuple(SceneRef("film", f"scene_{n}") for n in range(1, 5)), "ensure", "", "")
    told: list[StreamEvent] = []

    async def watch(services: Services) -> None:
        async for event in stream_frames(order, services):
            if isinstance(event, SceneOutcome | SceneChecked):
                told.append(event)
            if len(told) == len(order.scenes):
                outcomes_are_told.set()

    studio.do(watch)

    assert [type(event) for event in told] == [SceneOutcome] * 4 + [SceneChecked] * 4
    assert all(not verdicts(Run(told), f"scene_{n}")[URL].passed for n in range(1, 5))


def test_only_what_is_selected_is_checked(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()

    of_document = studio.run(stages=frozenset({"scene_start_frame"}))
    of_prompt = studio.run(stages=frozenset({"scene_prompt"}))

    assert verdicts(of_document).keys() == {
        "document_points_to_current",
        "prompt_unchanged_since",
    }
    assert not [event for event in of_prompt.events if isinstance(event, SceneChecked)]


def test_the_url_is_asked_for_the_stored_bytes(served_studio: Studio) -> None:
    served_studio.bring(film(PROMPTS))
    with serving(served_studio.settings):
        first = served_studio.run()
        stored_file(served_studio).write_bytes(stored_file(served_studio, "scene_2").read_bytes())
        stored_file(served_studio, "scene_2").unlink()
        served_studio.sql("DELETE FROM frame_checks")
        again = served_studio.run()

    assert verdicts(first)[URL].passed
    other = verdicts(again)[URL]
    assert (other.passed, other.severity) == (False, "error")
    gone = verdicts(again, "scene_2")[URL]
    assert (gone.passed, gone.severity) == (False, "error")
    assert "scene-pipeline reconcile film" in gone.words
    assert set(again.statuses.values()) == {"kept"}, "a check never fails a scene"


def test_a_kept_frame_s_url_is_left_to_the_sweep_until_it_is_another(
    served_studio: Studio,
) -> None:
    served_studio.bring(film(PROMPTS))
    with serving(served_studio.settings):
        served_studio.run()

    unasked = served_studio.run()
    served_studio.sql("UPDATE scene_images SET storage_url = storage_url || '?moved'")
    asked = served_studio.run()

    assert verdicts(unasked)[URL].passed, "nobody listens any more, and nobody was asked"
    assert URL not in verdicts(asked), "what is known of the old address says nothing of the new"


def test_a_gateway_is_followed_to_the_bytes(served_studio: Studio) -> None:
    private = Studio(
        served_studio.settings.model_copy(
            update={"url_mode": "gateway", "signing_key": "a key for this test alone"}
        ),
        served_studio.database_url,
    )
    private.bring(film(PROMPTS))
    with serving(private.settings):
        found = verdicts(private.run())[URL]

    assert "/media/" in (private.start_frame("scene_1") or "")
    assert found.passed, found.words


def test_a_host_that_cannot_be_reached_is_a_warning(served_studio: Studio) -> None:
    elsewhere = served_studio.settings.model_copy(
        update={"public_url": "http://frames.invalid:8420"}
    )
    studio = Studio(elsewhere, served_studio.database_url)
    studio.bring(film(PROMPTS))

    found = verdicts(studio.run())[URL]

    assert (found.passed, found.severity) == (False, "warn")
    assert "frames.invalid" in found.words


def test_a_silent_host_holds_few_places_and_answers_for_all_its_addresses(studio: Studio) -> None:
    urls = [f"https://silent.example/{number}.png" for number in range(30)]

    class Silent(AddressReader):
        asked = 0
        waiting = 0
        are_all_waiting = threading.Event()

        async def ask(self, url: str, sha256: str, size_bytes: int) -> Answer:
            self.waiting += 1
            if self.waiting == len(urls):
                self.are_all_waiting.set()
            return await super().ask(url, sha256, size_bytes)

        def _ask(self, url: str, sha256: str, size_bytes: int) -> Answer:
            self.asked += 1
            assert self.are_all_waiting.wait(10), "the other questions pile up meanwhile"
            return self._without_answer(url, f"{sha256} {size_bytes}")

    async def ask(services: Services) -> int:
        with closing(Silent(services, asyncio.Semaphore(8))) as reader:
            answers = await asyncio.gather(*(reader.ask(url, "", 1) for url in urls))
            assert {answer.kind for answer in answers} == {"unreachable"}
            return reader.asked

    assert MAX_UNREACHABLE <= studio.do(ask) < 2 * MAX_UNREACHABLE


def test_an_address_on_a_host_that_is_not_our_store_s_is_not_asked(
    served_studio: Studio,
) -> None:
    served_studio.bring(film(PROMPTS))
    served_studio.run()
    served_studio.sql(
        "UPDATE scene_images SET storage_url = 'http://169.254.169.254/latest/meta-data'"
        " WHERE scene_id = 'scene_1'"
    )

    found = verdicts(served_studio.run())[URL]

    assert (found.passed, found.severity) == (False, "warn")
    assert "could not be asked" in found.words


def test_the_question_can_be_left_out(served_studio: Studio) -> None:
    quiet = Studio(
        served_studio.settings.model_copy(update={"check_urls": False}),
        served_studio.database_url,
    )
    quiet.bring(film(PROMPTS))
    with serving(quiet.settings):
        assert URL not in verdicts(quiet.run())


def test_a_blank_newest_picture_fails_and_says_that_the_older_one_stands(
    database_url: str, tmp_path: Path, provider: ScriptedProvider
) -> None:
    settings = provider.settings(tmp_path / "home", rejection_reseeds=0)
    studio = Studio(settings, database_url, {"fal": provider}, hurries=True)
    studio.bring(film(PROMPTS[:1]))
    studio.run()
    provider.set_fault("blank")

    run = studio.run(mode="regenerate", token="again")

    found = verdicts(run)
    assert run.statuses == {"scene_1": "failed"}
    # This service makes pictures of a size of its own.
    assert failed(found) == {"not_blank", "size_as_requested"}
    assert found["not_blank"].version == 1
    assert "Version 1 stands" in found["not_blank"].words
    assert found["image_decodes"].passed


def test_the_same_picture_again_is_a_duplicate(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1], generation={"image_size": "128x128", "seed_policy": "reuse"}))
    studio.run()

    again = verdicts(studio.run(mode="regenerate", token="again"))

    duplicate = again["not_a_duplicate_of_the_previous_version"]
    assert (duplicate.version, duplicate.severity) == (2, "warn")
    assert not duplicate.passed, duplicate.words
    assert "version 1" in duplicate.words


def test_what_is_known_of_a_kept_frame_is_neither_worked_out_nor_written_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("these two pictures were compared before")

    studio.bring(film(PROMPTS[:1], generation={"image_size": "128x128"}))
    studio.run()
    made = verdicts(studio.run(mode="regenerate", token="again"))
    written = studio.sql("SELECT name, checked_at FROM frame_checks ORDER BY name")
    monkeypatch.setattr(frames, "likeness", refuse)

    assert verdicts(studio.run()) == made
    assert "not_a_duplicate_of_the_previous_version" in made
    assert studio.sql("SELECT name, checked_at FROM frame_checks ORDER BY name") == written


def test_an_error_in_checking_fails_no_scene(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.sql("ALTER TABLE frame_checks RENAME TO frame_checks_that_are_away")

    run = studio.run()

    assert set(run.statuses.values()) == {"generated"}
    assert not [event for event in run.events if isinstance(event, SceneChecked)]


def test_scenes_can_be_checked_without_a_run(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    refs = [SceneRef("film", "scene_1"), SceneRef("film", "scene_2")]

    assets: list[CheckedAsset] = ["scene_start_frame"]

    told = studio.do(lambda services: check_scenes(services, refs, assets))

    assert [checked.scene for checked in told] == refs
    assert [len(checked.verdicts) for checked in told] == [2, 2]


@pytest.mark.parametrize("as_list", [False, True], ids=["object", "list"])
def test_an_edit_shows_with_the_next_renewal_and_a_published_url_passes_again(
    studio: Studio, as_list: bool
) -> None:
    document = film(PROMPTS)
    if as_list:
        studio.bring(
            film(PROMPTS)
            .replace(b'"scenes": {', b'"scenes_were": {')
            .replace(
                b'"project": {',
                b'"scenes": [{"id": "scene_1", "scene_frame_prompt": "A lighthouse at dawn"},'
                b' {"id": "scene_2", "scene_frame_prompt": "A storm at sea"}], "project": {',
            )
        )
        place: Sequence[str] = ("scenes", "0")
    else:
        studio.bring(document)
        place = ("scenes", "scene_1")
    studio.run()
    assert renew(studio) == [], "the run's own verdicts stand"

    studio.edit([*place, "scene_frame_prompt"], "A lighthouse at dusk")
    studio.edit([*place, "scene_start_frame"], "https://elsewhere.example/a.png")
    [(scene, document_verdict), (_, prompt_verdict)] = renew(studio)

    assert scene.scene_id == "scene_1"
    assert (document_verdict.name, document_verdict.passed) == ("document_points_to_current", False)
    assert (prompt_verdict.name, prompt_verdict.passed) == ("prompt_unchanged_since", False)
    assert renew(studio) == [], "what was told once is no news"
    again = verdicts(studio.run(mode="regenerate", token="again"))
    assert failed(again) == set()
    assert renew(studio) == []


def turns(studio: Studio) -> list[tuple[str, str, str | None]]:
    """What the feed says of checks: the kind, the check, and whose run it was."""
    rows = studio.sql(
        "SELECT kind, data ->> 'check' AS name, run_id FROM pipeline_events"
        " WHERE kind IN ('frame_check_failed', 'frame_check_passed') ORDER BY id"
    )
    return [(row["kind"], row["name"], row["run_id"]) for row in rows]


def test_the_feed_tells_of_a_check_that_fails_once_and_of_one_that_passes_again(
    studio: Studio,
) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    assert turns(studio) == [], "that all is well from the first is no news"

    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at dusk")
    renew(studio)
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at noon")
    studio.run(mode="ensure")
    again = studio.run(mode="regenerate", token="again", run_id="again")

    assert failed(verdicts(again)) == set()
    assert turns(studio) == [
        ("frame_check_failed", "prompt_unchanged_since", "renewal"),
        ("frame_check_passed", "prompt_unchanged_since", "again"),
    ]
    [event] = studio.sql("SELECT * FROM pipeline_events WHERE kind = 'frame_check_failed'")
    assert event["scene_id"] == "scene_1"
    assert event["data"]["version"] == 1
    assert event["data"]["severity"] == "warn"
    assert "prompt" in event["data"]["words"]


def test_verdicts_that_are_not_kept_are_not_in_the_feed(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A lighthouse at dusk")

    async def cut_off(services: Services) -> None:
        async with services.pool.connection() as conn:
            project = await get_project(conn, "film")
            changed = await changed_standing(conn, project.id)
            with suppress(ConnectionError):
                async with conn.transaction():
                    await keep_standing(conn, project.id, changed)
                    raise ConnectionError

    studio.do(cut_off)

    assert turns(studio) == []
    assert [verdict.passed for _, verdict in renew(studio)] == [False]
    assert len(turns(studio)) == 1


def test_a_renewal_after_a_mass_edit_gives_every_verdict_at_once(studio: Studio) -> None:
    """The sheet of the same run counts by then: what it left out, no other run would tell."""
    number = 300
    studio.bring(film(PROMPTS[:1] * number))
    studio.run("scene_1")  # plans the others, too
    for statement in FRAMES_OF_ALL:
        studio.sql(statement)

    assert len(renew(studio)) == len(STANDING_CHECKS) * (number - 1)
    assert renew(studio) == []


def test_scenes_that_left_the_document_have_no_verdicts(studio: Studio) -> None:
    studio.bring(film(PROMPTS))
    studio.run()
    studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_2}'")
    assert renew(studio) == []
    studio.run("scene_1")  # plans the document, which retires the row

    async def read(services: Services) -> set[str]:
        async with services.pool.connection() as conn:
            project: UUID = (await get_project(conn, "film")).id
            return {found.row.scene_id for found in await verdicts_of_project(conn, project)}

    assert studio.do(read) == {"scene_1"}


def test_a_version_whose_picture_is_gone_is_not_promoted(studio: Studio) -> None:
    studio.bring(film(PROMPTS[:1]))
    studio.run()
    first = stored_file(studio)
    studio.run(mode="regenerate", token="again")

    def check(version: int) -> None:
        async def work(services: Services) -> None:
            async with services.pool.connection() as conn:
                await check_stored(conn, services.store, "film", "scene_1", version)

        studio.do(work)

    check(1)
    first.unlink()
    check(2)  # the current one is promised already
    with pytest.raises(UsageError) as caught:
        check(1)
    assert caught.value.error_code == "version_lost"


def test_questions_of_one_moment_are_answered_together_and_one_error_reaches_all() -> None:
    async def main() -> None:
        sizes: list[int] = []

        async def work(items: Sequence[int]) -> list[int]:
            sizes.append(len(items))
            await asyncio.sleep(0)
            if -1 in items:
                raise LookupError
            return [item * 2 for item in items]

        together: Together[int, int] = Together(work)
        count = MAX_TOGETHER + 10
        answers = await asyncio.gather(*(together.ask(number) for number in range(count)))
        assert answers == [number * 2 for number in range(count)]
        assert sizes == [MAX_TOGETHER, 10]
        first, *others = [asyncio.ensure_future(together.ask(number)) for number in range(4)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [2, 4, 6]
        outcomes = await asyncio.gather(
            *(together.ask(number) for number in (1, 2, -1)), return_exceptions=True
        )
        assert all(isinstance(outcome, LookupError) for outcome in outcomes)
        assert await together.ask(5) == 10

    asyncio.run(main())


def test_whoever_comes_while_the_first_one_waits_for_company_is_taken_along() -> None:
    async def main() -> None:
        batches: list[list[int]] = []
        has_company = asyncio.Event()

        async def work(items: Sequence[int]) -> Sequence[int]:
            batches.append(list(items))
            return items

        async def company() -> None:
            await has_company.wait()

        together: Together[int, int] = Together(work, company=company)
        first = asyncio.create_task(together.ask(1))
        await asyncio.sleep(0)
        second = asyncio.create_task(together.ask(2))
        await asyncio.sleep(0)
        has_company.set()

        assert list(await asyncio.gather(first, second)) == [1, 2]
        assert batches == [[1, 2]]

    asyncio.run(main())


def test_scenes_that_end_one_after_the_other_are_checked_together(
    database_url: str, tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each scene is begun when the outcome of the one before it is told."""
    monkeypatch.setattr(following_checks, "COMPANY_SECONDS", 60.0)  # however slow this machine is
    asked: list[int] = []

    async def count(conn: Connection, project_id: UUID, scene_ids: Sequence[str]) -> Any:
        asked.append(len(scene_ids))
        return await picture_records(conn, project_id, scene_ids)

    monkeypatch.setattr(frames, "picture_records", count)
    ends = {f"View {number}": threading.Event() for number in range(1, 4)}

    def wait_for_the_one_before(request: ImageRequest) -> None:
        number = int(request.prompt.split()[1])
        assert number == 1 or ends[f"View {number - 1}"].wait(30)

    provider.before_accepting = wait_for_the_one_before
    studio = Studio(provider.settings(tmp_path / "home"), database_url, {"fal": provider})
    studio.bring(film(list(ends)))
    order = FrameOrder(tuple(SceneRef("film", f"scene_{n}") for n in range(1, 4)), "ensure", "", "")
    told: list[StreamEvent] = []

    async def watch(services: Services) -> None:
        async for event in stream_frames(order, services):
            told.append(event)
            if isinstance(event, SceneOutcome):
                ends[f"View {event.scene.scene_id.removeprefix('scene_')}"].set()

    studio.do(watch)

    assert Run(told).statuses == {f"scene_{n}": "generated" for n in range(1, 4)}
    assert asked == [3]


def test_checks_that_find_no_place_hold_up_nobody_and_cost_no_task(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_checks, "MAX_IN_CHECK", 2)
    studio.bring(film([f"A lighthouse {number}" for number in range(6)]))
    refs = tuple(SceneRef("film", f"scene_{number}") for number in range(1, 7))
    order = FrameOrder(refs, "ensure", "", "")
    told: list[tuple[str, str | None]] = []

    async def emit(event: StreamEvent) -> None:
        told.append((event.scene.scene_id, current_context().scene))

    async def follow_all(services: Services) -> int:
        async with services.pool.connection() as conn:
            project_id: UUID = (await get_project(conn, "film")).id
        before = len(asyncio.all_tasks())
        async with FollowingChecks(order, services, emit) as checks:
            for ref in refs:
                with log_context(scene=ref.scene_id):
                    checks.follow(project_id, ref)
            return len(asyncio.all_tasks()) - before

    studio.run()

    assert studio.do(follow_all) == 2
    assert sorted(told) == [(ref.scene_id, ref.scene_id) for ref in refs]
