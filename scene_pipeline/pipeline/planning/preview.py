"""What a run would do, decided in one transaction: the import, the survey, the money.

Belongs here: everything that happens before a run may begin, so that a dry run shows exactly what a
run then does, and that a run which cannot begin has changed nothing. Does not belong here: doing it
(`pipeline.making.stream`), showing it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from scene_pipeline.database.budgets import (
    BudgetState,
    Cap,
    CostTotals,
    cost_totals,
    read_budgets,
)
from scene_pipeline.database.launches import insert_launch, lock_launches
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import ConfigurationError, Problem
from scene_pipeline.pipeline.facts import micros
from scene_pipeline.pipeline.orders import Mode
from scene_pipeline.pipeline.planning.fallbacks import check_keys
from scene_pipeline.pipeline.planning.regenerate import request_new_versions
from scene_pipeline.pipeline.planning.survey import ProjectSurvey, SurveyedScene, survey_project
from scene_pipeline.pipeline.projects.importing import ImportedProject, import_document
from scene_pipeline.pipeline.projects.settings import refuse_archived
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.providers.registry import PROVIDER_NAMES
from scene_pipeline.scenes.planning import Action
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.scenes.sizes import parse_size
from scene_pipeline.settings import Settings
from scene_pipeline.storage.registry import parse_storage_url

_WORKING_ACTIONS: frozenset[Action] = frozenset({"generate", "resume"})


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A file that is imported first."""

    data: bytes = field(repr=False)
    file_name: str
    origin: str
    """Where the file lies; a key taken from a file's name belongs to one origin."""
    project_key: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunIntent:
    """What a person asks of a run."""

    scene_ids: tuple[str, ...] | None = None
    """None means every scene."""
    regenerate: bool = False
    refresh_stale: bool = False
    overrides: RequestOverrides = field(default_factory=RequestOverrides)
    requested_by: str = "command"


@dataclass(frozen=True, slots=True)
class RunPreview:
    """A run that is ready to begin."""

    imported: ImportedProject | None
    survey: ProjectSurvey
    budgets: tuple[BudgetState, ...]
    """The project's and the day's."""
    costs: CostTotals
    """Spent on the project so far."""
    continues_request: bool = False
    """Whether new versions were asked for in the same words before and are not all made yet."""
    launch_id: int | None = None
    """The launch that keeps sensors away from the scenes while the command works on them; whoever
    executes the run closes it. None for a dry run."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why scenes are set aside."""
        return self.survey.document.problems

    @property
    def estimated_micros(self) -> int:
        """What the run is expected to cost, as far as prices are known."""
        return sum(expected_micros(scene) for scene in self.survey.scenes)


async def prepare_run(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    source: DocumentSource | str,
    intent: RunIntent,
    *,
    is_dry: bool,
    check_store: Callable[[], None] | None = None,
) -> RunPreview:
    """Import where a file is given, look at every scene, and write the requests for new versions.

    Args:
        conn: Outside of a transaction: this is one.
        settings: Of this process.
        prices: For the estimates.
        source: A document, or the key of a project.
        intent: What is asked for.
        is_dry: Whether everything is undone at the end; then the provider's key is not needed.
        check_store: Called before anything is settled where the run may pay; what it raises undoes
            everything.

    Raises:
        UsageError: Something that is asked for cannot be; nothing was changed.
    """
    check_settings(settings)
    async with conn.transaction(force_rollback=is_dry):
        imported = None
        key = source if isinstance(source, str) else ""
        if isinstance(source, DocumentSource):
            imported = await import_document(
                conn,
                settings,
                source.data,
                file_name=source.file_name,
                origin=source.origin,
                project_key=source.project_key,
                force=source.force,
            )
            key = imported.key
        mode: Mode = "regenerate" if intent.regenerate else "ensure"
        survey = await _survey(conn, settings, prices, key, intent, mode=mode)
        if not is_dry:
            refuse_archived(survey.project)
        continues = False
        if intent.regenerate and not is_dry:
            wanted = [s.ref.scene_id for s in survey.scenes if s.decision.action != "invalid"]
            continues = not await _request(conn, key, _unlocked(survey, wanted), intent)
            survey = await _survey(conn, settings, prices, key, intent, mode="ensure")
        if not is_dry:
            names = _providers_of(survey, intent.overrides.provider)
            await check_keys(conn, settings, survey.project_id, names)
        if check_store is not None and any(may_pay(scene) for scene in survey.scenes):
            check_store()
        budgets, costs = await read_money(conn, settings, survey.project_id)
        launch_id = None if is_dry else await _launch(conn, survey, intent)
    return RunPreview(imported, survey, budgets, costs, continues, launch_id)


