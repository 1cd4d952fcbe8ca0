"""What the pages of `scene_image` and `scene_start_frame` say of a frame that no run has made so.

Where an older version is chosen, an address moves, or a scene leaves the document, no run tells of
it. The next storyboard does, by an observation: the UI lays it over the newest materialization,
name by name, so that the page shows what is current. It is none itself, so that partitions keep
their status, results of checks go on to be about the newest materialization, and nothing looks
paid. It belongs to no run: the UI would name that run beside each single value.

A frame whose run was killed before it told of it is materialized here, as by a run that keeps it.

Belongs here: these observations, and what was told last. Does not belong here: which scenes they
are about (`pipeline.reporting.changed_frames`).
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg

from scene_pipeline.defs.checks import of_known_scenes
from scene_pipeline.defs.frame_metadata import frame_metadata, stage_materialization
from scene_pipeline.defs.metadata import MetadataValues, scene_metadata
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.checks import CheckedAsset
from scene_pipeline.pipeline.orders import FrameFacts, SceneRef, Stage, StageDone
from scene_pipeline.scenes.identity import partition_key

if TYPE_CHECKING:
    from scene_pipeline.pipeline.reporting.changed_frames import ChangedFrame

_STAGES: Final[tuple[CheckedAsset, ...]] = ("scene_image", "scene_start_frame")
_OF_ADDRESS: Final = ("url", "version", "is_current", "storage_status", "storage_path")
"""What is told of a version that was told before."""
_NOTHING: Final = "\u2013"
"""Stands over what the materialization below says of another version."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What Dagster says of a scene's frame."""

    storage_id: int
    version: object
    url: object
    is_in_document: object
    names: frozenset[str]
    """Of all metadata that the page shows."""


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

    after = ""
    while True:
        page = pipeline.in_database(partial(changed_frames, project_key=project_key, after=after))
        if not page:
            return
        after = page[-1].scene.scene_id
        keys = frozenset(context.instance.get_dynamic_partitions(SCENES_NAME))
        # An archived project may have given up its keys; it is told when it has them again.
        known = [one for one in page if _key(one.scene) in keys]
        others: dict[SceneRef, None] = {}
        for stage in _STAGES:
            told = _newest(context.instance, dg.AssetKey(stage), {_key(one.scene) for one in known})
            for one in known:
                before = told.get(_key(one.scene))
                if one.frame is None:
                    continue
                if one.noted.is_of_dead_run:
                    others[one.scene] = None
                if _says(before, one, one.frame):
                    continue
                context.instance.report_runless_asset_event(_event(stage, one, one.frame, before))
                if before is None or before.version != one.frame.version:
                    others[one.scene] = None
        yield from _judged_anew(context, pipeline, list(others))
        pipeline.in_database(partial(keep_told, told=known))


def _judged_anew(
    context: dg.AssetExecutionContext, pipeline: PipelineRuntime, scenes: Sequence[SceneRef]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of all checks: what was kept may have been about an older materialization."""
    from scene_pipeline.pipeline.checking.frames import check_scenes  # noqa: PLC0415  # heavy

    if not scenes:
        return
    run_id = context.run.run_id
    checked = pipeline.with_services(
        lambda services: check_scenes(services, scenes, _STAGES, run_id=run_id)
    )
    verdicts = [(one.scene, verdict) for one in checked for verdict in one.verdicts]
    yield from of_known_scenes(context.instance, verdicts)


def _key(scene: SceneRef) -> str:
    return partition_key(scene.project_key, scene.scene_id)


def _says(told: _Told | None, changed: "ChangedFrame", frame: FrameFacts) -> bool:
    """Whether Dagster says already how the scene stands."""
    stands = (frame.version, frame.url, changed.noted.is_in_document)
    return told is not None and (told.version, told.url, told.is_in_document) == stands


def _newest(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: AbstractSet[str]
) -> dict[str, _Told]:
    """What the newest materialization and the observations since say, by partition."""
    found: dict[str, _Told] = {}
    for kind, fetch in (
        (dg.DagsterEventType.ASSET_MATERIALIZATION, instance.fetch_materializations),
        (dg.DagsterEventType.ASSET_OBSERVATION, instance.fetch_observations),
    ):
        ids = keys and instance.get_latest_storage_id_by_partition(asset_key, kind, set(keys))
        if not ids:
            continue
        wanted = dg.AssetRecordsFilter(asset_key, storage_ids=list(ids.values()))
        for record in fetch(wanted, limit=len(ids)).records:
            event = record.asset_materialization or record.asset_observation
            before = found.get(record.partition_key or "")
            if event is None or record.partition_key is None:
                continue
            if before is not None and before.storage_id > record.storage_id:
                continue
            said = {name: value.value for name, value in event.metadata.items()}
            found[record.partition_key] = _Told(
                storage_id=record.storage_id,
                version=said.get("version"),
                url=said.get("url"),
                is_in_document=said.get("is_in_document", True),
                names=frozenset(said) | (before.names if before else frozenset()),
            )
    return found


def _event(
    stage: Stage, changed: "ChangedFrame", frame: FrameFacts, told: _Told | None
) -> dg.AssetMaterialization | dg.AssetObservation:
    """What is told: of a version that no run told of, what a run would have."""
    if changed.noted.is_of_dead_run and (told is None or told.version != frame.version):
        kept = StageDone(changed.scene, stage, {}, frame, is_kept=True)
        return stage_materialization(kept, _key(changed.scene))
    return _observation(stage, changed, frame, told)


def _observation(
    stage: Stage, changed: "ChangedFrame", frame: FrameFacts, told: _Told | None
) -> dg.AssetObservation:
    values = frame_metadata(frame)
    if told is not None and told.version == frame.version:
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


def _words(changed: "ChangedFrame", frame: FrameFacts, told: _Told | None) -> str:
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
