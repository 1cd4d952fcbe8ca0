"""The storyboard of a project as an asset: contact sheet, page and list of start frames.

Belongs here: the asset and what the UI shows of it. Does not belong here: drawing and storing it
(`pipeline.reporting.storyboard`).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg

from scene_pipeline.defs.catalogue import (
    STORYBOARD_GROUP,
    asset_owners,
    column_schema,
    spends,
    table_schema,
)
from scene_pipeline.defs.changed_frames import tell_changed_frames
from scene_pipeline.defs.checks import standing_results
from scene_pipeline.defs.columns import MAX_ACTION_CHARACTERS, Column
from scene_pipeline.defs.metadata import (
    MAX_PREVIEW_BYTES,
    PROJECT_TAG,
    MetadataValues,
    inline_image,
)
from scene_pipeline.defs.partitions import projects
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import at_work
from scene_pipeline.scenes.identity import parse_project_partition_key

if TYPE_CHECKING:
    from scene_pipeline.pipeline.reporting.storyboard import StoryboardFacts, StoryboardLine

STORYBOARD_COLUMNS: Final[tuple[Column, ...]] = (
    ("scene", "string", "Id of the scene in the master JSON."),
    ("state", "string", "Where it stands: current, missing, stale, failed, blocked, ..."),
    ("is_ready", "bool", "Whether this frame is to go to video."),
    ("version", "int", "Version that is the scene's frame; empty where it has none."),
    ("why", "string", "Why it stands so; empty where all is well."),
    ("next_action", "string", "What cures that: a sentence or a command."),
)
"""The table `scenes` of a materialization, in its order. What a scene has cost stands in the
project's report, and its address in a table of its own: Dagster's page cuts wide ones off."""
READY_COLUMNS: Final[tuple[Column, ...]] = (
    ("scene", "string", "Id of the scene in the master JSON."),
    ("version", "int", "Version that goes to video."),
    ("url", "string", "Permanent address of the frame."),
)
"""The table `to_video`, in its order."""
ROWS_SHOWN: Final = 200
"""The event log is a database table; the page shows every scene."""
START_FRAMES_SHOWN: Final = 20
_CELL_CHARACTERS = 300


@dg.asset(
    partitions_def=projects,
    # The hop from scenes to projects is made by a sensor and by `run`. The mapping is for lineage
    # only; left out, Dagster would map a project onto the scene of the same key.
    deps=[dg.AssetDep("scene_start_frame", partition_mapping=dg.AllPartitionMapping())],
    group_name=STORYBOARD_GROUP,
    kinds={"image", "html", "json"},
    owners=asset_owners(),
    tags=spends("nothing"),
    metadata=column_schema(STORYBOARD_COLUMNS),
    description=(
        "A project at a glance: the contact sheet, a page with every version, prompt, cost and "
        "what each scene waits for, and start_frames.json, which tells the video phase the frame "
        "of each scene. It renews itself when any of that changes, and spends nothing."
    ),
    code_version="2",
)
def storyboard(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> Iterator[dg.AssetCheckEvaluation | dg.MaterializeResult[None]]:
    """Draw and store a project's storyboard, and let it count once everything of it is told."""
    from scene_pipeline.database.storyboards import finish_storyboard  # noqa: PLC0415  # psycopg

    run_id = context.run.run_id
    project_key = parse_project_partition_key(context.partition_key)
    if PROJECT_TAG not in context.run.tags:
        context.instance.add_run_tags(run_id, {PROJECT_TAG: project_key})
    with at_work(context.op_execution_context):
        made = pipeline.make_storyboard(project_key, run_id)
        yield from tell_changed_frames(context, pipeline, project_key)
        yield from standing_results(context, pipeline, project_key)
        yield dg.MaterializeResult(
            metadata=_metadata(project_key, made), data_version=dg.DataVersion(made.digest)
        )
        # Last, and not where the report of the same run failed: whatever is not told by now leaves
        # the project due, and the sensor asks for both again.
        if not context.instance.get_run_stats(run_id).steps_failed:
            pipeline.in_database(
                partial(
                    finish_storyboard,
                    project_id=made.project_id,
                    run_id=run_id,
                    fingerprint=made.fingerprint,
                )
            )


def _metadata(project_key: str, made: "StoryboardFacts") -> MetadataValues:
    """Everything that is shown; the picture first."""
    preview = inline_image(made.preview, "image/jpeg", MAX_PREVIEW_BYTES)
    values: MetadataValues = {} if preview is None else {"preview": preview}
    values |= {
        "not_ready": dg.MetadataValue.int(made.not_ready),
        "cost_usd": dg.MetadataValue.float(float(made.cost_usd)),
        "page_url": dg.MetadataValue.url(made.page.storage_url),
        "url": dg.MetadataValue.url(made.url),
        "start_frames_url": dg.MetadataValue.url(made.start_frames.storage_url),
        "scenes": _scenes_table(made.scenes),
        "to_video": _ready_table(made.scenes),
        "start_frames": _start_frames(made),
        "project": dg.MetadataValue.text(project_key),
        "scene_count": dg.MetadataValue.int(made.scene_count),
        "width": dg.MetadataValue.int(made.width),
        "height": dg.MetadataValue.int(made.height),
        "size_bytes": dg.MetadataValue.int(made.size_bytes),
        "storage_path": dg.MetadataValue.text(made.storage_path),
        "sha256": dg.MetadataValue.text(made.png_sha256),
    }
    for status, number in made.counts.items():
        values[f"scenes_{status}"] = dg.MetadataValue.int(number)
    hidden = made.scene_count - ROWS_SHOWN
    if hidden > 0:
        values["scenes_not_listed"] = dg.MetadataValue.int(hidden)
    return values


def _scenes_table(lines: "Sequence[StoryboardLine]") -> dg.TableMetadataValue:
    """Scenes that are not ready first, each half in the document's order."""
    ordered = sorted(lines, key=lambda line: line.is_ready)[:ROWS_SHOWN]
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "scene": line.scene_id,
                    "state": line.state,
                    "is_ready": line.is_ready,
                    "version": line.version,
                    "why": line.why[:_CELL_CHARACTERS],
                    "next_action": line.next_action[:MAX_ACTION_CHARACTERS],
                }
            )
            for line in ordered
        ],
        schema=table_schema(STORYBOARD_COLUMNS),
    )


def _ready_table(lines: "Sequence[StoryboardLine]") -> dg.TableMetadataValue:
    """The frames that go to video, in the document's order; a last row says how many more."""
    ready = [line for line in lines if line.is_ready]
    records = [
        dg.TableRecord({"scene": line.scene_id, "version": line.version, "url": line.url})
        for line in ready[:ROWS_SHOWN]
    ]
    hidden = len(ready) - len(records)
    if hidden:
        more = f"and {hidden} more: see start_frames.json"
        records.append(dg.TableRecord({"scene": more, "version": None, "url": None}))
    return dg.MetadataValue.table(records, schema=table_schema(READY_COLUMNS))


def _start_frames(made: "StoryboardFacts") -> dg.JsonMetadataValue:
    """The first of the list, with prompts cut; the whole of it is at its address."""
    document = made.start_frames_document
    scenes = [
        scene | {"prompt": scene["prompt"] and scene["prompt"][:_CELL_CHARACTERS]}
        for scene in document["scenes"][:START_FRAMES_SHOWN]
    ]
    hidden = len(document["scenes"]) - len(scenes)
    shown = {**document, "scenes": scenes} | ({"scenes_not_listed": hidden} if hidden else {})
    return dg.MetadataValue.json(shown)
