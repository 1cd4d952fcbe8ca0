"""What the UI shows of one finished stage of one scene: pictures first, then words and numbers.

Belongs here: names and kinds of values. Does not belong here: where a value comes from
(`pipeline.orders`), and what came before a version (`comparisons`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import dagster as dg

from scene_pipeline.defs.comparisons import attempts_metadata, comparison_metadata, side_by_side
from scene_pipeline.defs.glances import MAX_GLANCE_BYTES, glance
from scene_pipeline.defs.markdown import prompt_markdown
from scene_pipeline.defs.metadata import MetadataValues, inline_image, scene_metadata
from scene_pipeline.pipeline.orders import FrameFacts, StageDone
from scene_pipeline.scenes.table import PromptRow, markdown_table, prompts_table

MAX_THUMBNAIL_BYTES: Final = 12 * 1024
"""Shown large beside a first version; as a data URI about 16 kB."""

# Dagster's own tag: the UI shows a regenerated frame as changed because this differs.
_DATA_VERSION_TAG: Final = "dagster/data_version"


def stage_materialization(event: StageDone, partition_key: str) -> dg.AssetMaterialization:
    """Build what the UI shows for one finished stage of one scene."""
    values = _fact_values(event.facts)
    if event.frame is not None:
        values = frame_metadata(event.frame) | values
    data_version = _data_version(event)
    return dg.AssetMaterialization(
        asset_key=event.stage,
        partition=partition_key,
        description=_stage_description(event),
        metadata=scene_metadata(event.scene)
        | values
        | {"kept": dg.MetadataValue.bool(event.is_kept)},
        tags={} if data_version is None else {_DATA_VERSION_TAG: data_version},
    )


def frame_metadata(frame: FrameFacts) -> MetadataValues:
    """Everything that is shown of one version of a frame; the pictures first."""
    values = _pictures(frame)
    values |= {
        "url": dg.MetadataValue.url(frame.url),
        "version": dg.MetadataValue.int(frame.version),
        "is_current": dg.MetadataValue.bool(frame.is_current),
        "prompt": prompt_markdown(frame.prompt),
    }
    values |= comparison_metadata(frame)
    values |= {
        "provider": dg.MetadataValue.text(frame.provider),
        "model": dg.MetadataValue.text(frame.model),
        "width": dg.MetadataValue.int(frame.width),
        "height": dg.MetadataValue.int(frame.height),
        "size_bytes": dg.MetadataValue.int(frame.size_bytes),
        "content_type": dg.MetadataValue.text(frame.content_type),
        "sha256": dg.MetadataValue.text(frame.sha256),
        "cost_usd": dg.MetadataValue.float(float(frame.cost_usd)),
        "cost_kind": dg.MetadataValue.text(frame.cost_kind),
        "generation_id": dg.MetadataValue.text(frame.generation_id),
        "storage_status": dg.MetadataValue.text(frame.storage_status),
        "generated_at": dg.MetadataValue.timestamp(frame.generated_at),
    }
    if frame.seed is not None:
        values["seed"] = dg.MetadataValue.int(frame.seed)
    if frame.storage_path is not None:
        values["storage_path"] = dg.MetadataValue.text(frame.storage_path)
    return (
        values
        | _seconds(frame.stage_seconds)
        | attempts_metadata(frame.attempts, frame.attempts_total)
    )


def _pictures(frame: FrameFacts) -> MetadataValues:
    """Small ones that the UI shows in place, and large ones that it opens on a click."""
    before = frame.previous.thumbnail if frame.previous is not None else None
    both = side_by_side(frame)
    # With both there is no need for the one alone, which would double what the event weighs.
    alone = inline_image(frame.thumbnail, "image/jpeg", MAX_THUMBNAIL_BYTES) if not both else None
    shown = {
        "thumbnail": _small(frame.thumbnail),
        "previous_thumbnail": _small(before),
        "compared": both,
        "preview": alone,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _small(thumbnail: bytes | None) -> dg.MetadataValue | None:
    if thumbnail is None:
        return None
    return inline_image(glance(thumbnail), "image/webp", MAX_GLANCE_BYTES)


def _seconds(by_stage: Mapping[str, float]) -> MetadataValues:
    if not by_stage:
        return {}
    values: MetadataValues = {
        f"{stage}_seconds": dg.MetadataValue.float(taken) for stage, taken in by_stage.items()
    }
    return values | {"seconds": dg.MetadataValue.float(round(sum(by_stage.values()), 3))}


def prompts_observation(rows: Sequence[PromptRow]) -> dg.AssetObservation:
    """The prompts table of a run: what was, or would have been, sent for each of its scenes."""
    ordered = sorted(rows, key=lambda row: row.position)
    return dg.AssetObservation(
        "scene_prompt",
        description=f"Prompts of {len(ordered)} scenes",
        metadata={"prompts": dg.MetadataValue.md(markdown_table(prompts_table(ordered)))},
    )


def _data_version(event: StageDone) -> str | None:
    """What has to differ for the stages after this one to be out of date."""
    if event.frame is not None:
        return event.frame.sha256
    version = event.facts.get("content_hash") or event.facts.get("generation_id")
    return None if version is None else str(version)


def _stage_description(event: StageDone) -> str:
    version = "" if event.frame is None else f" version {event.frame.version}"
    return f"{'Kept' if event.is_kept else 'Made'}{version} for {event.scene.scene_id}"


def _fact_values(facts: Mapping[str, Any]) -> MetadataValues:
    values = attempts_metadata(facts.get("attempts", ()), facts.get("attempts_total", 0))
    for name, value in facts.items():
        if name in values:
            continue
        shown = _fact_value(name, value)
        if shown is not None:
            values[name] = shown
    return values


def _fact_value(name: str, value: object) -> dg.MetadataValue | None:
    """Numbers stay numbers, so that the UI can plot them over time."""
    shown: dg.MetadataValue | None = None
    match value:
        case None | ():
            pass
        case bool():
            shown = dg.MetadataValue.bool(value)
        case int():
            shown = dg.MetadataValue.int(value)
        case float() | Decimal():
            shown = dg.MetadataValue.float(float(value))
        case str() if name.endswith("prompt"):
            shown = prompt_markdown(value)
        case str() if name.endswith("url"):
            shown = dg.MetadataValue.url(value)
        case _:
            shown = dg.MetadataValue.text(str(value))
    return shown
