"""What a project's page, contact sheet and list of frames show, gathered once for all of them.

Belongs here: reading, and what is said of each scene. Does not belong here: laying it out on a page
(`pipeline.reporting.page_layout`), storing (`pipeline.reporting.storyboard`).

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
    ModelCost,
    ShownVersion,
    costs_by_model,
    shown_versions,
)
from scene_pipeline.database.versions import current_versions
from scene_pipeline.errors import DocumentError
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.planning.outlook import SceneOutlook, look_ahead
from scene_pipeline.pipeline.planning.scene_words import next_action, standing_in_words
from scene_pipeline.pipeline.planning.survey import SurveyedScene
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.planning import Decision


@dataclass(frozen=True, slots=True)
class ShownScene:
    """One scene with what is said of it."""

    state: SceneState
    why: str
    next_action: str
    current: ShownVersion | None
    versions: Sequence[ShownVersion] = field(repr=False)
    """Newest first; one more than is shown, for its prompt."""

    @property
    def is_ready(self) -> bool:
        """Whether its current version may go to video."""
        # Versions are read after the state: one that came meanwhile is not the one it tells of.
        is_same = self.current is not None and self.current.version == self.state.version
        return is_same and self.state.is_ready

    @property
    def reason(self) -> str:
        """Why it stands so, and always something where it is not ready."""
        if self.why or self.is_ready:
            return self.why
        return "no frame yet" if self.current is None else "a version came while this was read"


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


def _scene(outlook: SceneOutlook, versions: list[ShownVersion]) -> ShownScene:
    state = outlook.scene.state
    current = next((version for version in versions if version.is_current), None)
    return ShownScene(
        state=state,
        why=standing_in_words(outlook),
        next_action=next_action(outlook),
        current=current,
        versions=versions,
    )


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
