"""The storyboard of a project: contact sheet, page and list of frames, stored like any frame.

Belongs here: drawing and storing them together. Does not belong here: what they show
(`pipeline.reporting.scene_pages`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from scene_pipeline.database import storyboards
from scene_pipeline.database.report_files import ReportFileRow
from scene_pipeline.errors import ImageError
from scene_pipeline.media.images import ContactSheet
from scene_pipeline.media.sheet_cells import MAX_CELLS, SheetCell
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.reporting import page, start_frames
from scene_pipeline.pipeline.reporting.page_layout import page_of
from scene_pipeline.pipeline.reporting.scene_pages import ShownProject, ShownScene, gather
from scene_pipeline.pipeline.reporting.stored_files import store_once, store_report_file
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import sheet_storage_key

PICTURE_BYTES = 8 * 1000 * 1000
"""All pictures of a page together, as they are before base64 makes a third more of them."""
_SMALLEST_PICTURE = 1000
"""Bytes of a JPEG on which something can be recognised."""


@dataclass(frozen=True, slots=True)
class StoryboardLine:
    """One scene in a few words."""

    scene_id: str
    state: str
    is_ready: bool
    version: int | None
    why: str
    next_action: str
    url: str | None


@dataclass(frozen=True, slots=True)
class StoryboardFacts:
    """A storyboard that was stored."""

    project_id: UUID
    fingerprint: str
    """Of what it shows: with it, `finish_storyboard` lets a run's sheet count."""
    url: str
    """Of the contact sheet."""
    storage_path: str
    png_sha256: str
    size_bytes: int
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    page: ReportFileRow
    start_frames: ReportFileRow
    start_frames_document: Mapping[str, Any] = field(repr=False)
    scenes: Sequence[StoryboardLine]
    """In the document's order."""
    counts: Mapping[str, int]
    """How many scenes are in which state."""
    cost_usd: Decimal
    """Spent on the project so far, scenes that are gone included."""
    preview: bytes = field(repr=False)
    """JPEG of at most 40,000 bytes."""

    @property
    def scene_count(self) -> int:
        """Scenes of the document."""
        return len(self.scenes)

    @property
    def not_ready(self) -> int:
        """Scenes whose frame is not to go to video."""
        return sum(not line.is_ready for line in self.scenes)

    @property
    def digest(self) -> str:
        """Another one where any of the three files is another."""
        digests = (self.png_sha256, self.page.sha256, self.start_frames.sha256)
        return sha256("\n".join(digests).encode()).hexdigest()


async def make_storyboard(
    project_key: str, services: Services, *, run_id: str | None = None
) -> StoryboardFacts:
    """Draw, store and record the contact sheet, page and list of frames of a project as it stands.

    Args:
        project_key: The project's readable key.
        services: Store, database and workers.
        run_id: The run that is to tell of it. Until that has called `finish_storyboard`, the
            project counts as not shown, so that a run that breaks off is followed by another.
            None where nobody tells of it: it counts at once.

    Raises:
        NotFoundError: There is no such project.
        UsageError: A setting names something that does not exist.
        ImageError: It could not be drawn.
        StorageError: It could not be stored.
    """
    shown = await gather(services, project_key)
    sheet = await services.call(
        services.workers.contact_sheet,
        shown.title,
        _subtitle(project_key, len(shown.scenes)),
        [_cell(scene) for scene in shown.scenes[:MAX_CELLS]],
    )
    pictures = await _pictures(services, shown)
    html = await services.call(page.render_page, page_of(shown, pictures))
    frames = start_frames.start_frames_of(shown)
    stored_page = await store_report_file(
        services, shown.project.id, "storyboard_page", html, page.CONTENT_TYPE, run_id=run_id
    )
    stored_frames = await store_report_file(
        services,
        shown.project.id,
        "start_frames",
        start_frames.start_frames_bytes(frames),
        start_frames.CONTENT_TYPE,
        run_id=run_id,
    )
    # Last: its row is what a storyboard is known by.
    row = await _store_sheet(services, shown, sheet, run_id)
    return StoryboardFacts(
        project_id=shown.project.id,
        fingerprint=shown.fingerprint,
        url=row.storage_url,
        storage_path=row.storage_path,
        png_sha256=row.sha256,
        size_bytes=row.file_size,
        width=row.width,
        height=row.height,
        page=stored_page,
        start_frames=stored_frames,
        start_frames_document=frames,
        scenes=[_line(scene) for scene in shown.scenes],
        counts=dict(shown.counts),
        cost_usd=usd(shown.costs.total_micros),
        preview=sheet.preview,
    )


