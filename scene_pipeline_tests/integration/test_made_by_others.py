"""What a run tells of scenes that another run made while it waited for them."""

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from scene_pipeline.pipeline.making import attempt
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import (
    STAGES,
    FrameOrder,
    SceneProgress,
    SceneRef,
    Stage,
    StageDone,
)
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline_tests.films import Run, Studio, film
from scene_pipeline_tests.integration.test_continuity import studio_with
from scene_pipeline_tests.standins.scripted_provider import scripted_provider
from scene_pipeline_tests.waiting import wait_until

FIRST, SECOND = str(uuid4()), str(uuid4())


@pytest.mark.parametrize("stages", [STAGES, STAGES[:3]], ids=["to the document", "stored"])
def test_a_frame_that_another_run_made_is_not_counted_as_made_here(
    stages: tuple[Stage, ...],
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check_nothing(_studio: Studio) -> None:
        """Nothing happens before the other run goes on."""

    studio, first, second = two_runs(stages, check_nothing, database_url, tmp_path, monkeypatch)
    again = studio.run("scene_1", "scene_2", stages=frozenset(stages))

    assert first.statuses == {"scene_1": "generated"}
    assert second.statuses == {"scene_1": "kept", "scene_2": "generated"}
    told = second.outcomes
    assert (told["scene_1"].paid_by_run, told["scene_2"].paid_by_run) == (FIRST, None)
    assert told["scene_1"].cost_usd == Decimal(0)
    assert told["scene_1"].frame is not None
    assert kept_stages(second) == {("scene_1", True), ("scene_2", False)}
    assert [one.paid_by_run for one in again.outcomes.values()] == [None, None]
    assert again.statuses == {"scene_1": "kept", "scene_2": "kept"}


def test_a_frame_that_another_run_made_of_words_that_changed_is_told_as_its(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(studio: Studio) -> None:
        studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "Dawn in the rain")

    _, first, second = two_runs(STAGES, edit, database_url, tmp_path, monkeypatch)

    assert first.statuses == {"scene_1": "stale"}
    assert second.statuses == {"scene_1": "stale", "scene_2": "generated"}
    assert first.outcomes["scene_1"].paid_by_run is None
    assert second.outcomes["scene_1"].paid_by_run == FIRST
    assert second.outcomes["scene_1"].cost_usd == Decimal(0)
    assert kept_stages(second) == {("scene_1", True), ("scene_2", False)}


def kept_stages(run: Run) -> set[tuple[str, bool]]:
    return {
        (event.scene.scene_id, event.is_kept)
        for event in run.events
        if isinstance(event, StageDone) and event.stage != "scene_prompt"
    }


def two_runs(
    stages: tuple[Stage, ...],
    meanwhile: Callable[[Studio], None],
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Studio, Run, Run]:
    """The first makes scene 1; the second waits for it, and makes scene 2 itself."""
    monkeypatch.setattr(attempt, "ATTACH_POLL_SECONDS", 0.05)
    first, second = Run(), Run()
    is_waited_for = threading.Event()
    selected = frozenset(stages)

    def hold_dawn(request: ImageRequest) -> None:
        assert "Dusk" in request.prompt or is_waited_for.wait(30)

    def watched(studio: Studio) -> None:
        order = FrameOrder(
            tuple(SceneRef("film", f"scene_{n}") for n in (1, 2)), "ensure", "", SECOND, selected
        )

        async def work(services: Services) -> None:
            async for event in stream_frames(order, services):
                second.events.append(event)
                if isinstance(event, SceneProgress) and "another run" in event.text:
                    if not is_waited_for.is_set():
                        meanwhile(studio)
                    is_waited_for.set()

        studio.do(work)

    with scripted_provider() as provider:
        provider.before_accepting = hold_dawn
        studio = studio_with(provider, database_url, tmp_path)
        studio.bring(film(["Dawn", "Dusk"]))
        maker = threading.Thread(
            target=lambda: first.events.extend(
                studio.run("scene_1", run_id=FIRST, stages=selected).events
            )
        )
        maker.start()
        wait_until(lambda: bool(studio.sql("SELECT 1 FROM generations WHERE state = 'submitting'")))
        watched(studio)
        maker.join(60)
    return studio, first, second
