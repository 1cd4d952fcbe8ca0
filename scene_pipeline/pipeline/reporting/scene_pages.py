"""What a project's page, contact sheet and list of frames show, gathered once for all of them.

Belongs here: reading, and turning rows into what a page is made of. Does not belong here: HTML
(`pipeline.reporting.page`), storing (`pipeline.reporting.storyboard`).

Scenes stand and speak as in `status`. Everything is read in a few statements, however many scenes
there are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scene_pipeline.database import projects, storyboards
from scene_pipeline.database.budgets import CostTotals, cost_totals
from scene_pipeline.database.rows import Connection, ProjectRow, SceneState, VersionRow
from scene_pipeline.database.storyboard_pages import (
    VERSIONS_SHOWN,
    ModelCost,
    ShownVersion,
    costs_by_model,
    shown_versions,
)
from scene_pipeline.database.versions import current_versions
from scene_pipeline.errors import DocumentError
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.planning.outlook import SceneOutlook, look_ahead
from scene_pipeline.pipeline.planning.scene_words import next_action, standing_in_words
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.pipeline.reporting.page import Page, PageScene, PageTable, PageVersion
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.planning import Decision
from scene_pipeline.scenes.prompt_diff import Stretch, compare_prompts

MAX_COMPARISONS = 2000
"""Prompts of a page that are compared with those before them; beyond, they are shown whole."""
_NOT_READY_REASON = "no frame yet"


@dataclass(frozen=True, slots=True)
class ShownScene:
    """One scene with what is said of it."""

    state: SceneState
    why: str
    next_action: str
    is_ready: bool
    """Whether its current version may go to video."""
    current: ShownVersion | None
    versions: Sequence[ShownVersion] = field(repr=False)
    """Newest first; one more than is shown, for its prompt."""


@dataclass(frozen=True, slots=True)
class ShownProject:
    """A project as it stands."""

    project: ProjectRow
    fingerprint: str
    """Read before everything else: what changes meanwhile makes the next page due."""
    title: str
    problem: str | None
    """Why its document cannot be used."""
    scenes: Sequence[ShownScene]
    """In the document's order."""
    model_costs: Sequence[ModelCost]
    costs: CostTotals

    @property
    def counts(self) -> Counter[str]:
        """Scenes by state."""
        return Counter(scene.state.state for scene in self.scenes)

    @property
    def not_ready(self) -> int:
        """Scenes whose frame is not to go to video."""
        return sum(not scene.is_ready for scene in self.scenes)


async def gather(services: Services, project_key: str) -> ShownProject:
    """Read everything that is shown of a project; nothing is changed.

    Raises:
        NotFoundError: There is no such project.
        UsageError: A setting names something that does not exist.
    """
    async with services.pool.connection() as conn:
        project = await projects.get_project(conn, project_key)
        fingerprint = await storyboards.fingerprint_of(conn, project.id)
        stored = await projects.load_document(conn, project.id)
    problem = None
    try:
        async with services.pool.connection() as conn:
            ahead = await look_ahead(conn, services.settings, services.prices, project_key)
        outlooks = ahead.scenes
    except DocumentError as error:
        problem = error.message
        async with services.pool.connection() as conn:
            outlooks = await _outlooks_without_document(conn, project, error)
    async with services.pool.connection() as conn:
        versions = await shown_versions(conn, project.id)
        model_costs = await costs_by_model(conn, project.id)
        costs = await cost_totals(conn, project.id)
    return ShownProject(
        project=project,
        fingerprint=fingerprint,
        title=_title(stored.master_json, project_key),
        problem=problem,
        scenes=[_scene(one, versions.get(one.scene.ref.scene_id, [])) for one in outlooks],
        model_costs=model_costs,
        costs=costs,
    )


def page_of(shown: ShownProject, pictures: Mapping[str, bytes] | None = None) -> Page:
    """Lay a project's page out.

    Args:
        shown: The project.
        pictures: Of the current versions by scene id, where they are other than the thumbnails.
    """
    ready = len(shown.scenes) - shown.not_ready
    spent = usd(shown.costs.total_micros)
    comparer = _Comparer()
    return Page(
        title=shown.title,
        subtitle=f"{shown.project.key}: {ready} of {len(shown.scenes)} scenes ready for video,"
        f" ${spent:,.2f} spent",
        counts=dict(shown.counts.most_common()),
        notes=[f"The document cannot be used: {shown.problem}"] if shown.problem else [],
        tables=[_costs_table(shown)],
        scenes=[_page_scene(scene, pictures, comparer) for scene in shown.scenes],
    )


def _scene(outlook: SceneOutlook, versions: list[ShownVersion]) -> ShownScene:
    state = outlook.scene.state
    current = next((version for version in versions if version.is_current), None)
    return ShownScene(
        state=state,
        why=standing_in_words(outlook),
        next_action=next_action(outlook),
        is_ready=_is_ready(state, current),
        current=current,
        versions=versions,
    )


