"""What retention keeps and gives up, shown and as JSON.

Belongs here: showing. Does not belong here: what is kept (`pipeline.upkeep.retain`).
"""

from typing import TYPE_CHECKING, Any

from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, command
from scene_pipeline.cli.wording import dollars_of, plural
from scene_pipeline.pipeline.facts import usd

if TYPE_CHECKING:
    from scene_pipeline.database.retention import GivenUp, KeepReason, ProjectRule
    from scene_pipeline.pipeline.upkeep.retain import ProjectRetention, RetainReport

PROJECTS_SHOWN = 20
_REASONS: "tuple[KeepReason, ...]" = ("current", "locked", "referenced", "newest", "young")


def show_retention(terminal: Terminal, report: "RetainReport", grace_hours: float) -> None:
    """Show what is given up, by project, and why the rest is kept; nothing where nothing goes."""
    if not report.versions.objects:
        return
    verb = "Gave up" if report.is_applied else "Would give up"
    terminal.say(f"{verb} {given_up_in_words(report.total)}:", style="bold")
    table = SceneTable(terminal, ["project", "gives up", "bytes", "had cost", "keeps", "rule"])
    giving = [project for project in report.projects if project.given_up.versions.objects]
    for project in giving[:PROJECTS_SHOWN]:
        table.add(
            project.rule.project_key,
            plural(project.given_up.versions.objects, "version"),
            f"{project.given_up.freed_bytes:,}",
            cost_in_words(project.given_up),
            kept_in_words(project),
            rule_in_words(project.rule),
        )
    table.show()
    if len(giving) > PROJECTS_SHOWN:
        terminal.say(f"  and {len(giving) - PROJECTS_SHOWN} more projects; --json names them")
    terminal.say(f"  The bytes are removed by a collection {grace_hours:g} h later.")
    terminal.say("  A project keeps more or less with:")
    terminal.say(
        f"  {command('project', 'KEY', '--keep-versions', 'N', '--keep-days', 'D')}", style="cyan"
    )


def given_up_in_words(given_up: "GivenUp") -> str:
    """How many versions, the bytes that come free, and what they had cost."""
    versions = plural(given_up.versions.objects, "old version")
    return f"{versions}, {given_up.freed_bytes:,} bytes, which had cost {cost_in_words(given_up)}"


def cost_in_words(given_up: "GivenUp") -> str:
    """What versions had cost, and whether the provider said so."""
    if not given_up.cost_micros:
        return "nothing"
    if not given_up.estimated_micros:
        return dollars_of(given_up.cost_micros)
    if not given_up.metered_micros:
        return f"{dollars_of(given_up.cost_micros)} (estimated)"
    estimated = dollars_of(given_up.estimated_micros)
    return f"{dollars_of(given_up.cost_micros)} ({estimated} of it estimated)"


def kept_in_words(project: "ProjectRetention") -> str:
    """How many versions are kept, by reason: "3 current, 20 newest"."""
    kept = [f"{project.kept[name]} {name}" for name in _REASONS if project.kept.get(name)]
    return ", ".join(kept) or "none"


def rule_in_words(rule: "ProjectRule") -> str:
    """What a project keeps although nothing needs it."""
    words = f"newest {rule.rule.keep_versions}, younger than {rule.rule.keep_days:g} days"
    return f"{words} (its own)" if rule.is_own else words


def retention_json(report: "RetainReport") -> dict[str, Any]:
    """The report as JSON."""
    return {
        **_given_up_json(report.total),
        "projects": [_project_json(project) for project in report.projects],
    }


def _project_json(project: "ProjectRetention") -> dict[str, Any]:
    rule = project.rule
    return {
        "project": rule.project_key,
        "keep_versions": rule.rule.keep_versions,
        "keep_days": rule.rule.keep_days,
        "is_own_rule": rule.is_own,
        "kept": {name: project.kept.get(name, 0) for name in _REASONS},
        "gives_up": _given_up_json(project.given_up),
    }


def _given_up_json(given_up: "GivenUp") -> dict[str, Any]:
    return {
        "versions": given_up.versions.objects,
        "size_bytes": given_up.versions.size_bytes,
        "freed_bytes": given_up.freed_bytes,
        "cost_usd": float(usd(given_up.cost_micros)),
        "metered_usd": float(usd(given_up.metered_micros)),
        "estimated_usd": float(usd(given_up.estimated_micros)),
    }
