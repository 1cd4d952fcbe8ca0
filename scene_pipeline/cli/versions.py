"""`versions`: every frame that a scene ever had, newest first.

Belongs here: showing. Does not belong here: choosing the current one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import Cell, show_filled_columns
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import asked_by, dollars_of
from scene_pipeline.database.history import VersionOrigin, version_origins
from scene_pipeline.database.projects import get_project, scene_states, unknown_scene
from scene_pipeline.database.rows import VersionRow
from scene_pipeline.database.versions import list_versions
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.projects.fallbacks import made_by_fallback
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

_FROM_WIDTH = {"made": 80, "seed": 100, "size": 140, "model": 140, "run": 140}
"""Columns of a terminal from which on these are shown; the others always are."""
_SHOWN_RUN_ID = 8
"""As many characters as Dagster's UI shows."""


@dataclass(frozen=True, slots=True)
class _Version:
    row: VersionRow
    origin: VersionOrigin
    is_chosen: bool
    """Whether it is the current one because somebody chose it by hand."""


def show_versions(terminal: Terminal, project_key: str, scene_id: str) -> int:
    """Show the versions of a scene; returns the exit code.

    Raises:
        NotFoundError: There is no such project, or it never had such a scene.
    """

    async def read(conn: "Connection") -> list[_Version]:
        project = await get_project(conn, project_key)
        rows = await list_versions(conn, project.id, scene_id)
        states = {state.scene_id: state for state in await scene_states(conn, project.id)}
        if not rows and scene_id not in states:
            raise unknown_scene(project_key, scene_id)
        origins = await version_origins(conn, project.id, scene_id)
        is_chosen = scene_id in states and states[scene_id].is_chosen
        return [_Version(r, origins[r.id], is_chosen and r.is_current) for r in rows]

    with open_databases(load_settings(), terminal) as urls:
        versions = in_database(urls.application, read)
    if terminal.is_json:
        terminal.document(
            {
                "project": project_key,
                "scene_id": scene_id,
                "versions": [_version_json(version) for version in versions],
            }
        )
        return 0
    if not versions:
        terminal.say(plain(f"Scene {scene_id} has no frame yet."))
        return 0
    rows = [_cells(project_key, version) for version in versions]
    show_filled_columns(terminal, rows, from_width=_FROM_WIDTH)
    return 0


def _cells(project_key: str, version: _Version) -> dict[str, Cell]:
    row, origin = version.row, version.origin
    return {
        "version": f"v{row.version}",
        "state": _mark(version),
        "made": f"{row.generated_at.astimezone():%Y-%m-%d %H:%M}",
        "size": f"{row.width}x{row.height}",
        "cost": _cost(version),
        "model": row.endpoint,
        "seed": str(row.seed),
        "asked by": asked_by(origin.token),
        "run": (origin.run_id or "")[:_SHOWN_RUN_ID],
        "why": _remarks(project_key, version),
        "url": row.storage_url if origin.removed_at is None else "",
    }


def _mark(version: _Version) -> tuple[str, str]:
    if version.row.is_current:
        return ("chosen" if version.is_chosen else "current"), "green"
    if version.origin.removed_at is not None:
        return "removed", "dim"
    return ("rejected", "red") if version.row.rejection else ("", "")


def _cost(version: _Version) -> str:
    """What its generation cost: told once, with the first of its candidates."""
    return dollars_of(version.row.cost_micros or 0) if version.origin.image_index == 0 else ""


def _remarks(project_key: str, version: _Version) -> str:
    origin = version.origin
    remarks = []
    if origin.image_count > 1:
        generation = str(origin.generation_id)[:_SHOWN_RUN_ID]
        place = f"candidate {origin.image_index + 1} of {origin.image_count}"
        remarks.append(f"{place} (generation {generation})")
    if origin.reused_scene_id is not None:
        place = "" if origin.reused_project_key == project_key else f"{origin.reused_project_key}/"
        remarks.append(f"reused from {place}{origin.reused_scene_id} v{origin.reused_version}")
    if origin.fallback is not None:
        remarks.append(
            made_by_fallback(origin.fallback, version.row.provider, version.row.endpoint)
        )
    if version.row.rejection:
        remarks.append(version.row.rejection)
    if origin.removed_at is not None:
        remarks.append(f"its picture was removed on {origin.removed_at.astimezone():%Y-%m-%d}")
    if version.is_chosen:
        remarks.append("chosen by hand")
    return "; ".join(remarks)


def _version_json(listed: _Version) -> dict[str, Any]:
    version, origin = listed.row, listed.origin
    return {
        "version": version.version,
        "is_current": version.is_current,
        "url": version.storage_url,
        "storage_path": version.storage_path,
        "storage_status": version.storage_status,
        "width": version.width,
        "height": version.height,
        "size_bytes": version.file_size,
        "content_type": version.content_type,
        "sha256": version.sha256,
        "provider": version.provider,
        "model": version.endpoint,
        "prompt": version.prompt,
        "seed": version.seed,
        "cost_usd": float(usd(version.cost_micros)),
        "generation_id": str(version.generation_id),
        "generated_at": version.generated_at.isoformat(),
        "rejection": version.rejection,
        "is_chosen": listed.is_chosen,
        "run_id": origin.run_id,
        "token": origin.token,
        "asked_by": asked_by(origin.token),
        "image_index": origin.image_index,
        "image_count": origin.image_count,
        "rung": origin.rung,
        "fallback": origin.fallback,
        "removed_at": origin.removed_at.isoformat() if origin.removed_at else None,
        "reused_from": {
            "project": origin.reused_project_key,
            "scene_id": origin.reused_scene_id,
            "version": origin.reused_version,
        }
        if origin.reused_scene_id is not None
        else None,
    }
