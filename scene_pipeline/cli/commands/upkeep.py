"""Upkeep: what schedules and sensors do as well, on demand, and what only a person can settle."""

from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson
from scene_pipeline.cli.terminal import Terminal


def heal(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="The project's key; else all.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Store frames that could not be stored when they were made; corrects the documents."""
    from scene_pipeline.cli.heal import heal_frames  # noqa: PLC0415

    return heal_frames(Terminal(is_json=json), project)


def reconcile(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="The project's key; else all.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Repair what was found.")] = False,
    json: AsJson = False,
) -> int:
    """Show where documents, database and store disagree; with --apply, repair it."""
    from scene_pipeline.cli.reconcile import reconcile_projects  # noqa: PLC0415

    return reconcile_projects(Terminal(is_json=json), project, apply=apply)


def collect(
    apply: Annotated[bool, typer.Option("--apply", help="Remove what was found.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Also remove objects that this database never knew.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Show objects in the store that nothing needs; with --apply, remove them."""
    from scene_pipeline.cli.collect import collect_garbage  # noqa: PLC0415

    return collect_garbage(Terminal(is_json=json), apply=apply, delete_unknown=unknown)


def resolve(  # noqa: PLR0917  # options of the command line are keywords
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="The scene's id.")],
    pay_again: Annotated[
        bool, typer.Option("--pay-again", help="Send it once more; both may be charged.")
    ] = False,
    not_charged: Annotated[
        bool, typer.Option("--not-charged", help="You know that it was never accepted.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give it up; it counts as spent.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Decide about a request whose answer was lost and that cannot be looked up."""
    from scene_pipeline.cli.resolve import chosen_verdict  # noqa: PLC0415
    from scene_pipeline.cli.resolve import resolve as carry_out  # noqa: PLC0415

    verdict = chosen_verdict(pay_again=pay_again, not_charged=not_charged, abandon=abandon)
    return carry_out(Terminal(is_json=json), project, scene, verdict)


def prices(
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask Fal's price API first; needs FAL_KEY.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Show what models cost, since when and says who."""
    from scene_pipeline.cli.prices import show_prices  # noqa: PLC0415

    return show_prices(Terminal(is_json=json), refresh=refresh)


def drill(
    provider_faults: Annotated[
        list[str] | None,
        typer.Option(
            "--provider-faults", metavar="NAME", help="Only this fault; may be given several times."
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the scratch project, to be looked at.")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what killed or kept drills have left; no drill.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Try the promises under scripted faults, on your database and storage; costs nothing."""
    from scene_pipeline.cli.drill import clean_up, run_drill  # noqa: PLC0415

    carry_out = clean_up if clean else run_drill
    return carry_out(Terminal(is_json=json), provider_faults or [], is_kept=keep)
