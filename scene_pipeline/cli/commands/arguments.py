"""Arguments and options that several commands share."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from scene_pipeline.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ProjectKey = Annotated[
    str | None,
    typer.Option("--project", metavar="KEY", help="The project that FILE belongs to."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Import over a document that was edited since its last import."),
]

SceneIds = Annotated[list[str] | None, typer.Argument(metavar="SCENE", help="Ids of its scenes.")]
EveryScene = Annotated[bool, typer.Option("--all", help="Every scene of the document.")]


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
