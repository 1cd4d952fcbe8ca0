"""What the pages of `scene_image` and `scene_start_frame` say of a frame that no run told so.

Where an older version is chosen, an address moves, or a scene leaves the document, no run tells of
it. The next storyboard does, by an observation: the UI lays it over the newest materialization,
name by name, so that the page shows what is current. It is none itself, so that partitions keep
their status, results of checks go on to be about the newest materialization, and nothing looks
paid. It belongs to no run: the UI would name that run beside each single value.

A frame whose run was killed before it told of it is materialized here, as by a run that keeps it,
and one whose run was killed before it told the results of its checks is judged here
(`unjudged_frames`). While runs are on the project, frames that were made are left to them.

Belongs here: these observations, and what was told last. Does not belong here: which scenes they
are about (`pipeline.reporting.changed_frames`), and reading Dagster's log (`newest_events`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg

from scene_pipeline.defs.checks import of_known_scenes
from scene_pipeline.defs.frame_metadata import frame_metadata, stage_materialization
from scene_pipeline.defs.frame_runs import projects_with_frame_runs
from scene_pipeline.defs.metadata import MetadataValues, scene_metadata
from scene_pipeline.defs.newest_events import ToldFrame, told_frames
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.unjudged_frames import (
    LAST_CHECK,
    note_unjudged_frames,
    stages_of,
    without_results,
)
from scene_pipeline.pipeline.checks import CheckedAsset
from scene_pipeline.pipeline.orders import FrameFacts, SceneRef, Stage, StageDone
from scene_pipeline.scenes.identity import partition_key

if TYPE_CHECKING:
    from scene_pipeline.pipeline.reporting.changed_frames import ChangedFrame

_AT_WORK: Final = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_OF_ADDRESS: Final = ("url", "version", "is_current", "storage_status", "storage_path")
"""What is told of a version whose materialization the page shows."""
_NOTHING: Final = "\u2013"
"""Stands over what the materialization below says of another version."""


@dataclass(frozen=True, slots=True)
class _Untold:
    """A scene of whose frame Dagster does not say all."""

    changed: "ChangedFrame"
    told: Mapping[CheckedAsset, ToldFrame | None]
    """Stages of which it says something else, or nothing, with what it says."""

    @property
    def shows_another(self) -> bool:
        """Whether the page of a stage shows another version."""
        version = self.changed.noted.version
        return any(told is None or told.version != version for told in self.told.values())


def tell_changed_frames(
    context: dg.AssetExecutionContext, pipeline: PipelineRuntime, project_key: str
) -> Iterator[dg.AssetCheckEvaluation]:
    """Tell of frames that changed without a run what they are now, each change once.

    What is told is forgotten afterwards: where this is cut off, Dagster's own log says what it
    knows already, and only the rest is told again.

    Yields:
        Results of the checks on pictures that are current now and were not before.
    """
    from scene_pipeline.pipeline.reporting.changed_frames import changed_frames, keep_told  # noqa: PLC0415  # psycopg

    note_unjudged_frames(context.instance, pipeline, project_key)
    after = ""
    while True:
        page = pipeline.in_database(partial(changed_frames, project_key=project_key, after=after))
        if not page:
            return
        after = page[-1].scene.scene_id
        # After the page was read: a run that ended by now has told what it recorded.
        busy = projects_with_frame_runs(context.instance, _AT_WORK)
        is_at_work = busy is None or project_key in busy
        keys = frozenset(context.instance.get_dynamic_partitions(SCENES_NAME))
        # An archived project may have given up its keys; it is told when it has them again.
        known = [
            one
            for one in page
            if _key(one.scene) in keys and not (one.noted.is_made and is_at_work)
        ]
        untold = _untold(context.instance, known)
        yield from _tell(context, pipeline, untold, _unjudged(context.instance, known, untold))
        settled = [one for one in known if not one.noted.is_open]
        pipeline.in_database(partial(keep_told, told=settled))


def _tell(
    context: dg.AssetExecutionContext,
    pipeline: PipelineRuntime,
    untold: Sequence[_Untold],
    unjudged: Sequence[SceneRef],
) -> Iterator[dg.AssetCheckEvaluation]:
    """Materializations first, which results are about; observations last.

    By these it is known that everything was told: cut off before, it is told once more.
    """
    from scene_pipeline.pipeline.reporting.changed_frames import frames_to_tell  # noqa: PLC0415  # psycopg

    changed = [one.changed for one in untold]
    frames = pipeline.in_database(partial(frames_to_tell, changed=changed)) if changed else {}
    observed: list[dg.AssetObservation] = []
    for one in untold:
        for stage, before in one.told.items():
            if one.changed.scene not in frames:
                continue
            event = _event(stage, one.changed, frames[one.changed.scene], before)
            if isinstance(event, dg.AssetObservation):
                observed.append(event)
            else:
                context.instance.report_runless_asset_event(event)
    yield from _judged_anew(context, pipeline, unjudged)
    for observation in observed:
        context.instance.report_runless_asset_event(observation)


def _untold(instance: dg.DagsterInstance, known: Sequence["ChangedFrame"]) -> list[_Untold]:
    """Those of which Dagster does not say already how they stand."""
    told = {
        stage: told_frames(
            instance,
            dg.AssetKey(stage),
            {_key(one.scene) for one in known if stage in _stages(one)},
        )
        for stage in LAST_CHECK
    }
    found = []
    for one in known:
        before = {stage: told[stage].get(_key(one.scene)) for stage in _stages(one)}
        others = {stage: said for stage, said in before.items() if not _says(said, one)}
        if others:
            found.append(_Untold(one, others))
    return found


def _unjudged(
    instance: dg.DagsterInstance, known: Sequence["ChangedFrame"], untold: Sequence[_Untold]
) -> list[SceneRef]:
    """Scenes whose page shows a version that was not checked, or that no results are about."""
    found = [one.changed.scene for one in untold if one.shows_another]
    made = [one for one in known if one.noted.is_made and one.noted.is_in_document]
    found += without_results(instance, {one.scene: _stages(one) for one in made})
    return list(dict.fromkeys(found))


def _stages(changed: "ChangedFrame") -> tuple[CheckedAsset, ...]:
    """What there is to tell of."""
    noted = changed.noted
    if noted.version is None:
        return ()
    return stages_of(is_published=noted.is_published or not noted.is_made)


def _judged_anew(
    context: dg.AssetExecutionContext, pipeline: PipelineRuntime, scenes: Sequence[SceneRef]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of all checks: what was kept may have been about an older materialization."""
    from scene_pipeline.pipeline.checking.frames import check_scenes  # noqa: PLC0415  # heavy

    if not scenes:
        return
    run_id = context.run.run_id
    checked = pipeline.with_services(
        lambda services: check_scenes(services, scenes, tuple(LAST_CHECK), run_id=run_id)
    )
    verdicts = [(one.scene, verdict) for one in checked for verdict in one.verdicts]
    yield from of_known_scenes(context.instance, verdicts)


