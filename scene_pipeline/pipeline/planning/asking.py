"""Asking for new versions: which scenes, at what price, and what cannot be asked for.

Belongs here: everything that is refused or told before a request is written. Does not belong here:
the rows (`pipeline.planning.regenerate`), carrying them out (a run in mode *ensure*).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from scene_pipeline.database.budgets import BudgetState
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.versions import same_request_version
from scene_pipeline.database.waiting import waiting_requests
from scene_pipeline.errors import UsageError, quoted
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.orders import FrameOrder
from scene_pipeline.pipeline.planning.fallbacks import check_keys
from scene_pipeline.pipeline.planning.outlook import has_locked_frame
from scene_pipeline.pipeline.planning.preview import check_settings, read_money
from scene_pipeline.pipeline.planning.regenerate import request_new_versions
from scene_pipeline.pipeline.planning.scene_work import new_generation
from scene_pipeline.pipeline.planning.survey import ProjectSurvey, SurveyedScene, survey_project
from scene_pipeline.pipeline.projects.scene_rows import request_defaults
from scene_pipeline.pipeline.projects.settings import refuse_archived
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.scenes.overrides import RequestOverrides, given_overrides
from scene_pipeline.scenes.requests import resolve_request
from scene_pipeline.settings import Settings

Which = Literal["all", "stale", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for."""

    scene_ids: tuple[str, ...]
    """Named ones; empty where `which` chooses."""
    which: Which | None
    overrides: RequestOverrides
    requested_by: str
    reason: str | None = None
    may_repeat: bool = False
    """Whether a request that was made before, seed and all, is paid for again."""
    may_exceed_caps: bool = False
    """Whether more is asked for than the caps allow now; the rest waits, blocked."""


@dataclass(frozen=True, slots=True)
class AskedScene:
    """A scene that a new version is asked for."""

    scene: SurveyedScene
    """With the request and the price of exactly this wish."""
    was_asked: bool
    """Whether the same was asked for before and is not begun yet: it is made, and paid, once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, or would be."""

    survey: ProjectSurvey
    scenes: tuple[AskedScene, ...]
    left_out: tuple[tuple[str, str], ...]
    """Scenes that cannot have a new version, each with the reason in words."""
    budgets: tuple[BudgetState, ...]
    continues: bool
    """Whether an unfinished batch of the same words goes on, and nothing was written."""

    @property
    def cost_micros(self) -> int:
        """What answering the new requests is expected to cost."""
        if self.continues:
            return 0
        return sum(
            asked.scene.estimate.amount_micros
            for asked in self.scenes
            if asked.scene.estimate and not asked.was_asked
        )

    @property
    def left_micros(self) -> int:
        """What may be spent under every cap."""
        return min(budget.left_micros for budget in self.budgets)


async def ask(
    conn: Connection,
    settings: Settings,
    prices: PriceTable,
    project_key: str,
    wish: Wish,
    *,
    is_dry: bool,
) -> Asked:
    """Write one request per scene that is meant, or refuse all of them.

    Args:
        conn: Outside of a transaction: this is one.
        settings: Of this process.
        prices: For the estimates.
        project_key: Whose scenes.
        wish: What is asked for.
        is_dry: Whether everything is undone at the end.

    Raises:
        UsageError: Something that is asked for cannot be: an unknown, locked or invalid scene, a
            provider without its key, a request that was made before (code same_request), or more
            than the caps allow (code over_the_caps). Nothing was changed.
    """
    check_settings(settings)
    async with conn.transaction(force_rollback=is_dry):
        survey = await survey_project(
            conn,
            settings,
            prices,
            project_key,
            scene_ids=wish.scene_ids or None,
            mode="regenerate",
            refresh_stale=False,
            overrides=wish.overrides,
        )
        refuse_archived(survey.project)
        chosen, left_out = _choose(survey, wish)
        scenes = [_as_wished(settings, prices, survey, scene, wish) for scene in chosen]
        names = {scene.request.provider for scene in scenes if scene.request}
        await check_keys(conn, settings, survey.project_id, names)
        given = given_overrides(wish.overrides)
        waiting = await waiting_requests(conn, survey.project_id)
        asked = tuple(
            AskedScene(
                scene,
                was_asked=any(
                    request.state == "pending" and dict(request.overrides) == given
                    for request in waiting.get(scene.ref.scene_id, ())
                ),
            )
            for scene in scenes
        )
        budgets, _ = await read_money(conn, settings, survey.project_id)
        is_written = bool(scenes) and await request_new_versions(
            conn,
            project_key,
            [scene.ref.scene_id for scene in scenes],
            overrides=wish.overrides,
            requested_by=wish.requested_by,
            reason=wish.reason,
        )
        result = Asked(survey, asked, left_out, budgets, continues=bool(scenes) and not is_written)
        if is_written:
            # Looked at last, so that going on with an unfinished batch is never refused.
            await _refuse_repetition(conn, survey.project_id, asked, wish)
            _refuse_too_much(result, wish)
    return result