async def _launch(conn: Connection, survey: ProjectSurvey, intent: RunIntent) -> int | None:
    """Say that a command is about to work on these scenes, in the transaction that makes them due.

    It asks nobody's leave: where a sensor's run is at work on them, the two share what it makes.
    """
    scene_ids = [scene.ref.scene_id for scene in survey.scenes]
    if not scene_ids:
        return None
    await lock_launches(conn)
    return await insert_launch(
        conn,
        "command",
        survey.project_id,
        scene_ids,
        reason=intent.requested_by,
        refresh_stale=intent.refresh_stale,
    )


async def read_money(
    conn: Connection, settings: Settings, project_id: UUID
) -> tuple[tuple[BudgetState, ...], CostTotals]:
    """How the project's and the day's budgets stand, and what the project has cost."""
    caps = [
        Cap("project", str(project_id), micros(Decimal(settings.project_cap_usd))),
        day_cap(settings),
    ]
    return tuple(await read_budgets(conn, caps)), await cost_totals(conn, project_id)


def check_settings(settings: Settings) -> None:
    """Refuse settings with which no scene could be made; nothing is contacted.

    Raises:
        UsageError: The provider, the image size or the kind of storage does not exist.
    """
    if settings.provider_name not in PROVIDER_NAMES:
        raise ConfigurationError(
            f"SCENE_PIPELINE_PROVIDER names {settings.provider_name!r}, which is no provider.",
            code="provider_unknown",
            next_action=f"Use one of: {', '.join(PROVIDER_NAMES)}.",
        )
    parse_size(settings.image_size)
    parse_storage_url(settings.resolved_storage_url)


def may_pay(scene: SurveyedScene) -> bool:
    """Whether the run would pay for this scene; what is submitted already is paid for."""
    action = scene.decision.action
    is_unpaid = action == "generate" or (action == "resume" and scene.state.open_state == "planned")
    return is_unpaid and scene.blocked is None


def expected_micros(scene: SurveyedScene) -> int:
    """What the run is expected to spend on a scene, in micro-dollars."""
    estimate = scene.next_estimate
    return estimate.amount_micros if estimate and may_pay(scene) else 0


def working_scenes(survey: ProjectSurvey) -> list[SurveyedScene]:
    """The scenes that are not merely kept or told about."""
    return [scene for scene in survey.scenes if scene.decision.action in _WORKING_ACTIONS]


async def _survey(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    project_key: str,
    intent: RunIntent,
    *,
    mode: Mode,
) -> ProjectSurvey:
    return await survey_project(
        conn,
        settings,
        prices,
        project_key,
        scene_ids=intent.scene_ids,
        mode=mode,
        refresh_stale=intent.refresh_stale,
        overrides=intent.overrides,
    )


async def _request(
    conn: Connection, project_key: str, scene_ids: Sequence[str], intent: RunIntent
) -> bool:
    return await request_new_versions(
        conn,
        project_key,
        scene_ids,
        overrides=intent.overrides,
        requested_by=intent.requested_by,
    )


def _unlocked(survey: ProjectSurvey, scene_ids: Sequence[str]) -> list[str]:
    """Without the scenes whose locked frame would never let the request be answered."""
    locked = {
        scene.ref.scene_id
        for scene in survey.scenes
        if scene.state.locked and scene.state.image_id is not None
    }
    return [scene_id for scene_id in scene_ids if scene_id not in locked]


def _providers_of(survey: ProjectSurvey, named: str | None) -> set[str]:
    """Every provider that is named or will be asked."""
    names = {scene.request.provider for scene in working_scenes(survey) if scene.request}
    return names | ({named} if named else set())


def day_cap(settings: Settings) -> Cap:
    """The cap of the day (UTC), for all projects together."""
    return Cap("day", "all", micros(Decimal(settings.day_cap_usd)))
