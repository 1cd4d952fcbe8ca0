"""Frames on whose pages results of checks are missing, whatever became of the run that told them.

A run that is killed between telling of a frame and telling of its checks leaves a materialization
that no result is about. Of one that made the frame the schema has a note; one that kept it changed
no row, and frames that are older than the notes have none.

Belongs here: finding them in Dagster's log. Does not belong here: judging them (`changed_frames`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import dagster as dg

from scene_pipeline.defs.newest_events import scenes_with_results
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.checks import CheckedAsset, CheckName
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.scenes.identity import partition_key

LAST_CHECK: Final[Mapping[CheckedAsset, CheckName]] = {
    "scene_image": "not_blank",
    "scene_start_frame": "prompt_unchanged_since",
}
"""Assets that are told, each with the last of its checks that comes to a verdict on any frame."""
MAX_UNJUDGED = 500
"""Frames that nothing noted which one storyboard takes up: their addresses may have to be asked."""


def without_results(
    instance: dg.DagsterInstance, stages: Mapping[SceneRef, Sequence[CheckedAsset]]
) -> list[SceneRef]:
    """Scenes of which a stage's newest materialization has no results, in the order given.

    Args:
        instance: Whose event log is read.
        stages: Scenes that Dagster lists, with what there is to tell of each.
    """
    found: set[SceneRef] = set()
    for stage, name in LAST_CHECK.items():
        scenes = {
            partition_key(scene.project_key, scene.scene_id): scene
            for scene, told in stages.items()
            if stage in told
        }
        check_key = dg.AssetCheckKey(dg.AssetKey(stage), name)
        judged = scenes_with_results(instance, check_key, scenes.keys())
        found |= {scene for key, scene in scenes.items() if key not in judged}
    return [scene for scene in stages if scene in found]


def note_unjudged_frames(
    instance: dg.DagsterInstance, pipeline: PipelineRuntime, project_key: str
) -> None:
    """Note a project's frames whose results are missing, as those are that a run has just made."""
    from scene_pipeline.pipeline.reporting.changed_frames import (  # noqa: PLC0415  # psycopg
        note_frames,
        unnoted_frames,
    )

    keys = frozenset(instance.get_dynamic_partitions(SCENES_NAME))
    after, room = "", MAX_UNJUDGED
    while room:
        page = pipeline.in_database(partial(unnoted_frames, project_key=project_key, after=after))
        if not page:
            return
        after = page[-1].scene_id
        stages = {
            SceneRef(project_key, one.scene_id): stages_of(is_published=one.is_published)
            for one in page
            # An archived project may have given up its keys.
            if partition_key(project_key, one.scene_id) in keys
        }
        missing = without_results(instance, stages)[:room]
        pipeline.in_database(partial(note_frames, project_key=project_key, scenes=missing))
        room -= len(missing)


def stages_of(*, is_published: bool) -> tuple[CheckedAsset, ...]:
    """What a run tells of a version; of one that no document has had, the picture alone."""
    return tuple(LAST_CHECK) if is_published else ("scene_image",)
