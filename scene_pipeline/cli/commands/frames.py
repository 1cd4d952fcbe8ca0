"""Frames and documents: making them, asking for them, looking at them."""

from pathlib import Path
from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson, Force, ProjectKey, parse_usd
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.errors import UsageError


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


def regenerate(  # noqa: PLR0917  # options of the command line are keywords
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENE]...", help="Ids of its scenes.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every scene that may have one.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Scenes that were edited.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Scenes that failed.")] = False,
    missing: Annotated[bool, typer.Option("--missing", help="Scenes without a frame.")] = False,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="In place of the scene's own words, this once."),
    ] = None,
    prompt_suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Added to what is sent, this once.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The seed, 0 to 2147483647.")
    ] = None,
    seed_policy: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="random, fixed, reuse or increment."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The provider's model.")] = None,
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="offline or fal.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Pixels, or a preset such as square_hd.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A picture to go by; may be given several times."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(metavar="N", help="Pictures to make, each a version to choose.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for whoever looks at it later.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Make them here and now.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show for which scenes and at what price.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Buy a request again that made a version already.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask for more than the caps allow; the rest waits.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Ask for a new version of scenes; a running `up` makes it by itself."""
    from scene_pipeline.cli.regenerate import (  # noqa: PLC0415
        RegenerateArguments,
        groups,
        read_wishes,
    )
    from scene_pipeline.cli.regenerate import regenerate as carry_out  # noqa: PLC0415

    arguments = RegenerateArguments(
        project_key=project,
        scene_ids=tuple(dict.fromkeys(scene or ())),
        which=groups(all=every, stale=stale, failed=failed, missing=missing),
        overrides=read_wishes(
            prompt=prompt,
            prompt_suffix=prompt_suffix,
            seed=seed,
            seed_policy=seed_policy,
            model=model,
            provider=provider,
            image_size=size,
            references=reference or None,
            candidates=candidates,
        ),
        reason=reason,
        is_dry=dry_run,
        waits=wait,
        may_repeat=anyway,
        may_exceed_caps=yes,
    )
    return carry_out(arguments, Terminal(is_json=json))


def plan(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    json: AsJson = False,
) -> int:
    """Show what would be done about each scene, by itself and on request, and its price."""
    from scene_pipeline.cli.plan import show_plan  # noqa: PLC0415

    return show_plan(Terminal(is_json=json), project)


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A master JSON.")],
    project: ProjectKey = None,
    force: Force = False,
    json: AsJson = False,
) -> int:
    """Bring a document in, or an edited one in again; makes no frames."""
    from scene_pipeline.cli.documents import import_file as carry_out  # noqa: PLC0415

    return carry_out(file, Terminal(is_json=json), project_key=project, force=force)


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


def status(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="The project's key; else all.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="What a Dagster run made.")
    ] = None,
    backfill: Annotated[
        str | None, typer.Option("--backfill", metavar="ID", help="What a Dagster backfill made.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Show where projects or a project's scenes stand, or what a run made."""
    terminal = Terminal(is_json=json)
    if sum(given is not None for given in (project, run, backfill)) > 1:
        raise UsageError(
            "A project, a run and a backfill are shown one at a time.",
            code="usage",
            next_action="Give one of PROJECT, --run and --backfill.",
        )
    if run is not None or backfill is not None:
        from scene_pipeline.cli.run_scenes import show_run  # noqa: PLC0415

        return show_run(terminal, run_id=run, backfill_id=backfill)
    from scene_pipeline.cli.status import show_project, show_projects  # noqa: PLC0415

    return show_projects(terminal) if project is None else show_project(terminal, project)


def versions(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="The scene's id.")],
    json: AsJson = False,
) -> int:
    """List the versions of a scene's frame, newest first."""
    from scene_pipeline.cli.versions import show_versions  # noqa: PLC0415

    return show_versions(Terminal(is_json=json), project, scene)
