"""Runs of imports: those that the sensor asks for, and one that is executed in this process.

Belongs here: run requests, their tags and keys, and asking the instance about them. Does not belong
here: what is due (`pipeline.due.imports`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import dagster as dg

from scene_pipeline.database.imports import ImportRow
from scene_pipeline.defs.launch_requests import fates_of_runs
from scene_pipeline.defs.metadata import IMPORT_LAUNCH_TAG, PROJECT_TAG, reason_tag
from scene_pipeline.defs.partitions import LIBRARIES_NAME, libraries
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.user_asset import ImportConfig
from scene_pipeline.pipeline.due.imports import ImportLaunch, imports
from scene_pipeline.pipeline.due.launches import RunFate
from scene_pipeline.scenes.identity import library_partition_key

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

_RUNS_PER_TICK = 2000


def launch_due_imports(
    instance: dg.DagsterInstance, pipeline: PipelineRuntime
) -> dg.SensorResult | dg.SkipReason:
    """One tick of the sensor: a run for each project of which something waits.

    Raises:
        DatabaseError: The database cannot be read.
    """

    async def tick(conn: "Connection") -> list[ImportLaunch]:
        return await imports(conn, lambda rows: fates_of_imports(instance, rows))

    launches = pipeline.in_database(tick)
    if not launches:
        return dg.SkipReason("Nothing waits to be imported, or its run is at it.")
    keys = dict.fromkeys(library_partition_key(launch.project_key) for launch in launches)
    new = [key for key in keys if not instance.has_dynamic_partition(LIBRARIES_NAME, key)]
    return dg.SensorResult(
        run_requests=[_run_request(launch) for launch in launches],
        dynamic_partitions_requests=[libraries.build_add_request(new)] if new else [],
    )


def fates_of_imports(
    instance: dg.DagsterInstance, rows: Sequence[ImportRow]
) -> dict[UUID, RunFate]:
    """What became of the runs of imports: of the one that worked on each, and of its launch's."""
    run_ids = {row.run_id for row in rows if row.run_id is not None}
    run_of_launch: dict[str, str] = {}
    launches = sorted({str(row.launch_id) for row in rows if row.launch_id is not None})
    if launches:
        asked = dg.RunsFilter(tags={IMPORT_LAUNCH_TAG: launches})
        for run in instance.get_runs(asked, limit=_RUNS_PER_TICK):
            # The newest comes first. One that was created and never submitted counts as none.
            if run.status is not dg.DagsterRunStatus.NOT_STARTED:
                run_of_launch.setdefault(run.tags[IMPORT_LAUNCH_TAG], run.run_id)
    fates = fates_of_runs(instance, run_ids | set(run_of_launch.values()))
    found: dict[UUID, RunFate] = {}
    for row in rows:
        launched = run_of_launch.get(str(row.launch_id))
        known = [fates[run] for run in (launched, row.run_id) if run is not None and run in fates]
        if known:
            found[row.id] = "active" if "active" in known else known[0]
    return found


def import_run_tags(launch_id: UUID, project_key: str | None) -> dict[str, str]:
    """Tags of a run that carries out a launch of imports."""
    tags = {IMPORT_LAUNCH_TAG: str(launch_id)}
    return tags if project_key is None else {**tags, PROJECT_TAG: project_key}


def _run_request(launch: ImportLaunch) -> dg.RunRequest:
    return dg.RunRequest(
        # Every attempt is a launch of its own, so that its key was never used.
        run_key=f"asset_imports:{launch.id}",
        partition_key=library_partition_key(launch.project_key),
        run_config=dg.RunConfig(ops={"user_asset": ImportConfig(launch=str(launch.id))}),
        tags={
            **import_run_tags(launch.id, launch.project_key),
            **reason_tag("addresses or uploads wait to be imported"),
        },
    )
