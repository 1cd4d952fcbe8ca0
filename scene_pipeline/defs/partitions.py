"""The partition axes: scenes, projects, and the libraries that imports go to.

Belongs here: the definitions, and how keys come into an instance and lie in it. Does not belong
here: how a key is spelled (`scenes.identity`).

They are one-dimensional sets, not a product: most cells of project x scene would never exist.
Dagster would map one onto the other by identity, so nothing declarative may cross between them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from scene_pipeline.scenes.identity import project_partition_key

scenes = dg.DynamicPartitionsDefinition(name="scenes")
projects = dg.DynamicPartitionsDefinition(name="projects")
libraries = dg.DynamicPartitionsDefinition(name="libraries")
"""One of each project with imports, and one for what belongs to none. Not the projects, since most
would read "missing" for ever."""

# Tags that Dagster itself reads: what a run materializes.
_RANGE_START_TAG = "dagster/asset_partition_range_start"
_RANGE_END_TAG = "dagster/asset_partition_range_end"

SCENES_NAME = "scenes"
PROJECTS_NAME = "projects"
LIBRARIES_NAME = "libraries"

MAX_GAP = 10
"""The most keys between two wanted ones that are run along: each costs a line in the run's log, a
run of its own costs seconds."""

_KEYS_PER_CALL = 1000
"""One INSERT each; thousands of keys at once hit the parameter limit of some databases."""


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """Keys that stand next to each other in the instance: what one run can carry."""

    keys: tuple[str, ...]
    """In the order in which they were added; never empty."""

    @property
    def start(self) -> str:
        """The first key."""
        return self.keys[0]

    @property
    def end(self) -> str:
        """The last key; the same as `start` for a single scene."""
        return self.keys[-1]


def range_tags(start: str, end: str) -> dict[str, str]:
    """Tags of a run over every key from one to the other; one key is a range, too."""
    return {_RANGE_START_TAG: start, _RANGE_END_TAG: end}


def register_partitions(
    instance: dg.DagsterInstance, project_key: str, partition_keys: Sequence[str]
) -> None:
    """Make a project and its scenes known to Dagster; keys that are there already stay.

    Args:
        instance: Where the keys go.
        project_key: The project's readable key.
        partition_keys: Keys of its scenes, in the document's order: ranges follow this order.
    """
    instance.add_dynamic_partitions(PROJECTS_NAME, [project_partition_key(project_key)])
    for first in range(0, len(partition_keys), _KEYS_PER_CALL):
        chunk = list(partition_keys[first : first + _KEYS_PER_CALL])
        instance.add_dynamic_partitions(SCENES_NAME, chunk)


def contiguous_ranges(
    all_keys: Sequence[str],
    wanted: Collection[str],
    *,
    max_length: int,
    fillers: Collection[str] = (),
) -> list[PartitionRange]:
    """Cut a set of scenes into as few ranges as Dagster can run.

    A run carries one key or one range, and ranges follow the order in which keys were added.

    Args:
        all_keys: Every key of the axis, in the instance's order.
        wanted: The keys to run; every one must be among `all_keys`.
        max_length: The most keys of one range, so that one run stays of a reasonable size.
        fillers: Keys that may be run along where they fill a gap of at most `MAX_GAP` keys.
    """
    wanted_keys, filler_keys = frozenset(wanted), frozenset(fillers)
    ranges: list[PartitionRange] = []
    current: list[str] = []
    gap: list[str] = []
    for key in all_keys:
        if key in wanted_keys:
            if len(current) + len(gap) >= max_length:
                ranges.append(PartitionRange(tuple(current)))
                current, gap = [], []
            current += [*gap, key]
            gap = []
        elif current and key in filler_keys and len(gap) < MAX_GAP:
            gap.append(key)
        elif current:
            ranges.append(PartitionRange(tuple(current)))
            current, gap = [], []
    if current:
        ranges.append(PartitionRange(tuple(current)))
    return ranges
