"""The console script: arguments in, exit code out.

Belongs here: what every command shares at its end: exit codes and the one sentence of an error.
Does not belong here: the commands (`cli.app` names them).

Exit codes: 0 all that was asked is done; 1 some scenes failed, are blocked, ambiguous or invalid;
2 bad input or configuration; 70 a defect of this program; 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.errors import ScenePipelineError, UsageError

EXIT_OK = 0
EXIT_UNFINISHED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130

PROGRAM = "scene-pipeline"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; the process's own when left out.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    terminal = Terminal(is_json="--json" in given)
    try:
        return _dispatch(given)
    except ScenePipelineError as error:
        terminal.fail(error)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_UNFINISHED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_standard_output()
        return EXIT_UNFINISHED
    except Exception as error:  # noqa: BLE001  # the last resort: a sentence instead of a traceback
        terminal.fail(_internal_error(error))
        return EXIT_INTERNAL


def _dispatch(arguments: list[str]) -> int:
    import typer  # noqa: PLC0415  # after `main` can answer Ctrl-C

    from scene_pipeline.cli.app import app  # noqa: PLC0415

    try:
        # Without standalone mode the command's return value and errors come back here.
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message().strip().rstrip(".")
        raise UsageError(
            f"{message}.", code="usage", next_action=f"See `{PROGRAM} --help`."
        ) from error
    sys.stdout.flush()
    return int(code or EXIT_OK)


def _silence_standard_output() -> None:
    """Let Python's own flush at exit find an open file where the reader of a pipe has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal_error(error: Exception) -> ScenePipelineError:
    place = _keep_traceback(error)
    kept = f"Its traceback is in {place}." if place else "".join(traceback.format_exception(error))
    return ScenePipelineError(
        f"Something unexpected happened ({type(error).__name__}); this is a defect of the program.",
        code="internal_error",
        next_action=f"{kept} What is paid for is kept: run the command again to go on.",
    )


def _keep_traceback(error: Exception) -> Path | None:
    from scene_pipeline.settings import load_settings  # noqa: PLC0415  # where needed

    try:
        directory = load_settings().home_directory / "logs"
        directory.mkdir(parents=True, exist_ok=True)
        place = directory / f"error-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except (OSError, ScenePipelineError):
        return None
    return place
