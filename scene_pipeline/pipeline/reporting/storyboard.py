"""The contact sheet of a project: drawn from its frames' thumbnails, stored like any frame."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from scene_pipeline.database import objects, projects, storyboards
from scene_pipeline.database.rows import SceneState
from scene_pipeline.database.versions import current_versions
from scene_pipeline.media.sheet_cells import SheetCell
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import sheet_storage_key

CONTENT_TYPE = "image/png"


@dataclass(frozen=True, slots=True)
class StoryboardFacts:
    """A contact sheet that was stored."""

    url: str
    storage_path: str
    png_sha256: str
    size_bytes: int
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    scene_count: int
    counts: Mapping[str, int]
    """How many scenes are in which state."""
    preview: bytes = field(repr=False)
    """JPEG of at most 40,000 bytes."""


async def make_storyboard(
    project_key: str, services: Services, *, run_id: str | None = None
) -> StoryboardFacts:
    """Draw, store and record the contact sheet of a project as it stands.

    Raises:
        NotFoundError: There is no such project.
        ImageError: It could not be drawn.
        StorageError: It could not be stored.
    """
    async with services.pool.connection() as conn:
        project = await projects.get_project(conn, project_key)
        states = await projects.scene_states(conn, project.id)
        versions = await current_versions(conn, project.id)
        fingerprint = await storyboards.fingerprint_of(conn, project.id)
        stored = await projects.load_document(conn, project.id)
    title = _title(stored.master_json, project_key)
    counts: Counter[str] = Counter(state.state for state in states)
    thumbnails = {scene_id: version.thumbnail for scene_id, version in versions.items()}
    sheet = await services.call(
        services.workers.contact_sheet,
        title,
        f"{project_key}, {len(states)} scenes",
        [_cell(state, thumbnails.get(state.scene_id)) for state in states],
    )
    digest = sha256(sheet.png).hexdigest()
    key = sheet_storage_key(project.id, datetime.now(UTC), digest, "png")
    async with services.pool.connection() as conn:
        await objects.register_intent(
            conn, key, sha256=digest, size_bytes=len(sheet.png), content_type=CONTENT_TYPE
        )
    await services.call(
        services.store.put, key, sheet.png, content_type=CONTENT_TYPE, sha256=digest
    )
    url = services.store.url(key)
    width, height = sheet.size
    async with services.pool.connection() as conn:
        await storyboards.record_storyboard(
            conn,
            storyboards.StoryboardRow(
                project_id=project.id,
                fingerprint=fingerprint,
                storage_path=key,
                storage_url=url,
                sha256=digest,
                file_size=len(sheet.png),
                width=width,
                height=height,
                run_id=run_id,
            ),
        )
    return StoryboardFacts(
        url=url,
        storage_path=key,
        png_sha256=digest,
        size_bytes=len(sheet.png),
        width=width,
        height=height,
        scene_count=len(states),
        counts=dict(counts),
        preview=sheet.preview,
    )


def _title(document: Mapping[str, object], project_key: str) -> str:
    described = document.get("project")
    title = described.get("title") if isinstance(described, Mapping) else None
    return title if isinstance(title, str) and title.strip() else project_key


def _cell(state: SceneState, thumbnail: bytes | None) -> SheetCell:
    return SheetCell(
        scene_id=state.scene_id,
        state=state.state,
        caption=state.scene_prompt or state.problem_message or "",
        thumbnail=thumbnail,
        version=state.version,
    )
