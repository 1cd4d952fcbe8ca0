"""The installation: looking at it, starting and stopping it."""

from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson
from scene_pipeline.cli.terminal import Terminal


def doctor(
    alert_test: Annotated[
        bool, typer.Option("--alert-test", help="Send a test message to the webhook of alerts.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Check database, storage, provider and versions; name a cure for what is wrong."""
    from scene_pipeline.cli.doctor import examine  # noqa: PLC0415

    return examine(Terminal(is_json=json), alert_test=alert_test)


def up(json: AsJson = False) -> int:
    """Start database, frame server and Dagster, to stay until Ctrl-C."""
    from scene_pipeline.cli.up import up as carry_out  # noqa: PLC0415

    return carry_out(Terminal(is_json=json))


def down(json: AsJson = False) -> int:
    """Stop what `up` started, from another terminal."""
    from scene_pipeline.cli.down import down as carry_out  # noqa: PLC0415

    return carry_out(Terminal(is_json=json))
