"""`plan`: every scene's state, what happens to it by itself and on request, at what price.

Belongs here: showing. Does not belong here: looking ahead (`pipeline.planning.outlook`).

Mode of operation: changes nothing and spends nothing; an edited document is looked at within a
transaction that is rolled back.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.estimates import (
    estimate_in_words,
    estimate_usd,
    expected_in_words,
    expected_usd,
    left_micros,
    next_action_of,
    scene_error,
    show_cost,
    unknown_prices,
)
from scene_pipeline.cli.next_steps import show_steps, standing_steps
from scene_pipeline.cli.outlook_words import clock, outlook_json, refresh_in_words, waiting_in_words
from scene_pipeline.cli.run_header import setting_json, show_header
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, plain, problem_json
from scene_pipeline.cli.wording import dollars_of, plural, spent_in_words, style_of
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.planning.outlook import ProjectOutlook, SceneOutlook, look_ahead
from scene_pipeline.pipeline.planning.preview import expected_micros
from scene_pipeline.pipeline.planning.scene_words import is_unsent, reason
from scene_pipeline.pipeline.prices import load_prices
from scene_pipeline.scenes.planning import FOREIGN_FRAME, Action
from scene_pipeline.scenes.prompt_diff import shortened, with_brackets
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.text import Text

    from scene_pipeline.database.rows import Connection

_BY_ITSELF: dict[Action, str] = {
    "generate": "make",
    "reuse": "reuse",
    "resume": "finish",
    "republish": "write back",
    "heal": "heal",
}
_DIFF_STYLES = {"removed": "red", "added": "green", "same": ""}


def show_plan(terminal: Terminal, project_key: str) -> int:
    """Show what is ahead of a project; returns the exit code.

    Raises:
        UsageError: There is no such project, or its document cannot be used.
    """
    settings = load_settings()

    async def look(conn: "Connection") -> ProjectOutlook:
        prices = await load_prices(conn, settings)
        return await look_ahead(conn, settings, prices, project_key, asks_servers=True)

    with open_databases(settings, terminal) as urls:
        project = in_database(urls.application, look)
        database = urls.description
    if terminal.is_json:
        terminal.document(_plan_json(settings, database, project))
        return 0
    show_header(terminal, settings, database, project.preview, None)
    _show_scenes(terminal, project)
    _show_details(terminal, project)
    _show_totals(terminal, settings, project)
    return 0


def _show_scenes(terminal: Terminal, project: ProjectOutlook) -> None:
    table = SceneTable(terminal, ["scene", "state", "by itself", "on request", "why"])
    for outlook in project.scenes:
        scene = outlook.scene
        table.add(
            scene.ref.scene_id,
            (scene.state.state, style_of(scene.state.state)),
            _by_itself(outlook),
            "" if outlook.refusal else estimate_in_words(scene.estimate),
            reason(outlook),
        )
    table.show()


def _by_itself(outlook: SceneOutlook) -> str:
    decision = outlook.scene.decision
    if outlook.scene.blocked is not None:
        return "nothing: blocked"
    words = "by `run`" if decision.code == FOREIGN_FRAME else _BY_ITSELF.get(decision.action, "")
    if is_unsent(outlook) and outlook.launch is None:
        words += " unless cancelled"
    if outlook.refresh_at is not None:
        words += f" at {clock(outlook.refresh_at)}"
    price = expected_in_words(outlook.scene)
    return f"{words}, {price}" if price else words


def _show_details(terminal: Terminal, project: ProjectOutlook) -> None:
    """Tell what was edited, and who asked for what, each on a line of its own that is never cut."""
    lines = [line for outlook in project.scenes for line in _details(outlook)]
    if not lines:
        return
    from rich.table import Table  # noqa: PLC0415  # where used

    terminal.say()
    terminal.say("What was edited since, and what was asked for", style="bold")
    terminal.say()
    if not terminal.is_live:
        for scene_id, text in lines:
            terminal.say(f"{scene_id}  {text.plain}")
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, max_width=30, overflow="ellipsis")
    grid.add_column(overflow="fold")
    for scene_id, text in lines:
        grid.add_row(scene_id, text)
    terminal.console.print(grid)


def _details(outlook: SceneOutlook) -> "list[tuple[str, Text]]":
    from rich.text import Text  # noqa: PLC0415  # where used

    texts = []
    for edit in outlook.edits:
        text = Text(f"{edit.cause}" + (": " if edit.stretches else ""))
        for stretch in shortened(edit.stretches):
            text.append(plain(with_brackets(stretch)), style=_DIFF_STYLES[stretch.kind])
        texts.append(text)
    texts += [Text(plain(words)) for words in waiting_in_words(outlook)]
    return [(plain(outlook.scene.ref.scene_id), text) for text in texts]


def _show_totals(terminal: Terminal, settings: Settings, project: ProjectOutlook) -> None:
    preview = project.preview
    scenes = preview.survey.scenes
    counts: Counter[str] = Counter(scene.state.state for scene in scenes)
    states = ", ".join(f"{number} {state}" for state, number in counts.items())
    terminal.say()
    terminal.say(
        f"{plural(len(scenes), 'scene')}: {states}; {spent_in_words(preview.costs)}", style="bold"
    )
    show_cost(terminal, preview.estimated_micros, left_micros(preview.budgets))
    asked = _on_request_micros(project)
    price = f"about {dollars_of(asked)}" if asked else "free"
    terminal.say(f"A new version of every scene that may have one: {price}.")
    is_on = any(scene.state.auto_refresh for scene in scenes)
    terminal.say(f"Edited scenes: {refresh_in_words(settings, is_on=is_on)}.")
    show_steps(terminal, standing_steps(preview.survey))
    terminal.say("Nothing was changed and nothing was spent.", style="dim")


def _on_request_micros(project: ProjectOutlook) -> int:
    return sum(
        outlook.scene.estimate.amount_micros
        for outlook in project.scenes
        if outlook.refusal is None and outlook.scene.estimate
    )


def _plan_json(settings: Settings, database: str, project: ProjectOutlook) -> dict[str, Any]:
    preview = project.preview
    scenes = preview.survey.scenes
    return {
        "project": preview.survey.project_key,
        "title": preview.survey.document.title,
        "auto_refresh": any(scene.state.auto_refresh for scene in scenes),
        "scenes": [_scene_json(outlook) for outlook in project.scenes],
        "totals": {
            **Counter(scene.state.state for scene in scenes),
            "estimated_cost_usd": float(usd(sum(map(expected_micros, scenes)))),
            "on_request_cost_usd": float(usd(_on_request_micros(project))),
            "unknown_prices": unknown_prices(scenes),
        },
        **setting_json(settings, database, preview, None),
        "problems": [problem_json(problem) for problem in preview.problems],
        "notices": [problem_json(notice) for notice in preview.survey.document.notices],
    }


def _scene_json(outlook: SceneOutlook) -> dict[str, Any]:
    scene, state = outlook.scene, outlook.scene.state
    return {
        "scene_id": scene.ref.scene_id,
        "state": state.state,
        "version": state.version,
        "url": state.storage_url,
        "by_itself": {
            "action": next_action_of(scene),
            "reason": scene.decision.reason,
            "estimated_cost_usd": expected_usd(scene),
        },
        "on_request": {
            "is_possible": outlook.refusal is None,
            "reason": outlook.refusal,
            "estimated_cost_usd": None if outlook.refusal else estimate_usd(scene.estimate),
        },
        **outlook_json(outlook),
        "error": scene_error(scene),
    }
