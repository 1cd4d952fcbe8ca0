"""`versions`: every frame that a scene ever had, newest first.

Belongs here: showing. Does not belong here: choosing the current one.
"""

from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import dollars_of
from scene_pipeline.database.projects import get_project, scene_states
from scene_pipeline.database.rows import VersionRow
from scene_pipeline.database.versions import list_versions
from scene_pipeline.errors import NotFoundError
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


def show_versions(terminal: Terminal, project_key: str, scene_id: str) -> int:
    """Show the versions of a scene; returns the exit code.

    Raises:
        NotFoundError: There is no such project, or it never had such a scene.
    """

    async def read(conn: "Connection") -> list[VersionRow]:
        project = await get_project(conn, project_key)
        versions = await list_versions(conn, project.id, scene_id)
        known = {state.scene_id for state in await scene_states(conn, project.id)}
        if not versions and scene_id not in known:
            raise NotFoundError(
                f"Project {project_key!r} has no scene {scene_id!r}.", code="scene_unknown"
            )
        return versions

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
    table = SceneTable(terminal, ["version", "made", "size", "cost", "model", "seed", "", "url"])
    for version in versions:
        table.add(
            f"v{version.version}",
            f"{version.generated_at.astimezone():%Y-%m-%d %H:%M}",
            f"{version.width}x{version.height}",
            dollars_of(version.cost_micros or 0),
            version.endpoint,
            str(version.seed),
            _remark(version),
            version.storage_url,
        )
    table.show()
    return 0


def _remark(version: VersionRow) -> tuple[str, str]:
    if version.is_current:
        return "current", "green"
    return ("rejected", "red") if version.rejection else ("", "")


def _version_json(version: VersionRow) -> dict[str, Any]:
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
    }
