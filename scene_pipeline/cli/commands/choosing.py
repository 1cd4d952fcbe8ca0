"""What a person decides: which version counts, what is never replaced, how a project behaves."""

from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson, EveryScene, SceneIds
from scene_pipeline.cli.terminal import Terminal


def promote(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="The scene's id.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version's number.")],
    expect: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Only while this version is the current one."),
    ] = None,
    json: AsJson = False,
) -> int:
    """Make an existing version the scene's frame; corrects the document, costs nothing."""
    from scene_pipeline.cli.promote import promote as carry_out  # noqa: PLC0415
    from scene_pipeline.cli.promote import read_version  # noqa: PLC0415

    expected = None if expect is None else read_version(expect)
    return carry_out(
        Terminal(is_json=json), project, scene, read_version(version), expected_current=expected
    )


def lock(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: SceneIds = None,
    every: EveryScene = False,
    json: AsJson = False,
) -> int:
    """Keep scenes' frames: nothing replaces them, whatever is edited or asked for."""
    from scene_pipeline.cli.lock import chosen_scenes, set_locks  # noqa: PLC0415

    scenes = chosen_scenes(scene or (), is_all=every)
    return set_locks(Terminal(is_json=json), project, scenes, is_locked=True)


def unlock(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    scene: SceneIds = None,
    every: EveryScene = False,
    json: AsJson = False,
) -> int:
    """Let scenes' frames be replaced again."""
    from scene_pipeline.cli.lock import chosen_scenes, set_locks  # noqa: PLC0415

    scenes = chosen_scenes(scene or (), is_all=every)
    return set_locks(Terminal(is_json=json), project, scenes, is_locked=False)


def project_settings(  # noqa: PLR0917  # options of the command line are keywords
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's key.")],
    auto_refresh: Annotated[
        str | None,
        typer.Option(metavar="on|off", help="Whether edited scenes are made anew by themselves."),
    ] = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="Close it: nothing new is made for it.")
    ] = False,
    unarchive: Annotated[bool, typer.Option("--unarchive", help="Open it again.")] = False,
    keep_versions: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=100_000, help="How many versions of each scene are kept."
        ),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(metavar="D", min=0, max=100_000, help="For how many days a version is kept."),
    ] = None,
    keep_defaults: Annotated[
        bool, typer.Option("--keep-defaults", help="Keep versions as the installation says.")
    ] = False,
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER:MODEL",
            help="Who makes a frame where the first model cannot; several, in this order.",
        ),
    ] = None,
    no_fallbacks: Annotated[
        bool, typer.Option("--no-fallbacks", help="Only the first model makes its frames.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Show what is set of a project, or set it."""
    from scene_pipeline.cli.project import (  # noqa: PLC0415
        read_archive,
        read_fallbacks,
        read_kept,
        read_switch,
        show_or_change,
    )

    return show_or_change(
        Terminal(is_json=json),
        project,
        auto_refresh=read_switch("--auto-refresh", auto_refresh),
        is_archived=read_archive(archive=archive, unarchive=unarchive),
        kept=read_kept(keep_versions, keep_days, is_default=keep_defaults),
        fallbacks=read_fallbacks(fallback or (), is_none=no_fallbacks),
    )
