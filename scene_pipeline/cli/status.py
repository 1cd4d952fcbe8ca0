"""`status`: where all projects stand, or the scenes of one.

Belongs here: showing. Does not belong here: deciding what a state means (the view `scene_status`).

Mode of operation: changes nothing; an edited document is looked at within a transaction that is
rolled back.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.next_steps import show_steps, standing_steps
from scene_pipeline.cli.outlook_words import outlook_json, refresh_in_words, why
from scene_pipeline.cli.run_header import budget_json, costs_json, storage_in_words
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import SceneTable, show_fields
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.up_record import RunningUp, read_running
from scene_pipeline.cli.wording import (
    budget_in_words,
    dollars_of,
    plural,
    spent_in_words,
    style_of,
)
from scene_pipeline.database.budgets import BudgetState, read_budgets
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.planning.outlook import ProjectOutlook, SceneOutlook, look_ahead
from scene_pipeline.pipeline.planning.preview import RunPreview, day_cap
from scene_pipeline.pipeline.prices import load_prices
from scene_pipeline.pipeline.projects.overview import ProjectOverview, list_overviews
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


def show_projects(terminal: Terminal) -> int:
    """Show every project; returns the exit code."""
    settings = load_settings()

    async def read(conn: "Connection") -> tuple[list[ProjectOverview], BudgetState]:
        [day] = await read_budgets(conn, [day_cap(settings)])
        return await list_overviews(conn), day

    with open_databases(settings, terminal) as urls:
        projects, day = in_database(urls.application, read)
        database = urls.description
    running = read_running(settings)
    if terminal.is_json:
        terminal.document(
            {
                "projects": [_overview_json(project) for project in projects],
                "budgets": [budget_json(day)],
                "database": database,
                "storage": storage_in_words(settings),
                "up": _running_json(running),
            }
        )
        return 0
    _show_place(terminal, settings, database, running, [day])
    if not projects:
        terminal.say("No project yet. Begin with:")
        terminal.say(f"  {command('run', 'my-film.json')}", style="cyan")
        return 0
    table = SceneTable(terminal, ["project", "scenes", "states", "cost", "title"])
    for project in projects:
        counts = ", ".join(f"{number} {state}" for state, number in sorted(project.counts.items()))
        table.add(
            project.key,
            str(project.scene_count),
            counts,
            dollars_of(project.cost_micros),
            project.title or "",
        )
    table.show()
    _show_unusable(terminal, projects)
    return 0


def _show_unusable(terminal: Terminal, projects: Sequence[ProjectOverview]) -> None:
    """Tell which documents stand still, since another program wrote something unusable."""
    for project in projects:
        if project.document_problem is not None:
            problem = project.document_problem
            words = f"The document of {project.key} cannot be used: {problem.get('message')}"
            terminal.say()
            terminal.say(plain(f"[{problem.get('code')}] {words}"), style="red")
            terminal.say("  Correct it; its scenes stay as they were planned last.")


def show_project(terminal: Terminal, project_key: str) -> int:
    """Show every scene of a project; returns the exit code.

    Raises:
        NotFoundError: There is no such project.
    """
    settings = load_settings()

    async def look(conn: "Connection") -> ProjectOutlook:
        return await look_ahead(conn, settings, await load_prices(conn, settings), project_key)

    with open_databases(settings, terminal) as urls:
        project = in_database(urls.application, look)
        database = urls.description
    preview = project.preview
    scenes = preview.survey.scenes
    is_refreshed = any(scene.state.auto_refresh for scene in scenes)
    running = read_running(settings)
    if terminal.is_json:
        terminal.document(
            {
                "project": project_key,
                "title": preview.survey.document.title,
                "auto_refresh": is_refreshed,
                "scenes": [_scene_json(outlook) for outlook in project.scenes],
                "totals": dict(Counter(scene.state.state for scene in scenes)),
                "cost_usd": float(usd(preview.costs.total_micros)),
                "spent_usd": costs_json(preview.costs),
                "left_usd": {b.scope: float(usd(b.left_micros)) for b in preview.budgets},
                "budgets": [budget_json(budget) for budget in preview.budgets],
                "database": database,
                "storage": storage_in_words(settings),
                "up": _running_json(running),
            }
        )
        return 0
    title = preview.survey.document.title
    terminal.say(plain(f"{title}  ({project_key})" if title else project_key), style="bold")
    edited = {"edited": refresh_in_words(settings, is_on=is_refreshed)}
    _show_place(terminal, settings, database, running, preview.budgets, **edited)
    table = SceneTable(terminal, ["scene", "state", "version", "cost", "why", "url"])
    for outlook in project.scenes:
        scene = outlook.scene
        table.add(
            scene.ref.scene_id,
            (scene.state.state, style_of(scene.state.state)),
            f"v{scene.state.version}" if scene.state.version else "",
            dollars_of(scene.state.cost_micros) if scene.state.cost_micros else "",
            why(outlook),
            scene.state.storage_url or "",
        )
    table.show()
    _show_next(terminal, preview)
    return 0


def _show_place(
    terminal: Terminal,
    settings: Settings,
    database: str,
    running: RunningUp | None,
    budgets: Sequence[BudgetState],
    **further: str,
) -> None:
    fields = {
        "storage": storage_in_words(settings),
        "database": database,
        "caps": ", ".join(budget_in_words(budget) for budget in budgets),
        **further,
    }
    if running is not None:
        fields["up"] = running.dagster_url if running.is_ready else "starting"
    show_fields(terminal, fields)
    terminal.say()


def _show_next(terminal: Terminal, preview: RunPreview) -> None:
    counts: Counter[str] = Counter(scene.state.state for scene in preview.survey.scenes)
    words = ", ".join(f"{number} {state}" for state, number in counts.items())
    scenes = plural(len(preview.survey.scenes), "scene")
    terminal.say()
    terminal.say(f"{scenes}: {words}; {spent_in_words(preview.costs)}", style="bold")
    show_steps(terminal, standing_steps(preview.survey))


def _scene_json(outlook: SceneOutlook) -> dict[str, Any]:
    scene, state = outlook.scene, outlook.scene.state
    code = state.problem_code or state.error_code
    return {
        "scene_id": scene.ref.scene_id,
        "state": state.state,
        "reason": scene.decision.reason,
        "version": state.version,
        "url": state.storage_url,
        "storage_path": state.storage_path,
        "generated_at": state.generated_at.isoformat() if state.generated_at else None,
        "cost_usd": float(usd(state.cost_micros)),
        **outlook_json(outlook),
        "error": {
            "code": code,
            "message": state.problem_message or state.error_message,
            "next_action": state.error_next_action,
        }
        if code
        else None,
    }


def _overview_json(project: ProjectOverview) -> dict[str, Any]:
    return {
        "project": project.key,
        "title": project.title,
        "revision": project.revision,
        "scenes": project.scene_count,
        "totals": dict(project.counts),
        "cost_usd": float(usd(project.cost_micros)),
        "document_problem": project.document_problem,
    }


def _running_json(running: RunningUp | None) -> dict[str, Any] | None:
    if running is None:
        return None
    return {
        "dagster_url": running.dagster_url,
        "frames_url": running.frames_url,
        "is_ready": running.is_ready,
    }
