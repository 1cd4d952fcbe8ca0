"""`regenerate`: ask for new versions, see the price first, and know who makes them.

Belongs here: reading the wish, showing what it means. Does not belong here: what may be asked for
(`pipeline.planning.asking`), making the frames (a running `up`, or `run`).

Mode of operation: one request per scene is written, or none at all; a running `up` takes them up
by itself. With `--wait` they are carried out here, by the same path as `run`.
"""

import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from scene_pipeline.cli.estimates import estimate_in_words, estimate_usd, show_cost
from scene_pipeline.cli.run import RunArguments, run
from scene_pipeline.cli.run_header import budget_json
from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.up_record import RunningUp, read_running
from scene_pipeline.cli.wording import plural, style_of
from scene_pipeline.errors import UsageError, quoted
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.planning.asking import Asked, AskedScene, Which, Wish, ask
from scene_pipeline.pipeline.prices import load_prices
from scene_pipeline.scenes.overrides import RequestOverrides, read_overrides
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class RegenerateArguments:
    """What stands on the command line."""

    project_key: str
    scene_ids: tuple[str, ...]
    which: tuple[Which, ...]
    """The groups of scenes that were named; one at most is meant."""
    overrides: RequestOverrides
    reason: str | None = None
    is_dry: bool = False
    waits: bool = False
    may_repeat: bool = False
    may_exceed_caps: bool = False

    @property
    def wish(self) -> Wish:
        """What is asked for, and by whom.

        Raises:
            UsageError: No scene is named, or some in two ways.
        """
        if len(self.which) + bool(self.scene_ids) != 1:
            raise UsageError(
                "Name the scenes, or one of --all, --stale, --failed and --missing.",
                code="usage",
                next_action=f"See them with `scene-pipeline plan {quoted(self.project_key)}`.",
            )
        return Wish(
            scene_ids=self.scene_ids,
            which=self.which[0] if self.which else None,
            overrides=self.overrides,
            requested_by=_login_name(),
            reason=self.reason,
            may_repeat=self.may_repeat,
            may_exceed_caps=self.may_exceed_caps,
        )


def groups(**named: bool) -> tuple[Which, ...]:
    """The groups of scenes whose options were given."""
    known: tuple[Which, ...] = get_args(Which)
    return tuple(group for group in known if named[group])


def read_wishes(**options: Any) -> RequestOverrides:
    """What the options set over the document; checked like any program's request.

    Raises:
        UsageError: A value is not one (code overrides_invalid).
    """
    return read_overrides({name: value for name, value in options.items() if value is not None})


def regenerate(arguments: RegenerateArguments, terminal: Terminal) -> int:
    """Carry the command out; returns the exit code.

    Raises:
        UsageError: Something that is asked for cannot be; nothing was changed.
    """
    wish = arguments.wish
    settings = load_settings()

    async def work(conn: "Connection") -> Asked:
        prices = await load_prices(conn, settings)
        return await ask(
            conn, settings, prices, arguments.project_key, wish, is_dry=arguments.is_dry
        )

    with open_databases(settings, terminal) as urls:
        asked = in_database(urls.application, work)
    is_carried_out = arguments.waits and not arguments.is_dry and bool(asked.scenes)
    running = read_running(settings)
    if terminal.is_json and not is_carried_out:
        terminal.document(_asked_json(arguments, asked, running))
    _show(terminal, arguments, asked)
    if is_carried_out:
        terminal.say()
        scene_ids = tuple(entry.scene.ref.scene_id for entry in asked.scenes)
        code = run(RunArguments(target=arguments.project_key, scene_ids=scene_ids), terminal)
        _show_queue(terminal, asked)
        return code
    if asked.scenes and not arguments.is_dry:
        _show_who_makes_them(terminal, arguments.project_key, running)
    return 0


