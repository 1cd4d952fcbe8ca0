"""The program's commands, put together."""

from typing import Any

import typer
from typer.core import TyperGroup

from scene_pipeline.cli.commands import assets, choosing, frames, looking, serving, storage, upkeep


class CommandInterruptedError(Exception):
    """Ctrl-C, in a form in which it reaches the caller: Typer keeps its own to itself."""

    def __init__(self, interrupt: KeyboardInterrupt) -> None:
        super().__init__()
        self.interrupt = interrupt


class _Commands(TyperGroup):
    """The commands, whose interruption is not taken for one more exit code."""

    def invoke(self, ctx: Any) -> object:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CommandInterruptedError(error) from error


app = typer.Typer(
    name="scene-pipeline",
    cls=_Commands,
    help="Turns the scene prompts of a master JSON into permanent, versioned frames.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(frames.run)
app.command()(frames.regenerate)
app.command()(frames.plan)
app.command("import")(frames.import_file)
app.command("export")(frames.export)
app.command()(frames.status)
app.command()(frames.versions)
app.command()(looking.report)
app.command()(looking.watch)
app.command()(looking.inspect)
app.command()(choosing.promote)
app.command()(choosing.lock)
app.command()(choosing.unlock)
app.command("project")(choosing.project_settings)
app.command()(upkeep.heal)
app.command()(upkeep.reconcile)
app.command()(upkeep.collect)
app.command()(upkeep.resolve)
app.command()(upkeep.prices)
app.command()(upkeep.drill)
app.command()(serving.doctor)
app.command()(serving.up)
app.command()(serving.down)
app.add_typer(assets.assets)
app.add_typer(storage.storage)
