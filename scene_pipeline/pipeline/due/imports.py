"""Which imports are due, and the launches that are committed for them.

One launch is one Dagster run over imports of one project, or of none. It is marked in the imports'
own rows before the run is asked for: a run that never came to be is asked for again as another
launch once the time that was set has passed, and so is what a dead run left. Nothing is remembered
elsewhere, and the worst that a mistake here can do is a run that finds nothing to do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from scene_pipeline.database.import_launches import Mark, due_imports, mark_launched, put_off
from scene_pipeline.database.import_steps import ImportFailure, fail_import
from scene_pipeline.database.imports import ImportRow
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.due.launches import RunFate
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.library.imports import MAX_ATTEMPTS
from scene_pipeline.pipeline.library.sources import kept_source_url

IMPORTS_PER_TICK = 1000
LAUNCHES_PER_TICK = 20
"""As of frames: Dagster takes a tenth of a second or more to create each run."""
_AGAIN_IN = timedelta(seconds=60)
"""Until a launch without a run is asked for again."""
_ACTIVE_WAIT = timedelta(seconds=15)

ImportFates = Callable[[Sequence[ImportRow]], Mapping[UUID, RunFate]]
"""Asks Dagster what became of the runs of imports; those that had none are left out."""

_CANCELED = ImportFailure(
    "run_canceled",
    "Its run was cancelled.",
    "Ask for it again, with `scene-pipeline assets add`.",
    is_retryable=False,
)
_NOT_LAUNCHED = ImportFailure(
    "not_imported",
    f"{MAX_ATTEMPTS} runs were launched for it, and none ended it.",
    "See its runs in Dagster's UI for the reason, then ask for it again.",
    is_retryable=False,
)


@dataclass(frozen=True, slots=True)
class ImportLaunch:
    """A run that is to be asked for."""

    id: UUID
    project_key: str | None
    number: int
    """How many imports it is for."""


async def imports(conn: Connection, fates: ImportFates) -> list[ImportLaunch]:
    """Settle what no run will end, put off what one works on, and launch the rest.

    Args:
        conn: Outside of a transaction.
        fates: Asks Dagster about runs; not called while nothing is due.
    """
    found = await due_imports(conn, IMPORTS_PER_TICK)
    await conn.commit()
    if not found:
        return []
    known = fates(found)
    active: list[UUID] = []
    launched: dict[str | None, list[UUID]] = {}
    for row in found:
        fate = known.get(row.id)
        failure = _CANCELED if fate == "canceled" else _NOT_LAUNCHED
        if fate == "active":
            active.append(row.id)
        elif fate == "canceled" or row.attempts >= MAX_ATTEMPTS:
            shown = kept_source_url(row)
            await fail_import(conn, row, failure, again_in=None, shown_source=shown)
        else:
            launched.setdefault(row.project_key, []).append(row.id)
    async with conn.transaction():
        await put_off(conn, active, _ACTIVE_WAIT)
        marked = [
            (ImportLaunch(uuid4(), key, len(ids)), ids)
            for key, ids in list(launched.items())[:LAUNCHES_PER_TICK]
        ]
        launches = [
            launch
            for launch, ids in marked
            if await mark_launched(conn, Mark(launch.id, tuple(ids), _AGAIN_IN))
        ]
    failpoint("import_tick_after_mark")
    return launches