async def _store_sheet(
    services: Services, shown: ShownProject, sheet: ContactSheet, run_id: str | None
) -> storyboards.StoryboardRow:
    """Store a sheet; one that looks like the newest is a row of the same object."""
    project_id = shown.project.id
    fingerprint = shown.fingerprint if run_id is None else storyboards.UNTOLD
    async with services.pool.connection() as conn:
        latest = await storyboards.latest_storyboard(conn, project_id)
    stored = await store_once(
        services,
        sheet.png,
        latest,
        lambda now, digest: sheet_storage_key(project_id, now, digest, "png"),
    )
    same = (shown.fingerprint, fingerprint)
    if latest is not None and stored.is_of(latest) and latest.fingerprint in same:
        if run_id is not None:
            async with services.pool.connection() as conn:
                await storyboards.reopen_storyboard(conn, latest, run_id)
        return latest
    width, height = sheet.size
    row = storyboards.StoryboardRow(
        project_id=project_id,
        fingerprint=fingerprint,
        storage_path=stored.storage_path,
        storage_url=stored.storage_url,
        sha256=stored.sha256,
        file_size=stored.file_size,
        width=width,
        height=height,
        run_id=run_id,
    )
    async with services.pool.connection() as conn:
        await storyboards.record_storyboard(conn, row)
    return row


async def _pictures(services: Services, shown: ShownProject) -> dict[str, bytes]:
    """Pictures of the current versions, small enough to stand in a page together.

    A picture that cannot be made so small is left out; the page says so.
    """
    thumbnails = {
        scene.state.scene_id: scene.current.thumbnail
        for scene in shown.scenes
        if scene.current is not None and scene.current.thumbnail is not None
    }
    if sum(map(len, thumbnails.values())) <= PICTURE_BYTES:
        return thumbnails
    share = max(PICTURE_BYTES // len(thumbnails), _SMALLEST_PICTURE)
    reduced: dict[str, bytes] = {}
    left = PICTURE_BYTES
    for scene_id, thumbnail in thumbnails.items():
        small = thumbnail
        if len(thumbnail) > share:
            try:
                small = await services.call(services.workers.reduce, thumbnail, max_bytes=share)
            except ImageError:
                continue
        if len(small) <= left:
            reduced[scene_id] = small
            left -= len(small)
    return reduced


def _line(scene: ShownScene) -> StoryboardLine:
    state = scene.state
    return StoryboardLine(
        scene_id=state.scene_id,
        state=state.state,
        is_ready=scene.is_ready,
        version=state.version,
        why=scene.why,
        next_action=scene.next_action,
        url=state.storage_url,
    )


def _subtitle(project_key: str, scenes: int) -> str:
    """How many scenes there are, and how many of them the sheet takes; the page has all."""
    part = f", the first {MAX_CELLS:,} of them here" if scenes > MAX_CELLS else ""
    return f"{project_key}, {scenes} scenes{part}"


def _cell(scene: ShownScene) -> SheetCell:
    state, current = scene.state, scene.current
    return SheetCell(
        scene_id=state.scene_id,
        state=state.state,
        caption=state.scene_prompt or state.problem_message or "",
        thumbnail=None if current is None else current.thumbnail,
        version=state.version,
    )
