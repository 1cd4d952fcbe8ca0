"""Work that ended early and is asked for again: cases that the model and its walk brought up."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneRef, StageDone
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.scripted_provider import (
    Fault,
    ScriptedProvider,
)


@pytest.fixture
def scripted_studio(provider: ScriptedProvider, database_url: str, tmp_path: Path) -> Studio:
    settings = provider.settings(
        tmp_path / "home",
        ambiguous_settle_seconds=0,
    )
    return Studio(settings, database_url, {"fal": provider})


def write(studio: Studio, prompt: str) -> None:
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], prompt)


def ask(studio: Studio, **overrides: str) -> None:
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
        " SELECT id, 'scene_1', %s::jsonb FROM projects",
        json.dumps(overrides),
    )


def leave_under_way(studio: Studio) -> None:
    """Run until the request is at the provider, and no further."""
    settings = studio.settings.model_copy(update={"failpoint": "after_submitted:raise"})
    assert replace(studio, settings=settings).run().statuses == {"scene_1": "failed"}


def test_a_picture_that_was_refused_once_still_becomes_the_newest_when_it_is_made(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    provider.set_fault("refused")
    scripted_studio.run()
    provider.set_fault("none")
    write(scripted_studio, "A storm")
    scripted_studio.run()
    write(scripted_studio, "A lighthouse")

    run = scripted_studio.run(refresh_stale=True)

    assert run.statuses == {"scene_1": "generated"}
    assert run.outcomes["scene_1"].frame is not None
    assert run.outcomes["scene_1"].frame.is_current
    assert scripted_studio.run().statuses == {"scene_1": "kept"}
    assert provider.charges.total() == 2


def test_a_second_attempt_that_cost_nothing_is_tried_again(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    faults: tuple[Fault, ...] = ("dies_charged", "refused")
    for fault in faults:
        provider.set_fault(fault)
        assert scripted_studio.run().statuses == {"scene_1": "failed"}
    provider.set_fault("none")

    assert scripted_studio.run().statuses == {"scene_1": "generated"}
    assert provider.charges.total() == 2


def test_an_asked_for_version_that_a_cap_held_back_is_made_as_it_was_asked_for(
    scripted_studio: Studio,
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    scripted_studio.run()
    ask(scripted_studio, prompt_suffix="seen from below")
    assert scripted_studio.run(max_cost_usd=Decimal(0)).statuses == {"scene_1": "blocked"}

    run = scripted_studio.run()

    assert run.outcomes["scene_1"].frame is not None
    assert "seen from below" in run.outcomes["scene_1"].frame.prompt
    assert scripted_studio.sql("SELECT state FROM regeneration_requests") == [{"state": "done"}]


def test_a_request_whose_first_try_cost_nothing_is_done_in_the_end(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    scripted_studio.run()
    ask(scripted_studio)
    provider.set_fault("dies_uncharged")

    assert scripted_studio.run().statuses == {"scene_1": "generated"}
    assert scripted_studio.sql("SELECT state FROM regeneration_requests") == [{"state": "done"}]


def test_refreshing_stale_frames_does_not_buy_what_failed_for_good_again_and_again(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    scripted_studio.run()
    write(scripted_studio, "A storm")
    provider.set_fault("blank")

    runs = [scripted_studio.run(refresh_stale=True) for _ in range(3)]

    assert [run.statuses["scene_1"] for run in runs] == ["failed"] * 3
    assert runs[2].outcomes["scene_1"].failure is not None
    assert runs[2].outcomes["scene_1"].failure.code == "content_rejected"
    assert provider.charges.total() == 3, "one attempt, and one with another seed"
    assert runs[2].outcomes["scene_1"].frame is not None, "the old frame stays"


def test_a_run_that_is_cut_off_leaves_nothing_going_on(scripted_studio: Studio) -> None:
    """A writer of documents once outlived its run by a tenth of a second."""
    scripted_studio.bring(film(["A lighthouse"]))

    async def cut_off(services: Services) -> None:
        order = FrameOrder((SceneRef("film", "scene_1"),), mode="ensure", token="", run_id="r")
        async with aclosing(stream_frames(order, services)) as stream:
            async for event in stream:
                if isinstance(event, StageDone) and event.stage == "scene_image":
                    break
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "Publisher" in repr(task)]

    scripted_studio.do(cut_off)


def test_a_wish_of_its_own_is_not_answered_by_what_is_under_way_without_it(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    leave_under_way(scripted_studio)
    ask(scripted_studio, prompt_suffix="seen from below")

    runs = [scripted_studio.run() for _ in range(3)]

    frames = [run.outcomes["scene_1"].frame for run in runs]
    assert [frame.version if frame else None for frame in frames] == [1, 2, 2]
    assert frames[1] is not None
    assert "seen from below" in frames[1].prompt
    assert provider.charges.total() == 2


def test_a_plain_request_is_answered_by_what_is_under_way(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    leave_under_way(scripted_studio)
    ask(scripted_studio)

    assert scripted_studio.run().statuses == {"scene_1": "generated"}
    assert scripted_studio.run().statuses == {"scene_1": "kept"}
    assert provider.charges.total() == 1
    assert scripted_studio.sql("SELECT state FROM regeneration_requests") == [{"state": "done"}]


def test_a_retried_run_does_not_buy_what_its_first_try_found_under_way(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    leave_under_way(scripted_studio)

    runs = [scripted_studio.run(mode="regenerate", token="run-1") for _ in range(2)]

    assert [run.statuses["scene_1"] for run in runs] == ["generated", "kept"]
    assert provider.charges.total() == 1
    assert scripted_studio.run(mode="regenerate", token="run-2").statuses == {
        "scene_1": "generated"
    }
    assert provider.charges.total() == 2


def test_a_retried_run_does_not_buy_what_its_first_try_made_for_a_request(
    provider: ScriptedProvider, scripted_studio: Studio
) -> None:
    scripted_studio.bring(film(["A lighthouse"]))
    scripted_studio.run()
    ask(scripted_studio, prompt_suffix="seen from below")

    runs = [scripted_studio.run(mode="regenerate", token="run-1") for _ in range(2)]

    assert [run.statuses["scene_1"] for run in runs] == ["generated", "kept"]
    assert provider.charges.total() == 2
