"""The contact sheet of a project as an asset.

Belongs here: the asset and what the UI shows of it. Does not belong here: drawing and storing it
(`pipeline.reporting.storyboard`).
"""

import dagster as dg

from scene_pipeline.defs.metadata import MAX_PREVIEW_BYTES, PROJECT_TAG, inline_image
from scene_pipeline.defs.partitions import projects
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.scenes.identity import parse_project_partition_key

STORYBOARD_GROUP = "storyboards"


@dg.asset(
    partitions_def=projects,
    # The hop from scenes to projects is made by a sensor and by `run`. The mapping is for lineage
    # only; left out, Dagster would map a project onto the scene of the same key.
    deps=[dg.AssetDep("scene_start_frame", partition_mapping=dg.AllPartitionMapping())],
    group_name=STORYBOARD_GROUP,
    kinds={"image"},
    code_version="1",
)
def storyboard(
    context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[PipelineRuntime]
) -> dg.MaterializeResult[None]:
    """One picture of a project: each scene's frame, state and first words of its prompt."""
    project_key = parse_project_partition_key(context.partition_key)
    if PROJECT_TAG not in context.run.tags:
        context.instance.add_run_tags(context.run.run_id, {PROJECT_TAG: project_key})
    sheet = pipeline.make_storyboard(project_key, context.run.run_id)
    metadata: dict[str, dg.MetadataValue] = {
        "url": dg.MetadataValue.url(sheet.url),
        "project": dg.MetadataValue.text(project_key),
        "scene_count": dg.MetadataValue.int(sheet.scene_count),
        "width": dg.MetadataValue.int(sheet.width),
        "height": dg.MetadataValue.int(sheet.height),
        "size_bytes": dg.MetadataValue.int(sheet.size_bytes),
        "storage_path": dg.MetadataValue.text(sheet.storage_path),
        "sha256": dg.MetadataValue.text(sheet.png_sha256),
    }
    for status, number in sheet.counts.items():
        metadata[f"scenes_{status}"] = dg.MetadataValue.int(number)
    preview = inline_image(sheet.preview, "image/jpeg", MAX_PREVIEW_BYTES)
    if preview is not None:
        metadata = {"preview": preview, **metadata}
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(sheet.png_sha256))
