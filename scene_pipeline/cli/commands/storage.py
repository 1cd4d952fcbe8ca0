"""The store: moving a library to another one."""

from pathlib import Path
from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson
from scene_pipeline.cli.terminal import Terminal

storage = typer.Typer(
    name="storage",
    help="The place where frames and files are kept.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@storage.callback()
def choose() -> None:
    """The place where frames and files are kept."""


@storage.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="The other store, as SCENE_PIPELINE_STORAGE would name it.",
        ),
    ],
    to_env: Annotated[
        Path | None,
        typer.Option(
            "--to-env",
            metavar="FILE",
            help="The other store's S3_* and GCS_* variables, where they are not the ones in use.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every object back from there and compare.")
    ] = False,
    trust_addresses: Annotated[
        bool,
        typer.Option(
            "--trust-addresses",
            help="Write the new addresses although they cannot be read from here.",
        ),
    ] = False,
    json: AsJson = False,
) -> int:
    """Copy the library to another store, then correct all addresses; goes on where it was."""
    from scene_pipeline.cli.storage_copy import CopyArguments, copy_library  # noqa: PLC0415

    arguments = CopyArguments(to, to_env, verify=verify, trusts_addresses=trust_addresses)
    return copy_library(Terminal(is_json=json), arguments)