def _show(terminal: Terminal, arguments: RegenerateArguments, asked: Asked) -> None:
    if asked.scenes:
        has_remarks = any(map(_remark, asked.scenes))
        columns = ["scene", "state", "version", "estimate", "model", *["why"] * has_remarks]
        table = SceneTable(terminal, columns)
        for entry in asked.scenes:
            state = entry.scene.state
            table.add(
                entry.scene.ref.scene_id,
                (state.state, style_of(state.state)),
                f"v{state.version}" if state.version else "",
                estimate_in_words(entry.scene.estimate),
                entry.scene.request.endpoint if entry.scene.request else "",
                *[_remark(entry)] * has_remarks,
            )
        table.show()
        terminal.say()
    left_out = [f"{scene_id} ({reason})" for scene_id, reason in asked.left_out]
    if left_out:
        terminal.say(plain(f"Left out: {', '.join(left_out)}."), style="yellow")
    if not asked.scenes:
        group = arguments.which[0] if arguments.which and arguments.which[0] != "all" else ""
        words = f"No scene of {arguments.project_key} is {group}" if group else "No scene is there"
        terminal.say(plain(f"{words}: nothing is asked for."))
        return
    show_cost(terminal, asked.cost_micros, asked.left_micros)
    if asked.continues:
        terminal.say("The same was asked for before and is not finished: it goes on.")
    elif arguments.is_dry:
        terminal.say("Nothing was asked for.", style="dim")
    else:
        terminal.say(f"Asked for a new version of {plural(len(asked.scenes), 'scene')}.")


def _remark(entry: AskedScene) -> str:
    if entry.was_asked:
        return "asked for already: made and paid once"
    if entry.scene.state.open_generation_id is not None:
        return "after the one that is under way"
    if entry.scene.state.request_id is not None:
        return "after another request"
    return ""


def _show_queue(terminal: Terminal, asked: Asked) -> None:
    """Tell for which scenes an older request went first: a run answers one of each scene."""
    queued = [entry.scene.ref.scene_id for entry in asked.scenes if _is_queued(entry)]
    if queued:
        words = f"For {', '.join(queued)} an older request came first."
        terminal.say(plain(f"{words} Give the same command again, and it goes on."), style="yellow")


def _is_queued(entry: AskedScene) -> bool:
    state = entry.scene.state
    return not entry.was_asked and (
        state.request_id is not None or state.open_generation_id is not None
    )


def _show_who_makes_them(terminal: Terminal, project_key: str, running: RunningUp | None) -> None:
    if running is not None and running.is_ready:
        terminal.say("The running `up` makes them; watch it at:")
        terminal.say(f"  {running.dagster_url}", style="cyan")
        return
    terminal.say("No `up` runs on this data directory. Make them with:")
    terminal.say(f"  {command('run', project_key)}", style="cyan")


def _asked_json(
    arguments: RegenerateArguments, asked: Asked, running: RunningUp | None
) -> dict[str, Any]:
    return {
        "project": arguments.project_key,
        "dry_run": arguments.is_dry,
        "continues": asked.continues,
        "scenes": [
            {
                "scene_id": entry.scene.ref.scene_id,
                "state": entry.scene.state.state,
                "version": entry.scene.state.version,
                "was_asked": entry.was_asked,
                "provider": entry.scene.request.provider if entry.scene.request else None,
                "model": entry.scene.request.endpoint if entry.scene.request else None,
                "estimated_cost_usd": estimate_usd(entry.scene.estimate),
            }
            for entry in asked.scenes
        ],
        "left_out": [
            {"scene_id": scene_id, "reason": reason} for scene_id, reason in asked.left_out
        ],
        "totals": {
            "asked": len(asked.scenes),
            "estimated_cost_usd": float(usd(asked.cost_micros)),
            "left_usd": float(usd(asked.left_micros)),
        },
        "budgets": [budget_json(budget) for budget in asked.budgets],
        "is_up": running is not None and running.is_ready,
    }


def _login_name() -> str:
    """Who asks; a user without a name, as in some containers, by number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # as Python versions differ
        return f"user {os.getuid()}"