def _is_ready(state: SceneState, current: ShownVersion | None) -> bool:
    """Whether the current version is what the scene's film is to be made of.

    A stale frame is one of an older prompt; what is only at the provider has an address that dies.
    A frame that is locked or was chosen by hand is meant, whatever the document says by now. One
    that a new version is being made for stays the frame until that is there.
    """
    if current is None or current.storage_status != "stored" or state.problem_code is not None:
        return False
    is_stale = state.current_content_hash != state.content_hash
    return not is_stale or state.locked or state.is_chosen


async def _outlooks_without_document(
    conn: Connection, project: ProjectRow, error: DocumentError
) -> tuple[SceneOutlook, ...]:
    """Scenes as they were planned last, where another program has broken the document."""
    states = await projects.scene_states(conn, project.id)
    current = await current_versions(conn, project.id)
    return tuple(
        _as_planned_last(project, state, current.get(state.scene_id), error) for state in states
    )


def _as_planned_last(
    project: ProjectRow, state: SceneState, current: VersionRow | None, error: DocumentError
) -> SceneOutlook:
    scene = SurveyedScene(
        ref=SceneRef(project.key, state.scene_id),
        state=state,
        decision=Decision("invalid", error.message),
        request=None,
        prompt=None,
        estimate=None,
        current=current,
    )
    return SceneOutlook(scene, edits=(), requests=(), launch=None, refresh_at=None, refusal=None)


def _title(document: Mapping[str, object], project_key: str) -> str:
    described = document.get("project")
    title = described.get("title") if isinstance(described, Mapping) else None
    return title if isinstance(title, str) and title.strip() else project_key


def _costs_table(shown: ShownProject) -> PageTable:
    rows = [
        (
            cost.provider,
            cost.endpoint,
            cost.generations,
            usd(cost.cost_micros),
            cost.cost_kind,
            usd(cost.doubtful_micros),
        )
        for cost in shown.model_costs
    ]
    return PageTable(
        title="What it has cost",
        columns=("Provider", "Model", "Paid requests", "USD", "Known how", "In doubt, USD"),
        rows=rows,
    )


class _Comparer:
    """Compares a bounded number of prompts."""

    def __init__(self) -> None:
        self._left = MAX_COMPARISONS

    def changes(self, before: str, after: str) -> tuple[Stretch, ...] | None:
        """What changed, nothing where the two are equal; None where it was too much already."""
        if before == after:
            return ()
        if not self._left:
            return None
        self._left -= 1
        return compare_prompts(before, after)


def _page_scene(
    scene: ShownScene, pictures: Mapping[str, bytes] | None, comparer: _Comparer
) -> PageScene:
    state, current = scene.state, scene.current
    thumbnail = None if current is None else current.thumbnail
    if pictures is not None:
        thumbnail = pictures.get(state.scene_id)
    count = scene.versions[0].version_count if scene.versions else 0
    shown = _page_versions(scene.versions, comparer)
    return PageScene(
        scene_id=state.scene_id,
        state=state.state,
        is_ready=scene.is_ready,
        is_locked=state.locked,
        why=scene.why or ("" if scene.is_ready else _NOT_READY_REASON),
        next_action=scene.next_action,
        prompt=state.scene_prompt or "",
        version=state.version,
        url=state.storage_url,
        cost_usd=usd(state.cost_micros),
        picture=thumbnail,
        versions=shown,
        hidden_versions=count - len(shown),
    )


def _page_versions(versions: Sequence[ShownVersion], comparer: _Comparer) -> list[PageVersion]:
    older = [*versions[1:], None]
    return [
        _page_version(version, before, comparer)
        for version, before in list(zip(versions, older, strict=False))[:VERSIONS_SHOWN]
    ]


def _page_version(
    version: ShownVersion, before: ShownVersion | None, comparer: _Comparer
) -> PageVersion:
    is_gone = version.storage_status == "removed"
    changes = None if before is None else comparer.changes(before.prompt, version.prompt)
    return PageVersion(
        version=version.version,
        is_current=version.is_current,
        url=None if is_gone else version.storage_url,
        model=f"{version.provider} {version.endpoint}",
        seed=version.seed,
        cost_usd=None if version.cost_micros is None else usd(version.cost_micros),
        cost_kind=version.cost_kind,
        size=f"{version.width}x{version.height}",
        size_bytes=version.file_size,
        made_at=f"{version.generated_at:%Y-%m-%d %H:%M:%S} UTC",
        remark=_remark(version),
        prompt=version.prompt,
        changes=changes or (),
        shows_prompt=changes is None,
        picture=None if version.is_current else version.thumbnail,
    )


def _remark(version: ShownVersion) -> str:
    match version.storage_status:
        case "removed":
            return "its picture was given up by retention"
        case "external":
            return "its picture is at the provider only"
        case _:
            return f"set aside: {version.rejection}" if version.rejection else ""
