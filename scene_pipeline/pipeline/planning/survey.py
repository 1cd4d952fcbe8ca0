"""Looks at a project's scenes and decides what is to be done, without doing any of it.

Belongs here: reading the document and the rows, resolving requests, pricing. A dry run stops here;
`pipeline.planning.plan` carries the decisions out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from scene_pipeline.database.project_settings import read_fallbacks
from scene_pipeline.database.projects import (
    get_project,
    load_document,
    retired_scenes,
    scene_states,
    unknown_scene,
)
from scene_pipeline.database.reuse import ReusableVersion
from scene_pipeline.database.rows import Connection, ProjectRow, SceneState, VersionRow
from scene_pipeline.database.versions import current_versions, urls_among
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.orders import Failure, Mode, SceneRef
from scene_pipeline.pipeline.planning.foreseeing import PictureForesight, Takeover
from scene_pipeline.pipeline.planning.reuse import find_identical, find_reusable, reusable_of
from scene_pipeline.pipeline.planning.standing import overridden, standing_of, wishes_of
from scene_pipeline.pipeline.projects.fallbacks import read_list
from scene_pipeline.pipeline.projects.scene_rows import request_defaults, synchronise
from scene_pipeline.pipeline.references.refusals import PictureRefusals
from scene_pipeline.providers.prices import Estimate, PriceTable
from scene_pipeline.providers.registry import most_images
from scene_pipeline.scenes.document import ProjectDocument, Scene, read_document
from scene_pipeline.scenes.planning import Decision, Standing, decide
from scene_pipeline.scenes.requests import (
    RequestDefaults,
    RequestOverrides,
    ResolvedRequest,
    resolve_request,
)
from scene_pipeline.scenes.table import PromptRow, prompt_row
from scene_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class SurveyedScene:
    """One scene with everything that planning it needs."""

    ref: SceneRef
    state: SceneState
    decision: Decision
    request: ResolvedRequest | None
    """What would be sent; None for a scene that cannot be used."""
    prompt: PromptRow | None
    """Its line of the prompts table."""
    estimate: Estimate | None
    """What a new generation would cost, whether or not one is due."""
    current: VersionRow | None
    problem: Failure | None = None
    """Why its regeneration request cannot be granted; nothing is made for it meanwhile."""
    reusable: ReusableVersion | None = None
    """A version that can stand in for a new one."""
    overrides: RequestOverrides = field(default_factory=RequestOverrides)
    """What `request` was settled with."""
    otherwise: Decision | None = None
    """What is decided where that version is not to be had any more; for an open generation that
    nothing was sent for, what costs nothing where the document no longer asks for it."""
    blocked: Failure | None = None
    """Why the document's reference pictures keep it from being made, as far as is known now; it is
    planned all the same, and asks again when it is its turn."""
    takeover: Takeover | None = None
    """The fallback that is asked since its own model takes no such pictures."""

    @property
    def next_estimate(self) -> Estimate | None:
        """What the next run would pay for it: the price of whoever is asked."""
        return self.takeover.estimate if self.takeover is not None else self.estimate


@dataclass(frozen=True, slots=True)
class ProjectSurvey:
    """A project's document, and the scenes that were asked for."""

    project: ProjectRow
    document: ProjectDocument
    scenes: tuple[SurveyedScene, ...]

    @property
    def project_id(self) -> UUID:
        """The project's row."""
        return self.project.id

    @property
    def project_key(self) -> str:
        """The project's name."""
        return self.project.key


