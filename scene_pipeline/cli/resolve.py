"""`resolve`: a person decides about a request whose answer was lost.

Belongs here: reading the decision, telling what it means. Does not belong here: the decision's
effect (`pipeline.upkeep.resolve`).
"""

from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.terminal import Terminal, command, plain
from scene_pipeline.cli.wording import dollars_of
from scene_pipeline.database.ambiguity import Verdict
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.upkeep.resolve import Resolution, resolve_lost_request
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection


def chosen_verdict(*, pay_again: bool, not_charged: bool, abandon: bool) -> Verdict:
    """The one decision of the command line.

    Raises:
        UsageError: None was given, or several.
    """
    given: dict[Verdict, bool] = {
        "pay_again": pay_again,
        "not_charged": not_charged,
        "abandon": abandon,
    }
    chosen = [verdict for verdict, is_given in given.items() if is_given]
    if len(chosen) != 1:
        raise UsageError(
            "A decision is one of --pay-again, --not-charged and --abandon.",
            code="usage",
            next_action="Give exactly one of them.",
        )
    return chosen[0]


def resolve(terminal: Terminal, project_key: str, scene_id: str, verdict: Verdict) -> int:
    """Carry a decision out; returns the exit code.

    Raises:
        UsageError: There is nothing to decide.
        LedgerError: A run is working on the scene.
    """
    with open_databases(load_settings(), terminal) as urls:

        async def decide(conn: "Connection") -> Resolution:
            return await resolve_lost_request(
                conn,
                urls.application,
                project_key,
                scene_id,
                verdict,
                decided_by="scene-pipeline resolve",
            )

        resolution = in_database(urls.application, decide)
    next_command = command("run", project_key)
    if verdict == "abandon":
        next_command = command("run", project_key, "--regenerate", "--scene", scene_id)
    if terminal.is_json:
        terminal.document(
            {
                "project": project_key,
                "scene_id": scene_id,
                "decision": verdict,
                "generation_id": resolution.generation_id,
                "state": resolution.state,
                "sent_at": resolution.sent_at.isoformat(),
                "provider": resolution.provider,
                "estimated_cost_usd": float(usd(resolution.amount_micros)),
                "next_action": next_command,
            }
        )
        return 0
    terminal.say(plain(_meaning(scene_id, resolution)))
    terminal.say(f"  {next_command}", style="cyan")
    return 0


def _meaning(scene_id: str, resolution: Resolution) -> str:
    amount = dollars_of(resolution.amount_micros)
    if resolution.verdict == "pay_again":
        return (
            f"The next run looks the request of scene {scene_id} up once more; where"
            f" {resolution.provider} still does not say, it sends another, and the first counts as"
            f" spent ({amount}):"
        )
    if resolution.verdict == "not_charged":
        return f"Scene {scene_id} is free again, and its {amount} are given back. Make it with:"
    return (
        f"Scene {scene_id}'s request is given up and counts as spent ({amount}). Another picture is"
        " made only when it is asked for:"
    )
