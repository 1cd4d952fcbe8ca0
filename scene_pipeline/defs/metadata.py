"""The one place that names metadata keys and tags.

Belongs here: every name that people see beside a materialization or a run, and how a value is
shown. Does not belong here: where a value comes from (`pipeline.orders`).
"""

import base64
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import dagster as dg

from scene_pipeline.defs.glances import glance
from scene_pipeline.pipeline.orders import FrameFacts, SceneRef, StageDone
from scene_pipeline.scenes.table import PromptRow, markdown_table, prompts_table

PROJECT_TAG: Final = "scene_pipeline/project"
"""Key of the one project that a run works on; left out where there are several."""
REQUEST_TAG: Final = "scene_pipeline/request"
"""Ids of the regeneration requests that a run carries out, for people: the rows decide."""
LAUNCH_TAG: Final = "scene_pipeline/launch"
"""Id of the row of `launches` that a run stands for."""
REASON_TAG: Final = "scene_pipeline/reason"
"""Why a run was launched by itself, in a few words."""
MAX_REASON_LENGTH: Final = 100

# Dagster's UI does not show what begins with its own ".dagster/": tags for programs, long and
# meaningless to people, would fill the list of runs.
_HIDDEN_PREFIX = ".dagster/scene_pipeline_"
SHEET_TAG: Final = f"{_HIDDEN_PREFIX}storyboard_fingerprint"
"""The state of the frames that a storyboard run was launched for."""

IMPORT_LAUNCH_TAG: Final = f"{_HIDDEN_PREFIX}import_launch"
"""Id of the launch whose imports a run carries out."""

HEAL_STATE_TAG: Final = f"{_HIDDEN_PREFIX}heal_state"
"""What was due to be healed when a run of healing was launched."""

PROCESS_TAG: Final = f"{_HIDDEN_PREFIX}process"
"""The process that executes a run: its id, when it began, and the run's id."""
HOST_TAG: Final = f"{_HIDDEN_PREFIX}host"
"""The machine and namespace in which that process id means something."""

MAX_THUMBNAIL_BYTES: Final = 12 * 1024
"""As a data URI about 16 kB: what an event row in PostgreSQL can carry thousands of times."""
MAX_PREVIEW_BYTES: Final = 40 * 1024
"""A contact sheet's inline preview; one per project and sheet."""

# Dagster's own tag: the UI shows a regenerated frame as changed because this differs.
_DATA_VERSION_TAG: Final = "dagster/data_version"
_MARKDOWN_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@/])")

MetadataValues = dict[str, dg.MetadataValue]


def launch_tags(launch_id: int | None, reason: str) -> dict[str, str]:
    """Tags of a run that a launch stands for, and why, in a few printable characters."""
    if launch_id is None:
        return {}
    printable = "".join(c if c.isprintable() else " " for c in reason)
    return {LAUNCH_TAG: str(launch_id), REASON_TAG: printable[:MAX_REASON_LENGTH]}


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


def scene_metadata(scene: SceneRef) -> MetadataValues:
    """Project and scene, by the names people use."""
    return {
        "project": dg.MetadataValue.text(scene.project_key),
        "scene": dg.MetadataValue.text(scene.scene_id),
    }


def frame_metadata(frame: FrameFacts) -> MetadataValues:
    """Everything that is shown of one version of a frame; the picture first."""
    values: MetadataValues = {}
    if frame.thumbnail is not None:
        small = inline_image(glance(frame.thumbnail), "image/webp", MAX_THUMBNAIL_BYTES)
        large = inline_image(frame.thumbnail, "image/jpeg", MAX_THUMBNAIL_BYTES)
        pictures = {"thumbnail": small, "preview": large}
        values |= {name: shown for name, shown in pictures.items() if shown is not None}
    values |= {
        "url": dg.MetadataValue.url(frame.url),
        "version": dg.MetadataValue.int(frame.version),
        "is_current": dg.MetadataValue.bool(frame.is_current),
        "prompt": prompt_markdown(frame.prompt),
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
    return values


def prompts_observation(rows: Sequence[PromptRow]) -> dg.AssetObservation:
    """The prompts table of a run: what was, or would have been, sent for each of its scenes."""
    ordered = sorted(rows, key=lambda row: row.position)
    return dg.AssetObservation(
        "scene_prompt",
        description=f"Prompts of {len(ordered)} scenes",
        metadata={"prompts": dg.MetadataValue.md(markdown_table(prompts_table(ordered)))},
    )


def inline_image(
    data: bytes | None, content_type: str, max_bytes: int
) -> dg.MarkdownMetadataValue | None:
    """Show a small picture in the UI without a request to anywhere.

    Args:
        data: The picture, or None where none is at hand.
        content_type: Its media type.
        max_bytes: A larger picture is left out: the event log is a database table.
    """
    if data is None or len(data) > max_bytes:
        return None
    encoded = base64.b64encode(data).decode("ascii")
    return dg.MetadataValue.md(f"![picture](data:{content_type};base64,{encoded})")


def prompt_markdown(text: str) -> dg.MarkdownMetadataValue:
    """Show a prompt as its author wrote it.

    Punctuation is escaped: a prompt is anybody's text, and as live markdown it could make every
    viewer's browser fetch a picture from somewhere.
    """
    escaped = _MARKDOWN_PUNCTUATION.sub(r"\\\1", text)
    return dg.MetadataValue.md("  \n".join(escaped.splitlines()))


def _data_version(event: StageDone) -> str | None:
    """What has to differ for the stages after this one to be out of date."""
    if event.frame is not None:
        return event.frame.sha256
    version = event.facts.get("content_hash") or event.facts.get("generation_id")
    return None if version is None else str(version)


def _stage_description(event: StageDone) -> str:
    version = "" if event.frame is None else f" version {event.frame.version}"
    return f"{'Kept' if event.is_kept else 'Made'}{version} for {event.scene.scene_id}"


def _fact_values(facts: Mapping[str, object]) -> MetadataValues:
    values: MetadataValues = {}
    for name, value in facts.items():
        shown = _fact_value(name, value)
        if shown is not None:
            values[name] = shown
    return values


def _fact_value(name: str, value: object) -> dg.MetadataValue | None:
    """Numbers stay numbers, so that the UI can plot them over time."""
    shown: dg.MetadataValue | None = None
    match value:
        case None:
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