async def survey_project(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    project_key: str,
    *,
    scene_ids: Sequence[str] | None,
    mode: Mode,
    refresh_stale: bool,
    overrides: RequestOverrides,
    skip_retired: bool = False,
) -> ProjectSurvey:
    """Decide about every scene of a project, or about the named ones.

    Args:
        conn: In a transaction, so that all of it is seen at one moment.
        settings: For the defaults that scenes are planned with.
        prices: What a new generation would cost.
        project_key: Whose scenes.
        scene_ids: Which ones; None for all.
        mode: As the order has it.
        refresh_stale: As the order has it.
        overrides: As the order has it.
        skip_retired: Leave out named scenes that the document once had, instead of raising.

    Raises:
        NotFoundError: There is no such project, or it has no such scene.
        DocumentError: Another program has put a document there that cannot be used.
    """
    project = await get_project(conn, project_key)
    stored = await load_document(conn, project.id)
    document = read_document(stored.master_json, order=stored.scene_order)
    defaults = request_defaults(settings)
    document = await synchronise(conn, stored, document, defaults)
    states = await scene_states(conn, project.id)
    reusable = await find_reusable(conn, project, states) if mode == "ensure" else {}
    if scene_ids is not None:
        if skip_retired:
            retired = await retired_scenes(conn, project.id, scene_ids)
            scene_ids = [scene_id for scene_id in scene_ids if scene_id not in retired]
        states = _selected(states, project_key, scene_ids)
    versions = await current_versions(conn, project.id)
    by_id = {scene.scene_id: scene for scene in document.scenes}
    known_urls = await urls_among(
        conn, project.id, [scene.start_frame for scene in document.scenes if scene.start_frame]
    )

    def standing_in(state: SceneState) -> Standing:
        return standing_of(
            state,
            by_id.get(state.scene_id),
            is_archived=project.is_archived,
            known_urls=known_urls,
            pictures=document.pictures,
        )

    def decided(standing: Standing) -> Decision:
        return decide(standing, regenerate=mode == "regenerate", refresh_stale=refresh_stale)

    surveyed: list[SurveyedScene] = []
    for state in states:
        scene = by_id.get(state.scene_id)
        request: ResolvedRequest | None = None
        problem: Failure | None = None
        effective = overrides
        if scene is not None and state.problem_code is None:
            try:
                wishes = wishes_of(overrides, state) if mode == "ensure" else overrides
                effective = overridden(wishes, state.request_overrides)
                request = _settle(document, scene, defaults, effective)
            except UsageError as error:
                _settle(document, scene, defaults, overrides)  # the order's own are refused
                problem = failure_of(error, SceneRef(project_key, state.scene_id))
        estimate = (
            prices.estimate(
                request.provider,
                request.endpoint,
                request.width,
                request.height,
                images=request.image_count,
            )
            if request is not None
            else None
        )
        standing = standing_in(state)
        surveyed.append(
            _with_reuse(
                SurveyedScene(
                    ref=SceneRef(project_key, state.scene_id),
                    state=state,
                    decision=_refused(decided(standing), problem),
                    request=request,
                    prompt=prompt_row(scene, request) if scene and request else None,
                    estimate=estimate,
                    current=versions.get(state.scene_id),
                    problem=problem,
                    overrides=effective,
                ),
                standing,
                reusable.get(state.scene_id),
                decided,
            )
        )
    if mode == "ensure":
        identical = await find_identical(conn, settings, project, _payable(surveyed))
        surveyed = [
            _with_reuse(
                scene,
                standing_in(scene.state),
                identical.get(scene.ref.scene_id),
                decided,
            )
            for scene in surveyed
        ]
    foresight = PictureForesight(
        settings,
        prices,
        read_list(await read_fallbacks(conn, project.id)),
        PictureRefusals(document),
    )
    return ProjectSurvey(project, document, tuple(map(foresight.of, surveyed)))


def _settle(
    document: ProjectDocument, scene: Scene, defaults: RequestDefaults, overrides: RequestOverrides
) -> ResolvedRequest:
    request = resolve_request(document, scene, defaults, overrides)
    if request.image_count > 1:
        most = most_images(request.provider, request.endpoint)
        if request.image_count > most:
            raise UsageError(
                f"{request.endpoint} makes {most if most > 1 else 'one'} of one request, not"
                f" {request.image_count} candidates.",
                code="candidates_unsupported",
                next_action="Ask for fewer candidates, or name a model that makes as many at once.",
            )
    return request


def _refused(decision: Decision, problem: Failure | None) -> Decision:
    """Make nothing where what was asked for cannot be made: anything else was not asked for."""
    if problem is None or decision.action != "generate":
        return decision
    return Decision("failed", problem.message)


def _with_reuse(
    scene: SurveyedScene,
    standing: Standing,
    found: ReusableVersion | None,
    decided: Callable[[Standing], Decision],
) -> SurveyedScene:
    """Decide again, knowing of a version that can stand in.

    Where something is planned that nothing was sent for, that is what happens if the document no
    longer asks for it.
    """
    is_unsent = standing.has_open_generation and standing.is_unsent
    if found is None and not is_unsent:
        return scene
    has_open = standing.has_open_generation and not is_unsent
    decision = decided(replace(standing, reusable=reusable_of(found), has_open_generation=has_open))
    if is_unsent:
        is_free = decision.action in ("keep", "republish", "heal", "reuse")
        return replace(scene, reusable=found, otherwise=decision) if is_free else scene
    if decision.action != "reuse":
        return scene
    return replace(scene, decision=decision, reusable=found, otherwise=scene.decision)


def _payable(
    scenes: Sequence[SurveyedScene],
) -> dict[str, tuple[SceneState, ResolvedRequest]]:
    """What would be paid for though nobody asked for a new version."""
    return {
        scene.ref.scene_id: (scene.state, scene.request)
        for scene in scenes
        if scene.decision.action == "generate"
        and scene.request is not None
        and scene.state.request_id is None
    }


def _selected(
    states: Sequence[SceneState], project_key: str, scene_ids: Sequence[str]
) -> list[SceneState]:
    by_id = {state.scene_id: state for state in states}
    unknown = [scene_id for scene_id in scene_ids if scene_id not in by_id]
    if unknown:
        raise unknown_scene(project_key, unknown[0])
    return [by_id[scene_id] for scene_id in dict.fromkeys(scene_ids)]