def _key(scene: SceneRef) -> str:
    return partition_key(scene.project_key, scene.scene_id)


def _says(told: ToldFrame | None, changed: "ChangedFrame") -> bool:
    """Whether Dagster says already how the scene stands."""
    noted = changed.noted
    stands = (noted.version, noted.url, noted.is_in_document)
    return told is not None and (told.version, told.url, told.is_in_document) == stands


def _event(
    stage: Stage, changed: "ChangedFrame", frame: FrameFacts, told: ToldFrame | None
) -> dg.AssetMaterialization | dg.AssetObservation:
    """What is told: of a version that no run told of, what a run would have."""
    if changed.noted.is_made and (told is None or told.version != frame.version):
        kept = StageDone(changed.scene, stage, {}, frame, is_kept=True)
        return stage_materialization(kept, _key(changed.scene))
    return _observation(stage, changed, frame, told)


def _observation(
    stage: Stage, changed: "ChangedFrame", frame: FrameFacts, told: ToldFrame | None
) -> dg.AssetObservation:
    values = frame_metadata(frame)
    # The page lays all observations over each other, of which only the newest is read. So each one
    # over another says everything: what it shows by then is named by the newest, or lies below all.
    if told is not None and told.version == frame.version and not told.is_observation:
        values = {name: values[name] for name in _OF_ADDRESS if name in values}
    else:
        # As words, which nothing adds up: a number would be one more payment.
        values["cost_usd"] = dg.MetadataValue.text(
            f"nothing now; making version {frame.version} had cost {frame.cost_usd}"
        )
        values["kept"] = dg.MetadataValue.bool(True)
    words = _words(changed, frame, told)
    shown: MetadataValues = {
        "now": dg.MetadataValue.text(words),
        **values,
        **scene_metadata(changed.scene),
        "is_in_document": dg.MetadataValue.bool(changed.noted.is_in_document),
    }
    if told is not None and told.version != frame.version:
        shown |= dict.fromkeys(told.names - shown.keys(), dg.MetadataValue.text(_NOTHING))
    return dg.AssetObservation(
        stage, partition=_key(changed.scene), description=words, metadata=shown
    )


def _words(changed: "ChangedFrame", frame: FrameFacts, told: ToldFrame | None) -> str:
    """What changed, and since when, in one or two sentences."""
    since = f"since {changed.noted.changed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    version = f"Version {frame.version}"
    if not changed.noted.is_in_document:
        return f"The scene is not in the document {since}; no frame of it goes to video."
    if told is None:
        return f"{version} is the scene's frame {since}."
    if told.version != frame.version:
        return (
            f"{version} is the scene's frame {since}, in the place of version {told.version}; "
            "nothing was paid for that."
        )
    if told.is_in_document is False:
        return f"The scene is back in the document {since}; its frame is version {frame.version}."
    return f"{version} has another address {since}; its picture is the same."
