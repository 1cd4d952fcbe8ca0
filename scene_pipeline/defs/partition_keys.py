"""The partition keys of an instance, and what runs and backfills may still write to.

Belongs here: asking the instance and taking keys away. Does not belong here: which keys may go
(`pipeline.upkeep.archive_plan`).
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from scene_pipeline.defs.active_runs import ACTIVE_STATUSES, runs_with_status
from scene_pipeline.defs.metadata import PROJECT_TAG
from scene_pipeline.defs.partitions import LIBRARIES_NAME, PROJECTS_NAME, SCENES_NAME
from scene_pipeline.pipeline.upkeep.archive_plan import HeldKeys

# Tags that Dagster writes: what a run materializes.
_PARTITION_TAG = "dagster/partition"
_RANGE_START_TAG = "dagster/asset_partition_range_start"
_RANGE_END_TAG = "dagster/asset_partition_range_end"
_MAX_BACKFILLS = 500
_ENDED_BACKFILLS = frozenset(
    {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
)


class InstanceKeys:
    """`pipeline.upkeep.archive_plan.PartitionKeys` of a Dagster instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def scene_keys(self) -> Sequence[str]:
        """Every key of the scenes, in the instance's order."""
        return self._instance.get_dynamic_partitions(SCENES_NAME)

    def project_keys(self) -> Sequence[str]:
        """Every key of the projects."""
        return self._instance.get_dynamic_partitions(PROJECTS_NAME)

    def library_keys(self) -> Sequence[str]:
        """Every key of the libraries."""
        return self._instance.get_dynamic_partitions(LIBRARIES_NAME)

    def held(self) -> HeldKeys:
        """What is held at this moment; a backfill holds everything until it has ended."""
        backfills = self._instance.get_backfills(limit=_MAX_BACKFILLS)
        if any(backfill.status.value not in _ENDED_BACKFILLS for backfill in backfills):
            return HeldKeys(is_everything=True)
        runs = runs_with_status(self._instance, ACTIVE_STATUSES)
        return HeldKeys(is_everything=True) if runs is None else held_by(runs)

    def delete_scene_keys(self, keys: Sequence[str]) -> None:
        """Take keys of scenes away; keys that are gone are no error."""
        for key in keys:
            self._instance.delete_dynamic_partition(SCENES_NAME, key)

    def delete_project_key(self, key: str) -> None:
        """Take a project's own key away."""
        self._instance.delete_dynamic_partition(PROJECTS_NAME, key)

    def delete_library_key(self, key: str) -> None:
        """Take the key of a project's library away; one that is gone is no error."""
        self._instance.delete_dynamic_partition(LIBRARIES_NAME, key)


def held_by(runs: Iterable[dg.DagsterRun]) -> HeldKeys:
    """What runs that have not ended may still write to, as their tags say."""
    projects: set[str] = set()
    ranges: list[tuple[str, str]] = []
    for run in runs:
        if PROJECT_TAG in run.tags:
            projects.add(run.tags[PROJECT_TAG])
        if _PARTITION_TAG in run.tags:
            ranges.append((run.tags[_PARTITION_TAG], run.tags[_PARTITION_TAG]))
        if _RANGE_START_TAG in run.tags and _RANGE_END_TAG in run.tags:
            ranges.append((run.tags[_RANGE_START_TAG], run.tags[_RANGE_END_TAG]))
    return HeldKeys(frozenset(projects), tuple(ranges))
