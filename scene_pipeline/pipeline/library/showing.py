"""Things of the library as JSON: the same at every door.

Belongs here: form. Does not belong here: words for people (`cli`).
"""

from typing import Any

from scene_pipeline.database.asset_uses import AssetUse
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.imports import ImportRow
from scene_pipeline.pipeline.library.sources import shown_source


def asset_json(asset: AssetRow) -> dict[str, Any]:
    """Something in the library."""
    frame = asset.frame
    return {
        "asset_id": asset.asset_id,
        "kind": asset.kind,
        "name": asset.name,
        "url": asset.url,
        "storage_key": asset.storage_key,
        "mime_type": asset.mime_type,
        "width": asset.width,
        "height": asset.height,
        "size_bytes": asset.size_bytes,
        "sha256": asset.sha256,
        "is_animated": asset.is_animated,
        "content_version": asset.content_version,
        "tags": list(asset.tags),
        "source": asset.source,
        "source_url": asset.source_url,
        "project": asset.project_key,
        "client_id": asset.client_id,
        "campaign_id": asset.campaign_id,
        "user_id": asset.user_id,
        "model": asset.model,
        "seed": asset.seed,
        "metadata": dict(asset.metadata),
        "created_at": asset.created_at.isoformat(),
        "updated_at": asset.updated_at.isoformat(),
        "frame": None
        if frame is None
        else {
            "scene_id": frame.scene_id,
            "version": frame.version,
            "is_current": frame.is_current,
            "is_external": frame.is_external,
            "prompt": frame.prompt,
            "provider": frame.provider,
            "generation_id": str(frame.generation_id),
            "rejection": frame.rejection,
        },
    }


def use_json(use: AssetUse) -> dict[str, Any]:
    """Who needs an asset."""
    return {"project": use.project_key, "what": use.what, "scene_ids": list(use.scene_ids)}


def import_json(row: ImportRow) -> dict[str, Any]:
    """What was asked to come in, and how it stands; without anything secret of its address."""
    return {
        "import_id": str(row.id),
        "project": row.project_key,
        "source": shown_source(row),
        "kind": row.kind,
        "state": row.state,
        "bytes_received": row.bytes_received,
        "bytes_total": row.bytes_total,
        "asset_id": row.asset_id,
        "is_duplicate": row.is_duplicate,
        "attempts": row.attempts,
        "due_at": row.due_at.isoformat() if row.state in ("pending", "running") else None,
        "asked_at": row.created_at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
        "run_id": row.run_id,
        "error": None
        if row.error_code is None
        else {
            "code": row.error_code,
            "message": row.error_message,
            "next_action": row.error_next_action,
        },
    }
