"""Runs of ours that failed as a whole, and are told as such.

Belongs here: which of Dagster's failed runs nobody else tells of, and in what words. Does not
belong here: scenes that failed within a run, of which the ledger tells.

There is no cursor: every look takes the runs that failed lately and leaves out those about which
the outbox has a row already, so that a look may die anywhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import dagster as dg

from scene_pipeline.defs.jobs import frames_job, imports_job, storyboard_job
from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.outcomes import UNFINISHED_SCENES
from scene_pipeline.defs.reports import portfolio_job
from scene_pipeline.defs.upkeep import UPKEEP_JOBS

if TYPE_CHECKING:
    from scene_pipeline.database.alerts import SceneFailure

LOOK_BACK = timedelta(hours=6)
"""How long after its end a run is still noticed, where nothing looked in between."""
MAX_RUNS_LISTED = 1000
MAX_RUNS_PER_LOOK = 50

# Dagster's own tag: the daemon will launch the run again, and what comes of that is told.
_WILL_RETRY_TAG = "dagster/will_retry"
# A run from the UI that selects assets has Dagster's implicit job.
_IMPLICIT_JOB = "__ASSET_JOB"
_OUR_JOBS = frozenset(
    {
        _IMPLICIT_JOB,
        frames_job.name,
        storyboard_job.name,
        portfolio_job.name,
        imports_job.name,
        *(job.name for job in UPKEEP_JOBS),
    }
)
_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
_MAX_EVENTS = 20
# Dagster writes an exception as its class and its text; the text of ours says all.
_CLASS = re.compile(r"^scene_pipeline\.errors\.\w+: ")
# Of no ledger row, and no news either: they pass by themselves, or are what somebody just chose.
_PASSING_CODES = frozenset(
    {"database_failed", "held_elsewhere", "ledger_moved", "no_frame", "project_archived"}
)


@dataclass(frozen=True, slots=True)
class FailedRun:
    """How one failed run is judged."""

    run_id: str
    project_key: str | None
    summary: str | None = None
    """What broke it; None where it is not told: nothing of ours, tried again, or told by scene."""
    scenes: "tuple[SceneFailure, ...]" = ()
    """The scenes that failed in it, where it says which."""


def lately_failed_run_ids(instance: dg.DagsterInstance) -> list[str]:
    """Ids of runs that failed within `LOOK_BACK`, at most 1000, the oldest first."""
    found = instance.get_run_ids(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE], updated_after=datetime.now(UTC) - LOOK_BACK
        ),
        limit=MAX_RUNS_LISTED,
    )
    return list(reversed(found))


def judge_runs(
    instance: dg.DagsterInstance, run_ids: Sequence[str], location_name: str | None
) -> list[FailedRun]:
    """Decide about failed runs.

    Args:
        instance: Whose runs they are.
        run_ids: At most `MAX_RUNS_PER_LOOK`.
        location_name: Of this code location; None where it is not known, as in tests.
    """
    runs = instance.get_runs(dg.RunsFilter(run_ids=list(run_ids)))
    return [_judge(instance, run, location_name) for run in runs]


def _judge(
    instance: dg.DagsterInstance, run: dg.DagsterRun, location_name: str | None
) -> FailedRun:
    project_key = run.tags.get(PROJECT_TAG)
    is_retried = run.tags.get(_WILL_RETRY_TAG) == "true"
    if is_retried or not _is_ours(run, location_name):
        return FailedRun(run.run_id, project_key)
    told = _summary(instance, run.run_id)
    if isinstance(told, str):
        return FailedRun(run.run_id, project_key, summary=told)
    return FailedRun(run.run_id, project_key, scenes=told)


def _is_ours(run: dg.DagsterRun, location_name: str | None) -> bool:
    """Several code locations may share an instance; a run of a command's own process has none."""
    if run.job_name not in _OUR_JOBS:
        return False
    origin = run.remote_job_origin
    if origin is None or location_name is None:
        return True
    return origin.location_name == location_name


def _summary(instance: dg.DagsterInstance, run_id: str) -> "str | tuple[SceneFailure, ...]":
    """What broke a run, in bounded words with what to do; or the scenes that failed in it."""
    from scene_pipeline.pipeline.alerts.text import shortened  # noqa: PLC0415  # psycopg

    records = instance.get_records_for_run(
        run_id, of_type=_FAILURES, limit=_MAX_EVENTS, ascending=True
    ).records
    words = "Dagster says no more about it."
    for record in reversed(records):  # a step's own words come before the run's, and say more
        event = record.event_log_entry.dagster_event
        data = None if event is None else event.event_specific_data
        told = getattr(data, "user_failure_data", None)
        if told is not None and UNFINISHED_SCENES in told.metadata:
            return _failed_scenes(told.metadata[UNFINISHED_SCENES])
        if told is not None and told.description:
            words = " ".join(told.description.splitlines())  # the next action is its last line
        elif (error := getattr(data, "error", None)) is not None:
            words = _words_of(error)
        elif event is not None and event.message:
            words = event.message
    first_line = next(iter(words.strip().splitlines()), words)
    return shortened(f"The run failed: {first_line}")


class _Told(Protocol):
    """An error as Dagster keeps it."""

    @property
    def message(self) -> str: ...
    @property
    def cause(self) -> "_Told | None": ...


def _words_of(error: _Told | None) -> str:
    """The first of the errors that led to each other that is ours, else what began it all."""
    words = ""
    while error is not None:
        words = error.message
        if _CLASS.match(words):
            return _CLASS.sub("", words)
        error = error.cause
    return words


def _failed_scenes(table: dg.MetadataValue) -> "tuple[SceneFailure, ...]":
    """Read the table that `outcomes` writes; blocked and ambiguous scenes are in the ledger."""
    from scene_pipeline.database.alerts import SceneFailure  # noqa: PLC0415  # psycopg

    if not isinstance(table, dg.TableMetadataValue):
        return ()
    rows = [record.data for record in table.records]
    return tuple(
        SceneFailure(
            project_key=str(row["project"]),
            scene_id=str(row["scene"]),
            code=str(row["code"]),
            message=str(row["message"]),
            next_action=str(row["next_action"]),
        )
        for row in rows
        if row["status"] == "failed" and row["code"] not in _PASSING_CODES
    )
