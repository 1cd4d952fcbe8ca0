"""Ending runs whose process is gone.

Belongs here: how a run is tied to its process, and how one that was killed is closed. Does not
belong here: what the killed run had paid for, which the ledger resumes.

Dagster's default launcher has no health check: a run whose process was killed stays "started" for
ever, in every list of the UI and against every limit. A run is ended here only where its process is
*provably* gone: same host, same process namespace, and no process of that id with that start time.
"""

import os
import socket
from pathlib import Path

import dagster as dg

from scene_pipeline.defs.metadata import HOST_TAG, PROCESS_TAG
from scene_pipeline.processes import start_ticks

_OPEN_STATUSES = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_RUNS_PER_CALL = 200


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that tie a run to this process; empty where the system cannot tell start times.

    Args:
        run_id: Goes into the tag, because a re-execution inherits its parent's tags and would
            otherwise be taken for dead before it has begun.
    """
    space, started = _this_space(), start_ticks(os.getpid())
    if space is None or started is None:
        return {}
    return {PROCESS_TAG: f"{os.getpid()}/{started}/{run_id}", HOST_TAG: space}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark every open run whose process is provably gone as failed.

    Args:
        instance: Whose runs are looked at; at most 200 at a time, the oldest first.

    Returns:
        Ids of the runs that were ended.
    """
    space = _this_space()
    if space is None:
        return []
    runs = instance.get_runs(
        dg.RunsFilter(statuses=_OPEN_STATUSES, tags={HOST_TAG: space}),
        limit=_RUNS_PER_CALL,
        ascending=True,
    )
    dead = [run for run in runs if _is_gone(run)]
    for run in dead:
        instance.report_run_failed(
            run,
            "The process that executed this run is gone. Nothing that was "
            "paid for is lost: the next run resumes it.",
        )
    return [run.run_id for run in dead]


def _is_gone(run: dg.DagsterRun) -> bool:
    pid, started, run_id = run.tags.get(PROCESS_TAG, "//").split("/", maxsplit=2)
    if run_id != run.run_id or not pid.isdigit():
        return False
    return start_ticks(int(pid)) != started


def _this_space() -> str | None:
    """What makes a process id mean something: host, the kernel's boot, and a namespace in it."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:  # not Linux: nothing can be proved, so nothing is ended
        return None
    return f"{socket.gethostname()}/{boot_id}/{namespace}"
