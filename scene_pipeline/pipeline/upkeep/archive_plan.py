"""Which partition keys of archived projects may go: decided from what is given, and nothing else.

Belongs here: that, and the values it needs. Does not belong here: taking keys away
(`pipeline.upkeep.archive`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.identity import (
    parse_library_partition_key,
    parse_partition_key,
    parse_project_partition_key,
)

if TYPE_CHECKING:
    from scene_pipeline.database.archived import ArchivedProject


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """What runs and backfills that are under way may still write to."""

    projects: frozenset[str] = frozenset()
    """Projects that a run names."""
    ranges: tuple[tuple[str, str], ...] = ()
    """First and last partition key of each run; the same one for a single partition."""
    is_everything: bool = False
    """Whether it cannot be told which keys are held."""


class PartitionKeys(Protocol):
    """The keys of an instance, and who holds them."""

    def scene_keys(self) -> Sequence[str]:
        """Every key of the scenes, in the instance's order."""

    def project_keys(self) -> Sequence[str]:
        """Every key of the projects."""

    def held(self) -> HeldKeys:
        """What is held at this moment."""

    def library_keys(self) -> Sequence[str]:
        """Every key of the libraries."""

    def delete_scene_keys(self, keys: Sequence[str]) -> None:
        """Take keys of scenes away; keys that are gone are no error."""

    def delete_project_key(self, key: str) -> None:
        """Take a project's own key away."""

    def delete_library_key(self, key: str) -> None:
        """Take the key of a project's library away; one that is gone is no error."""


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """Which keys may go now, and what has to wait."""

    scene_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Keys of scenes by project; a project without any has only its own key left."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Why a project is left for the next time, by its key."""


def plan_archive(
    archived: "Sequence[ArchivedProject]",
    scene_keys: Sequence[str],
    held: HeldKeys,
) -> ArchivePlan:
    """Decide which keys may go.

    Args:
        archived: The projects concerned.
        scene_keys: Every key of the scenes, in the instance's order, which ranges follow.
        held: What runs may still write to.
    """
    keys: dict[str, list[str]] = defaultdict(list)
    for key in scene_keys:
        owner = _project_of(key)
        if owner is not None:
            keys[owner].append(key)
    busy = None if held.is_everything else busy_projects(scene_keys, held)
    may_go: dict[str, Sequence[str]] = {}
    waiting: dict[str, str] = {}
    for project in archived:
        if busy is None:
            waiting[project.key] = "a backfill, or a run on unknown scenes, is under way"
        elif project.key in busy:
            waiting[project.key] = "a run is under way"
        elif project.has_open_launch:
            waiting[project.key] = "a run was asked for"
        elif project.has_open_generation:
            waiting[project.key] = "a generation is not finished"
        elif project.has_open_import:
            waiting[project.key] = "an import is not finished"
        else:
            may_go[project.key] = keys.get(project.key, [])
    return ArchivePlan(may_go, waiting)


def busy_projects(scene_keys: Sequence[str], held: HeldKeys) -> frozenset[str] | None:
    """Projects whose keys a run may write to; None where a range cannot be placed."""
    places = {key: place for place, key in enumerate(scene_keys)}
    busy = set(held.projects)
    for start, end in held.ranges:
        ends = {_project_of(start), _project_of(end)} - {None}
        busy |= {project for project in ends if project is not None}
        # A run carries the key of whichever axis it is of, and does not say which.
        busy |= projects_of_libraries((start, end))
        if start == end:
            continue
        if start not in places or end not in places:
            return None
        busy |= projects_of(scene_keys[places[start] : places[end] + 1])
    return frozenset(busy)


def projects_of(keys: Iterable[str]) -> set[str]:
    """The projects of keys of either axis; keys that are not ours have none."""
    return {project for key in keys if (project := _project_of(key)) is not None}


def projects_of_libraries(keys: Iterable[str]) -> set[str]:
    """The projects of keys of libraries; the one that all share has none."""
    return {project for key in keys if (project := _project_of_library(key)) is not None}


def _project_of(key: str) -> str | None:
    """The project of a key of a scene or a project; None for one that is not ours."""
    try:
        return parse_partition_key(key)[0]
    except UsageError:
        pass
    try:
        return parse_project_partition_key(key)
    except UsageError:
        return None


def _project_of_library(key: str) -> str | None:
    try:
        return parse_library_partition_key(key)
    except UsageError:
        return None
