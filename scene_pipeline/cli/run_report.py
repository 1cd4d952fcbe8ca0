"""What came of a run: the document for programs, the table and the next steps for people.

Belongs here: the summary. Does not belong here: what is shown while it works (`cli.progress`).
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scene_pipeline.cli.next_steps import next_steps, show_steps
from scene_pipeline.cli.outputs import MADE, RunFiles
from scene_pipeline.cli.run_header import provider_names, setting_json, storage_in_words
from scene_pipeline.cli.tables import SceneTable, show_fields
from scene_pipeline.cli.terminal import Terminal, as_typed_here, plain, problem_json, shown_path
from scene_pipeline.cli.wording import duration, frame_size, marks, style_of
from scene_pipeline.pipeline.facts import dollars
from scene_pipeline.pipeline.orders import UNFINISHED, Failure, SceneOutcome
from scene_pipeline.pipeline.planning.preview import RunPreview
from scene_pipeline.settings import Settings

_REASONS_SHOWN = 8
_SCENES_NAMED = 8


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything that is told at the end of a run."""

    preview: RunPreview
    outcomes: tuple[SceneOutcome, ...]
    """In the document's order."""
    run_ids: tuple[str, ...]
    files: RunFiles
    seconds: float
    """The whole command took."""
    sheet_problem: str | None
    """Why there is no new storyboard."""
    target: str
    """File or project, as it stood on the command line."""
    max_cost_usd: Decimal | None = None
    """The run's own cap."""

    @property
    def cost_usd(self) -> Decimal:
        """Spent by this run."""
        return sum((outcome.cost_usd for outcome in self.outcomes), Decimal(0))

    @property
    def counts(self) -> Counter[str]:
        """How many scenes ended in which status."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def made_by_others(self) -> int:
        """How many of the kept frames another run made while this one waited for them."""
        return sum(
            outcome.status == "kept" and outcome.paid_by_run is not None
            for outcome in self.outcomes
        )

    @property
    def summary(self) -> str:
        """What this run has made, spent and needed, in one line."""
        parts = {status: f"{number} {status}" for status, number in self.counts.items()}
        if self.made_by_others:
            parts["kept"] += f" ({self.made_by_others} made by another run meanwhile)"
        told = ", ".join(parts.values()) or "No scenes"
        return f"{told}; {dollars(self.cost_usd)} spent; {duration(self.seconds)}"


def show_report(terminal: Terminal, settings: Settings, database: str, report: RunReport) -> None:
    """Tell what came of a run."""
    if terminal.is_json:
        terminal.document(report_json(settings, database, report))
        return
    _show_scenes(terminal, report)
    _show_failures(terminal, report)
    made = report.files.places
    prefixes = {
        outcome.frame.url.rpartition("/")[0] for outcome in report.outcomes if outcome.frame
    }
    places = {
        "frames": storage_in_words(settings),
        "document": shown_path(report.files.document),
        "sheet": shown_path(made["contact_sheet"])
        if "contact_sheet" in made
        else report.sheet_problem or "none",
        "page": shown_path(made["storyboard_page"]) if "storyboard_page" in made else "none",
        "for video": shown_path(made["start_frames"]) if "start_frames" in made else "none",
    }
    if terminal.is_live and len(prefixes) == 1:
        places["urls"] = f"{prefixes.pop()}/..."
    show_fields(terminal, places)
    terminal.say()
    steps = next_steps(settings, report.preview, report.outcomes, report.target)
    show_steps(terminal, steps)


def report_json(settings: Settings, database: str, report: RunReport) -> dict[str, Any]:
    """The document that `run --json` prints."""
    counts = report.counts
    files = report.files
    return {
        "project": report.preview.survey.project_key,
        "run_id": report.run_ids[0] if report.run_ids else None,
        "provider": provider_names(settings, report.preview),
        "scenes": [_scene_json(outcome) for outcome in report.outcomes],
        "totals": {
            "generated": counts["generated"],
            "kept": counts["kept"],
            "failed": counts["failed"],
            "cost_usd": float(report.cost_usd),
            "seconds": round(report.seconds, 3),
            **{status: counts[status] for status in ("stale", "blocked", "ambiguous", "invalid")},
            "made_by_others": report.made_by_others,
        },
        "run_ids": list(report.run_ids),
        "document": str(files.document),
        **_made_json(files),
        **setting_json(settings, database, report.preview, report.max_cost_usd),
        "problems": [problem_json(problem) for problem in report.preview.problems],
        "notices": [problem_json(notice) for notice in report.preview.survey.document.notices],
    }


def _made_json(files: RunFiles) -> dict[str, str | None]:
    """Each of the files that were made, by its place here and by its address."""
    told: dict[str, str | None] = {}
    for name in MADE:
        told[name] = str(files.places[name]) if name in files.places else None
        told[f"{name}_url"] = files.urls.get(name)
    return told


def _scene_json(outcome: SceneOutcome) -> dict[str, Any]:
    frame, failure = outcome.frame, outcome.failure
    return {
        "scene_id": outcome.scene.scene_id,
        "status": outcome.status,
        "version": frame.version if frame else None,
        "url": frame.url if frame else None,
        "storage_path": frame.storage_path if frame else None,
        "width": frame.width if frame else None,
        "height": frame.height if frame else None,
        "seed": frame.seed if frame else None,
        "cost_usd": float(outcome.cost_usd),
        "paid_by_run_id": outcome.paid_by_run,
        "error": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "next_action": failure.next_action,
        },
    }


def _show_scenes(terminal: Terminal, report: RunReport) -> None:
    symbols = marks(terminal.console.encoding)
    table = SceneTable(terminal, ["scene", "status", "version", "size", "cost", "url"])
    for outcome in report.outcomes:
        frame = outcome.frame
        table.add(
            outcome.scene.scene_id,
            (f"{symbols[outcome.status]} {outcome.status}", style_of(outcome.status)),
            f"v{frame.version}" if frame else "",
            frame_size(frame) if frame else "",
            dollars(outcome.cost_usd) if outcome.cost_usd else "",
            frame.url if frame else "",
        )
    terminal.say()
    table.show()
    terminal.say()
    terminal.say(report.summary, style="bold")


def _show_failures(terminal: Terminal, report: RunReport) -> None:
    """Tell each reason once, with the scenes that it concerns."""
    scenes_of: dict[Failure, list[str]] = {}
    for outcome in report.outcomes:
        if outcome.status in UNFINISHED and outcome.failure is not None:
            scenes_of.setdefault(outcome.failure, []).append(outcome.scene.scene_id)
    for failure, scene_ids in list(scenes_of.items())[:_REASONS_SHOWN]:
        terminal.say()
        terminal.say(plain(f"[{failure.code}] {failure.message}"), style="red")
        hidden = len(scene_ids) - _SCENES_NAMED
        more = f" and {hidden} more" if hidden > 0 else ""
        terminal.say(plain(f"  {', '.join(scene_ids[:_SCENES_NAMED])}{more}"))
        terminal.say(plain(f"  {as_typed_here(failure.next_action)}"))
    if len(scenes_of) > _REASONS_SHOWN:
        terminal.say(f"and {len(scenes_of) - _REASONS_SHOWN} more reasons; --json names them all")
    if scenes_of:
        terminal.say()
