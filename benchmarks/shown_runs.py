"""What it costs to check and show frames: runs of 100 scenes with the checks against none.

Prints, for making first frames, for making new versions and for keeping them, the ratio (with /
without) of this process's time and the statements of either per scene; then what building one event
of a frame with its pictures, differences and tables takes, and the same event without what came
before it. Pictures come from the scripted service of the tests.

Where the machine is busy the statements tell more than the ratios: a scene is some fifty of them,
and each is a quarter of a millisecond here and as much in the database.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from scene_pipeline.database import embedded
from scene_pipeline.database.migrations import migrate
from scene_pipeline.defs.frame_metadata import stage_materialization
from scene_pipeline.defs.glances import glance, look
from scene_pipeline.pipeline.checking.frames import FrameChecker
from scene_pipeline.pipeline.checks import CheckVerdict
from scene_pipeline.pipeline.orders import StageDone
from scene_pipeline_tests.films import Run, Studio, film
from scene_pipeline_tests.standins.scripted_provider import scripted_provider

SCENES = 100
ROUNDS = 5
STATEMENTS = [0]


def counting(execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Ask the database as before, and count."""

    async def execute_and_count(*args: Any, **options: Any) -> Any:
        STATEMENTS[0] += 1
        return await execute(*args, **options)

    return execute_and_count


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Another attribute for as long as the block lasts."""
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


async def no_verdicts(*_: object) -> tuple[CheckVerdict, ...]:
    """What a run without checks finds."""
    return ()


def cost(work: Callable[[], Run]) -> tuple[float, int, Run]:
    """Processor seconds and statements of a run."""
    statements, began = STATEMENTS[0], time.process_time()
    run = work()
    took = time.process_time() - began
    if not set(run.statuses.values()) <= {"generated", "kept"}:
        message = f"not everything has its frame: {run.statuses}"
        raise RuntimeError(message)
    return took, STATEMENTS[0] - statements, run


def microseconds_of_an_event(events: list[StageDone]) -> float:
    """Building what the UI shows of these, each picture encoded anew."""
    glance.cache_clear()
    look.cache_clear()
    began = time.process_time()
    for event in events:
        stage_materialization(event, "film/scene")
    return (time.process_time() - began) / len(events) * 1e6


def compare(kind: str, told: dict[str, list[float]], run: Callable[[str], Run]) -> Run:
    """Run without checks, then with them; returns the latter."""
    with replaced(FrameChecker, "check", no_verdicts):
        off = cost(partial(run, "off"))
    on = cost(partial(run, "on"))
    told.setdefault(f"{kind}_ratio", []).append(on[0] / off[0])
    told.setdefault(f"{kind}_statements_a_scene", []).append(on[1] / SCENES)
    told.setdefault(f"{kind}_statements_without", []).append(off[1] / SCENES)
    return on[2]


def compare_all(studio: Studio, number: int, told: dict[str, list[float]]) -> Run:
    """One round: first frames of two films, then new versions and kept frames of one of them."""
    prompts = [f"Scene {place}" for place in range(SCENES)]
    ids = [f"scene_{place}" for place in range(1, SCENES + 1)]
    for which in ("off", "on"):
        studio.bring(film(prompts, key=f"film-{number}-{which}"))
    compare("first", told, lambda which: studio.run(*ids, key=f"film-{number}-{which}"))
    run = partial(studio.run, *ids, key=f"film-{number}-on")
    compare("making", told, lambda which: run(mode="regenerate", token=which))
    return compare("keeping", told, lambda which: run(mode="ensure", token=which))


def main(url: str, home: Path) -> None:
    """Measure and print."""
    told: dict[str, list[float]] = {}
    many: dict[str, Any] = {"project_cap_usd": 100_000, "day_cap_usd": 100_000}
    with scripted_provider() as provider:
        studio = Studio(provider.settings(home, **many), url, {"fal": provider}, hurries=True)
        for number in range(ROUNDS):
            kept = compare_all(studio, number, told)
            shown = [event for event in kept.events if isinstance(event, StageDone) and event.frame]
            first = [replace(e, frame=replace(e.frame, previous=None)) for e in shown if e.frame]
            told.setdefault("microseconds_of_an_event", []).append(microseconds_of_an_event(shown))
            told.setdefault("microseconds_of_a_first_one", []).append(
                microseconds_of_an_event(first)
            )
    spread = {
        name: [round(value, 2) for value in (statistics.median(values), min(values), max(values))]
        for name, values in told.items()
    }
    sys.stdout.write(f"median, lowest and highest: {json.dumps(spread)}\n")


if __name__ == "__main__":
    counted = replaced(psycopg.AsyncCursor, "execute", counting(psycopg.AsyncCursor.execute))
    with tempfile.TemporaryDirectory() as directory, counted:
        place = Path(directory)
        place.chmod(0o711)  # PostgreSQL, which never runs as root, must be able to pass
        with embedded.attach(place) as server:
            migrate(server.url("scene_pipeline"))
            main(server.url("scene_pipeline"), place / "home")
        while embedded.is_running(place):  # it stops a moment after its last user
            time.sleep(0.1)
