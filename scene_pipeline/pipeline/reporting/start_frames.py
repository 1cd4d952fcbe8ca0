"""`start_frames.json`: which frame of which scene goes to video, for the phase that makes it.

Belongs here: that document. Its form is `start-frames.schema.json` beside this file; what may be
relied on stands in docs/storyboard.md. Does not belong here: which scene is ready
(`pipeline.reporting.scene_pages`).

No time of making stands in it, so that the same frames are the same bytes.
"""

import json
from typing import Any, Final

from scene_pipeline.pipeline.reporting.scene_pages import ShownProject, ShownScene

FORMAT: Final = "scene-pipeline/start-frames/1"
CONTENT_TYPE: Final = "application/json"


def start_frames_of(shown: ShownProject) -> dict[str, Any]:
    """Say of every scene, in the document's order, which frame goes to video, or why none does."""
    return {
        "format": FORMAT,
        "project": shown.project.key,
        "title": shown.title,
        "scenes": [_entry(scene) for scene in shown.scenes],
    }


def start_frames_bytes(document: dict[str, Any]) -> bytes:
    """The document as it is stored; the same for the same frames."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _entry(scene: ShownScene) -> dict[str, Any]:
    current = scene.current
    # What retention gave up has no bytes, and what a provider holds no lasting address.
    frame = current if current is not None and current.storage_status == "stored" else None
    return {
        "scene_id": scene.state.scene_id,
        "position": scene.state.position,
        "state": scene.state.state,
        "is_ready": scene.is_ready,
        "url": frame.storage_url if frame else None,
        "sha256": frame.sha256 if frame else None,
        "size_bytes": frame.file_size if frame else None,
        "content_type": frame.content_type if frame else None,
        "width": frame.width if frame else None,
        "height": frame.height if frame else None,
        "version": frame.version if frame else None,
        "seed": frame.seed if frame else None,
        "model": frame.endpoint if frame else None,
        "provider": frame.provider if frame else None,
        "generation_id": str(frame.generation_id) if frame else None,
        "prompt": frame.prompt if frame else None,
        "reason": None if scene.is_ready else scene.reason,
        "next_action": None if scene.is_ready else scene.next_action or None,
    }
