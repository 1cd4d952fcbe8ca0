"""The commands and their options.

Belongs here: names, arguments, help. Does not belong here: work; each command imports what does it
when it is called, so that `--help` answers at once.
"""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.errors import UsageError

app = typer.Typer(
    name="scene-pipeline",
    help="Turns the scene prompts of a master JSON into permanent, versioned frames.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ProjectKey = Annotated[
    str | None,
    typer.Option("--project", metavar="KEY", help="The project that FILE belongs to."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Import over a document that was edited since its last import."),
]


def parse_usd(text: str) -> Decimal:
    """Read an amount of money exactly as it was typed.

    Raises:
        UsageError: It is not one.
    """
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise UsageError(
            f"--max-cost {text!r} is not an amount in USD.",
            code="usage",
            next_action="Write it as 0.50.",
        )
    return amount


@app.command()
def run(  # noqa: PLR0917  # options of the command line are keywords
    target: Annotated[
        str, typer.Argument(metavar="FILE|PROJECT", help="A master JSON, or a project's key.")
    ],
    scene: Annotated[
        list[str] | None,
        typer.Option("--scene", metavar="ID", help="Only this scene; may be given several times."),
    ] = None,
    regenerate: Annotated[
        bool, typer.Option("--regenerate", help="Make and pay for a new version of each scene.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Also make new frames for scenes that were edited.")
    ] = False,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="offline or fal, for this run.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The provider's model, for this run.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, why and at what price.")
    ] = False,
    max_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that this run may spend.")
    ] = None,
    project: ProjectKey = None,
    force: Force = False,
    json: AsJson = False,
) -> int:
    """Make the frames that are missing; keep the others."""
    from scene_pipeline.cli.run import RunArguments  # noqa: PLC0415
    from scene_pipeline.cli.run import run as carry_out  # noqa: PLC0415

    arguments = RunArguments(
        target=target,
        scene_ids=tuple(dict.fromkeys(scene or ())),
        regenerate=regenerate,
        refresh_stale=stale,
        provider=provider,
        model=model,
        is_dry=dry_run,
        max_cost_usd=None if max_cost is None else parse_usd(max_cost),
        project_key=project,
        force=force,
    )
    return carry_out(arguments, Terminal(is_json=json))


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A master JSON.")],
    project: ProjectKey = None,
    force: Force = False,
    json: AsJson = False,
) -> int:
    """Bring a document in, or an edited one in again; makes no frames."""
    from scene_pipeline.cli.documents import import_file as carry_out  # noqa: PLC0415

    return carry_out(file, Terminal(is_json=json), project_key=project, force=force)


@app.command("export")
def export(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; else standard output."),
    ] = None,
    json: AsJson = False,
) -> int:
    """Give a project's document back, with its frames."""
    from scene_pipeline.cli.documents import export_project as carry_out  # noqa: PLC0415

    return carry_out(project, output, Terminal(is_json=json))


@app.command()
def status(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="The project's key; else all.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Show where projects or a project's scenes stand."""
    from scene_pipeline.cli.status import show_project, show_projects  # noqa: PLC0415

    terminal = Terminal(is_json=json)
    return show_projects(terminal) if project is None else show_project(terminal, project)


@app.command()
def versions(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="The scene's id.")],
    json: AsJson = False,
) -> int:
    """List the versions of a scene's frame, newest first."""
    from scene_pipeline.cli.versions import show_versions  # noqa: PLC0415

    return show_versions(Terminal(is_json=json), project, scene)


@app.command()
def heal(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="The project's key; else all.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Store frames that could not be stored when they were made; corrects the documents."""
    from scene_pipeline.cli.heal import heal_frames  # noqa: PLC0415

    return heal_frames(Terminal(is_json=json), project)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def prices(
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask Fal's price API first; needs FAL_KEY.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Show what models cost, since when and says who."""
    from scene_pipeline.cli.prices import show_prices  # noqa: PLC0415

    return show_prices(Terminal(is_json=json), refresh=refresh)


@app.command()
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


@app.command()
def doctor(json: AsJson = False) -> int:
    """Check database, storage, provider and versions; name a cure for what is wrong."""
    from scene_pipeline.cli.doctor import examine  # noqa: PLC0415

    return examine(Terminal(is_json=json))


@app.command()
def up(json: AsJson = False) -> int:
    """Start database, frame server and Dagster, to stay until Ctrl-C."""
    from scene_pipeline.cli.up import up as carry_out  # noqa: PLC0415

    return carry_out(Terminal(is_json=json))


@app.command()
def down(json: AsJson = False) -> int:
    """Stop what `up` started, from another terminal."""
    from scene_pipeline.cli.down import down as carry_out  # noqa: PLC0415

    return carry_out(Terminal(is_json=json))
