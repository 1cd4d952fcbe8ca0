"""Looking: reports, what happens now, and what a picture's file says of itself."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson
from scene_pipeline.cli.terminal import EXIT_INTERRUPTED, Terminal


def report(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report with its frames as one HTML page."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table of scenes as CSV.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Show what a project's frames took: attempts, failures, seconds and money."""
    from scene_pipeline.cli.report import show_report  # noqa: PLC0415

    return show_report(Terminal(is_json=json), project, html=html, csv=csv)


def watch(
    project: Annotated[
        str | None,
        typer.Argument(metavar="[PROJECT]", help="The project's key; all projects when left out."),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(metavar="ID", help="Begin after this event instead of with what comes."),
    ] = None,
    json: AsJson = False,
) -> int:
    """Follow what happens, event by event, until Ctrl-C; with --json one object a line."""
    from scene_pipeline.cli.watch import watch_events  # noqa: PLC0415

    with suppress(KeyboardInterrupt):  # which ends it as it should
        watch_events(Terminal(is_json=json), project, since=since)
    return EXIT_INTERRUPTED


def inspect(
    picture: Annotated[
        str, typer.Argument(metavar="FILE|URL", help="A picture here, or at an allowed host.")
    ],
    json: AsJson = False,
) -> int:
    """Read prompt, model, seed and generation id back from a frame's file."""
    from scene_pipeline.cli.inspect import inspect_picture  # noqa: PLC0415

    return inspect_picture(Terminal(is_json=json), picture)