def _choose(
    survey: ProjectSurvey, wish: Wish
) -> tuple[list[SurveyedScene], tuple[tuple[str, str], ...]]:
    chosen: list[SurveyedScene] = []
    left_out: list[tuple[str, str]] = []
    for scene in survey.scenes:
        problem = _refusal(survey.project_key, scene)
        if problem is not None and wish.which is None:
            raise problem
        if wish.which not in {None, "all", scene.state.state}:
            continue
        if problem is None:
            chosen.append(scene)
        else:
            left_out.append((scene.ref.scene_id, problem.error_code.removeprefix("scene_")))
    return chosen, tuple(left_out)


def _refusal(project_key: str, scene: SurveyedScene) -> UsageError | None:
    scene_id, state = scene.ref.scene_id, scene.state
    if scene.decision.action == "invalid":
        reason = (state.problem_message or "it is not in the document.").rstrip(".")
        return UsageError(
            f"Scene {scene_id} cannot be made: {reason}.",
            code="scene_invalid",
            next_action="Correct the scene in the document and import it again.",
        )
    if has_locked_frame(state):
        return UsageError(
            f"Scene {scene_id} is locked: its frame is never replaced.",
            code="scene_locked",
            next_action="Unlock it first:"
            f" `scene-pipeline unlock {quoted(project_key)} {quoted(scene_id)}`.",
        )
    return None


def _as_wished(
    settings: Settings,
    prices: PriceTable,
    survey: ProjectSurvey,
    scene: SurveyedScene,
    wish: Wish,
) -> SurveyedScene:
    """The scene with the request of this very wish: the survey has that of an older one, if any."""
    if not scene.state.request_overrides:
        return scene
    entry = next(e for e in survey.document.scenes if e.scene_id == scene.ref.scene_id)
    request = resolve_request(survey.document, entry, request_defaults(settings), wish.overrides)
    estimate = prices.estimate(
        request.provider,
        request.endpoint,
        request.width,
        request.height,
        images=request.image_count,
    )
    return replace(scene, request=request, estimate=estimate)


async def _refuse_repetition(
    conn: Connection, project_id: UUID, asked: Sequence[AskedScene], wish: Wish
) -> None:
    if wish.may_repeat:
        return
    repeated: list[tuple[SurveyedScene, int]] = []
    for scene in (entry.scene for entry in asked if not entry.was_asked):
        if scene.request is None:
            continue
        order = FrameOrder(
            (scene.ref,), mode="ensure", token="", run_id="", overrides=wish.overrides
        )
        # A seed that is chosen for each request is derived from its token, and never one that was.
        wanted = new_generation(order, scene, scene.request, "request:next")
        version = await same_request_version(
            conn, project_id, scene.ref.scene_id, wanted.request_hash
        )
        if version is not None:
            repeated.append((scene, version))
    if repeated:
        raise _repetition(*repeated[0], more=len(repeated) - 1)


def _repetition(scene: SurveyedScene, version: int, *, more: int) -> UsageError:
    project, scene_id = scene.ref.project_key, scene.ref.scene_id
    others = f" The same holds for {more} more." if more else ""
    is_current = scene.state.version == version
    instead = (
        "It is the current one. Give another seed or other words"
        if is_current
        else "Switch to it with"
        f" `scene-pipeline promote {quoted(project)} {quoted(scene_id)} {version}`,"
        " give another seed or other words"
    )
    return UsageError(
        f"Exactly this request, seed and all, has made version {version} of scene {scene_id}"
        f" already; it would be paid for again.{others}",
        code="same_request",
        next_action=f"{instead}, or add --anyway to buy it again.",
    )


def _refuse_too_much(asked: Asked, wish: Wish) -> None:
    if wish.may_exceed_caps or asked.cost_micros <= asked.left_micros:
        return
    raise UsageError(
        f"About ${usd(asked.cost_micros):.2f} would be spent, and ${usd(asked.left_micros):.2f} is"
        " left under the caps.",
        code="over_the_caps",
        next_action="Choose fewer scenes, raise SCENE_PIPELINE_PROJECT_CAP_USD or"
        " SCENE_PIPELINE_DAY_CAP_USD, or add --yes: what exceeds them then waits, blocked.",
    )
