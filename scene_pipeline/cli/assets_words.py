"""How things of the library are read from the command line and written for people and programs."""

from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.import_progress import size_words
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.identity import ASSET_KINDS, AssetKind

if TYPE_CHECKING:
    from scene_pipeline.database.asset_uses import AssetUse


def read_kind(text: str | None) -> AssetKind | None:
    """Read a kind of the library.

    Raises:
        UsageError: There is no such kind.
    """
    if text is None:
        return None
    for kind in ASSET_KINDS:
        if kind == text:
            return kind
    raise UsageError(
        f"{text[:40]!r} is no kind of the library.",
        code="usage",
        next_action=f"The kinds are {', '.join(ASSET_KINDS)}.",
    )


def size_of(asset: AssetRow) -> str:
    """Pixels, where there are any, and bytes."""
    parts = []
    if asset.width is not None:
        parts.append(f"{asset.width}x{asset.height}")
    if asset.size_bytes is not None:
        parts.append(size_words(asset.size_bytes))
    return ", ".join(parts)


def asset_json(asset: AssetRow) -> dict[str, Any]:
    """Something in the library as JSON."""
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


def use_json(use: "AssetUse") -> dict[str, Any]:
    """Who needs an asset, as JSON."""
    return {"project": use.project_key, "what": use.what, "scene_ids": list(use.scene_ids)}
