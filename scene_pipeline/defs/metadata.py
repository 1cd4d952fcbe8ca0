"""The one place that names metadata keys and tags.

Belongs here: every name that people see beside a run, and how a picture is. Does not belong
here: what is shown of a frame (`frame_metadata`), and foreign words (`markdown`).
"""

import base64
from typing import Final

import dagster as dg

from scene_pipeline.pipeline.orders import SceneRef

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

MAX_PREVIEW_BYTES: Final = 40 * 1024
"""A contact sheet's inline preview; one per project and sheet."""

MetadataValues = dict[str, dg.MetadataValue]


def launch_tags(launch_id: int | None, reason: str) -> dict[str, str]:
    """Tags of a run that a launch stands for, and why, in a few printable characters."""
    if launch_id is None:
        return {}
    return {LAUNCH_TAG: str(launch_id), **reason_tag(reason)}


def reason_tag(reason: str) -> dict[str, str]:
    """Why a run is launched by itself, as its tag shows it."""
    printable = "".join(c if c.isprintable() else " " for c in reason)
    return {REASON_TAG: printable[:MAX_REASON_LENGTH]}


def scene_metadata(scene: SceneRef) -> MetadataValues:
    """Project and scene, by the names people use."""
    return {
        "project": dg.MetadataValue.text(scene.project_key),
        "scene": dg.MetadataValue.text(scene.scene_id),
    }


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
    return dg.MetadataValue.md(picture_markdown(data, content_type))


def picture_markdown(data: bytes, content_type: str) -> str:
    """A picture within markdown, carried by the text itself."""
    encoded = base64.b64encode(data).decode("ascii")
    return f"![picture](data:{content_type};base64,{encoded})"
