"""What is told while a frame is made: what the provider says and what arrives, as it does."""

import asyncio

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneOutcome, SceneProgress, SceneRef
from scene_pipeline.pipeline.services import open_services
from scene_pipeline_tests.films import Studio, film

DOWNLOAD_SECONDS = 2.0


def told_of(studio: Studio, prompt: str) -> tuple[list[SceneProgress], SceneOutcome]:
    """What one scene's run tells, by an impatient downloader."""
    studio.bring(film([prompt]))
    order = FrameOrder((SceneRef("film", "scene_1"),), "ensure", "", "run")

    async def run() -> tuple[list[SceneProgress], SceneOutcome]:
        progress = []
        async with open_services(
            studio.settings, studio.database_url, download_seconds=DOWNLOAD_SECONDS
        ) as services:
            async for event in stream_frames(order, services):
                if isinstance(event, SceneProgress):
                    progress.append(event)
                elif isinstance(event, SceneOutcome):
                    outcome = event
        return progress, outcome

    return asyncio.run(run())


def test_place_in_the_queue_and_arriving_bytes_are_told_in_the_order_in_which_they_happen(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal.jobs.queue_seconds, fal.jobs.run_seconds = 3.0, 1.5

    progress, outcome = told_of(fal_studio, "A lighthouse [[fault:image_drip*1]]")

    assert outcome.status == "generated"
    kinds = [event.kind for event in progress]
    assert kinds == sorted(kinds, key=["sent", "queued", "running", "downloading", "storing"].index)
    assert {"sent", "queued", "running", "downloading", "storing"} == set(kinds)
    texts = [event.text for event in progress]
    assert texts[0] == "accepted by fal"
    assert any(text.startswith("queued at fal, place ") for text in texts)
    whole = next(text for text in texts if text.startswith("storing "))
    arriving = [text for text in texts if text.endswith("bytes received")]
    assert any(" of " in text for text in arriving[:-1]), texts
    assert " of " not in arriving[-1]  # all of it
    assert texts.index(arriving[-1]) == texts.index(whole) - 1
