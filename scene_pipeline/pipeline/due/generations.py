"""Which scenes are due because a generation was begun and nobody finishes it.

Results expire at the provider within minutes to days, and what is paid for is finished first. A
generation is left alone while a process holds its lock, and while the run that worked on it last
is active: one of many scenes waits there for its turn. What a person cancelled before anything was
sent is not begun again by itself. What waits for a key is due as soon as a process begins that has
it.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from operator import attrgetter

from scene_pipeline.database import due
from scene_pipeline.database.due import UnfinishedGeneration
from scene_pipeline.database.key_waits import wake_waiting_for_keys
from scene_pipeline.database.rows import Connection, GenerationState
from scene_pipeline.pipeline.due.launches import (
    SCENES_PER_TICK,
    DueScene,
    RunFates,
    Wish,
    reason_of,
)
from scene_pipeline.pipeline.references.checking import REFERENCE_CHANGED
from scene_pipeline.providers.registry import keyed_providers
from scene_pipeline.settings import Settings

_PAID: frozenset[GenerationState] = frozenset({"submitted", "completed", "stored", "recorded"})
_LOADED_AT = time.monotonic()
"""When this process read its settings, or a little later."""
_ACTIVE_WAIT = timedelta(seconds=15)
"""Until a generation of an active run is looked at again."""
_CANCELED_WAIT = timedelta(hours=1)

_PAID_WAITS = (30, 60, 120, 240, 480, 600)
_AMBIGUOUS_WAITS = (60, 120, 300, 600)
_UNSENT_WAITS = (30, 60, 120, 300, 600, 1800, 3600)
_HELD_UP_WAITS = (600, 1200, 2400, 3600)
"""Seconds after the first attempt, the second and so on; the last one holds from there on."""


async def unfinished(conn: Connection, settings: Settings, fates: RunFates) -> list[Wish]:
    """Say which generations are to be taken up.

    Args:
        conn: Outside of a transaction.
        settings: For the keys that are set.
        fates: Asks Dagster about runs.
    """
    codes = [
        f"{name}_{kind}_missing" for name in keyed_providers(settings) for kind in ("key", "token")
    ]
    if codes:
        age = timedelta(seconds=time.monotonic() - _LOADED_AT)
        async with conn.transaction():
            await wake_waiting_for_keys(conn, codes, age)
    found = await due.unfinished_generations(conn, SCENES_PER_TICK)
    await conn.commit()
    if not found:
        return []
    known = fates({one.run_id for one in found if one.run_id is not None})
    left_alone: dict[UnfinishedGeneration, timedelta] = {}
    taken_up = []
    for one in found:
        fate = known.get(one.run_id or "")
        if fate == "active":
            left_alone[one] = _ACTIVE_WAIT
        elif fate == "canceled" and one.state == "planned":
            left_alone[one] = _CANCELED_WAIT
        else:
            taken_up.append(one)
    if left_alone:
        async with conn.transaction():
            waits = {one.id: wait for one, wait in left_alone.items()}
            await due.set_take_up(conn, waits, is_attempt=False)
    taken_up.sort(key=attrgetter("project_key"))
    return [_wish(list(group)) for _, group in groupby(taken_up, key=attrgetter("project_id"))]


def wait_after(generation: UnfinishedGeneration) -> timedelta:
    """How long a generation is left alone after it was taken up."""
    waits: Sequence[int] = _UNSENT_WAITS
    if generation.state in _PAID:
        waits = _PAID_WAITS
    elif generation.state == "submitting":
        waits = _AMBIGUOUS_WAITS
    elif generation.is_blocked and generation.error_code != REFERENCE_CHANGED:
        waits = _HELD_UP_WAITS  # a changed picture is no obstacle: it is planned anew
    return timedelta(seconds=waits[min(generation.take_up_attempts, len(waits) - 1)])


def _wish(generations: Sequence[UnfinishedGeneration]) -> Wish:
    first = generations[0]
    return Wish(
        "unfinished_generations",
        first.project_id,
        first.project_key,
        tuple(
            DueScene(one.scene_id, generation_id=one.id, wait=wait_after(one))
            for one in generations
        ),
        reason_of([_words(one) for one in generations]),
    )


_WORDS: Mapping[GenerationState, str] = {
    "planned": "begun and not sent",
    "submitting": "sent, no answer",
    "submitted": "waits for its picture",
    "completed": "not stored yet",
    "stored": "not recorded yet",
    "recorded": "not published yet",
}


def _words(generation: UnfinishedGeneration) -> str:
    words = _WORDS[generation.state]
    return f"{words} ({generation.error_code})" if generation.error_code else words
