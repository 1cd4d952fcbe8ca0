"""The console script: arguments in, exit code out.

Belongs here: what every command shares at its end: exit codes and the one sentence of an error.
Does not belong here: the commands (`cli.app` names them).

Exit codes: 0 all that was asked is done; 1 some scenes failed, are blocked, ambiguous or invalid;
or what they need was missing; 2 bad input or configuration; 70 a defect of this program; 130
interrupted.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.cli.terminal import EXIT_INTERRUPTED, PROGRAM, InterruptedRun, Terminal
from scene_pipeline.errors import ScenePipelineError, UsageError

if TYPE_CHECKING:
    import typer

EXIT_OK = 0
EXIT_UNFINISHED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 70


# What this machine lacks, which is nobody's mistake in the program.
_MACHINE_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; the process's own when left out.

    Returns:
        The exit code.
    """
    _open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    terminal = Terminal(is_json="--json" in given)
    try:
        return _dispatch(given)
    except ScenePipelineError as error:
        terminal.fail(error)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_UNFINISHED
    except KeyboardInterrupt as error:
        # Mostly the same words go on: what was made is kept.
        again = error.arguments if isinstance(error, InterruptedRun) else given
        terminal.tell_interruption(*again)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_standard_output()
        return EXIT_UNFINISHED
    except Exception as error:  # noqa: BLE001  # the last resort: a sentence instead of a traceback
        lacking = _machine_error(error)
        if lacking is not None:
            terminal.fail(lacking)
            return EXIT_UNFINISHED
        place = _keep_traceback(error)
        terminal.fail(_internal_error(error, place))
        if place is None:
            sys.stderr.write("".join(traceback.format_exception(error)))
        return EXIT_INTERNAL


def _open_streams() -> None:
    """Give what is written a place to go where the caller has closed the program's streams.

    And let a name that is no text, as a file's may be, or a letter that the terminal does not know,
    be shown as a question mark rather than end the command.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # for good
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _dispatch(arguments: list[str]) -> int:
    import typer  # noqa: PLC0415  # after `main` can answer Ctrl-C

    from scene_pipeline.cli.app import CommandInterruptedError, app  # noqa: PLC0415

    _set_up_log(arguments)
    _take_termination_for_ctrl_c()
    try:
        # Without standalone mode the command's return value and errors come back here.
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except CommandInterruptedError as error:
        raise error.interrupt from error
    except typer.TyperException as error:
        raise _usage_error(error, arguments) from error
    sys.stdout.flush()
    return int(code or EXIT_OK)


def _take_termination_for_ctrl_c() -> None:
    """Let a closed terminal or a `kill` end every command as Ctrl-C does.

    Whoever handles that then: else a display would leave its terminal without a cursor, and work
    its children behind.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: object) -> None:
    """End as Ctrl-C does, also where a script started us in the background, where that is ignored.

    Raises:
        KeyboardInterrupt: Nobody else takes it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _usage_error(error: "typer.TyperException", arguments: Sequence[str]) -> UsageError:
    """What is wrong with the arguments, with the help of the very command."""
    context = getattr(error, "ctx", None)
    path = _command_path(arguments)
    message = error.format_message().replace("Input should", "it should")
    if context is not None and message == context.get_help():  # where only a command is missing
        message = f"`{path}` needs a command"
    message = message.strip().rstrip(".")
    if not message.endswith("?"):  # of "Did you mean ..."
        message += "."
    return UsageError(message, code="usage", next_action=f"See `{path} --help`.")


def _set_up_log(arguments: list[str]) -> None:
    """Send our log where the settings say; a setting that cannot be used is the command's to tell.

    Help is given whatever the settings are, and without waiting for them to be read.
    """
    if {"-h", "--help"} & set(arguments):
        return
    from scene_pipeline.settings import load_settings  # noqa: PLC0415
    from scene_pipeline.telemetry.logs import set_up  # noqa: PLC0415

    with contextlib.suppress(ScenePipelineError):
        set_up(load_settings())


def _command_path(arguments: Sequence[str]) -> str:
    """The command that was meant, with its group: "scene-pipeline assets add"."""
    from typer.main import get_command  # noqa: PLC0415  # after `main` can answer Ctrl-C

    from scene_pipeline.cli.app import app  # noqa: PLC0415

    words = [PROGRAM]
    commands = getattr(get_command(app), "commands", {})
    for argument in arguments:
        if argument not in commands:
            break
        words.append(argument)
        commands = getattr(commands[argument], "commands", {})
    return " ".join(words)


def _silence_standard_output() -> None:
    """Let Python's own flush at exit find an open file where the reader of a pipe has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _machine_error(error: Exception) -> ScenePipelineError | None:
    """The error for what this machine lacks; None for a defect of the program."""
    if isinstance(error, MemoryError):
        reason, cure = "no memory is left", "Free some memory"
    elif isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        place = f" ({error.filename})" if error.filename else ""
        reason, cure = f"{os.strerror(error.errno).lower()}{place}", "Put that right"
    else:
        return None
    return ScenePipelineError(
        f"This machine cannot go on: {reason}.",
        code="machine_failed",
        next_action=f"{cure}, then run the command again: what is paid for is kept.",
    )


def _internal_error(error: Exception, place: Path | None) -> ScenePipelineError:
    kept = "follows" if place is None else f"is in {place}"
    return ScenePipelineError(
        f"Something unexpected happened ({type(error).__name__}); this is a defect of the program,"
        f" and its traceback {kept}.",
        code="internal_error",
        next_action="Run the command again to go on: what is paid for is kept. Where it happens"
        f" again, see with `{PROGRAM} doctor` what is out of order.",
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
    except Exception:  # noqa: BLE001  # whatever it is, the first error is what must be told
        return None
    return place
