"""What is written where: one JSON document, or text for a person.

Belongs here: standard output and standard error, colours, and making foreign text harmless. Does
not belong here: what a command has to say.

With `--json`, standard output carries one JSON document and nothing else; an error is the document
`{"error": {"code", "message", "next_action"}}` on one line, so that it also fits where a command
writes an object a line, and its sentence goes to standard error as always.
"""

import errno
import json
import os
import re
import select
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene_pipeline.errors import DocumentError, Problem, ScenePipelineError

if TYPE_CHECKING:
    from rich.console import Console

PROGRAM = "scene-pipeline"
EXIT_INTERRUPTED = 130
MAX_PROBLEMS_SHOWN = 20
MAX_COMMAND = 2000
"""Characters; a longer command, of a thousand files, is not repeated."""
PIPED_WIDTH = 100_000
"""Text for other programs is never wrapped or cut."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C of a command that must not go on by its own words: they would ask for it all anew.

    Args:
        arguments: With which this program goes on.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments)
        self.arguments = arguments


class Terminal:
    """The two streams of one command."""

    def __init__(self, *, is_json: bool = False) -> None:
        self.is_json = is_json
        self._console: Console | None = None
        self._has_document = False

    @property
    def console(self) -> "Console":
        """Standard output for people; silent with `--json`."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415  # where used

            self._console = Console(
                quiet=self.is_json,
                highlight=False,
                markup=False,
                emoji=False,
                width=None if sys.stdout.isatty() else PIPED_WIDTH,
            )
        return self._console

    @property
    def is_live(self) -> bool:
        """Whether a person watches, so that lines may be drawn over."""
        return not self.is_json and self.console.is_terminal and not self.console.is_dumb_terminal

    def document(self, value: Mapping[str, Any]) -> None:
        """Write the one JSON document of a command."""
        self._has_document = True
        _write_json(value, indent=2)

    def line(self, value: Mapping[str, Any]) -> None:
        """Write one object of a command that writes one a line."""
        _write_json(value)

    def say(self, text: str = "", style: str | None = None) -> None:
        """Write a line for people; nothing with `--json`."""
        self.console.print(text, style=style, soft_wrap=True)

    def raise_if_unread(self) -> None:
        """Notice without writing that whoever read standard output has gone.

        A command that waits for something to write would otherwise outlive its reader until then.

        Raises:
            BrokenPipeError: As the next line would.
        """
        try:
            output = sys.stdout.fileno()
        except OSError:  # not of the system, as where a test captures it
            return
        poll = select.poll()
        poll.register(output, 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    @contextmanager
    def waiting(self, words: str) -> Iterator[None]:
        """Say what is being waited for, on a line that goes away afterwards."""
        if not self.is_live:
            yield
            return
        with self.console.status(f"{words} ...", spinner="line", spinner_style="dim"):
            yield

    def fail(self, error: ScenePipelineError) -> None:
        """Tell an error: its sentence on standard error, and as JSON where that was asked for."""
        problems = error.problems if isinstance(error, DocumentError) else ()
        if self.is_json and not self._has_document:
            with suppress(OSError):  # a standard output that takes nothing is told below, too
                self.line({"error": error_json(error, problems)})
        is_coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        word = "\x1b[1;31merror\x1b[0m" if is_coloured else "error"
        sentence = plain(
            f"[{error.error_code}]: {error.message} {as_typed_here(error.next_action)}"
        )
        lines = [f"{word} {sentence}", *(problem_lines(problems) if len(problems) > 1 else [])]
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()

    def tell_interruption(self, *arguments: str) -> None:
        """Tell that the command was interrupted, and the arguments with which it goes on.

        Of addresses among them nothing is repeated that may be a secret, as a signed query is.
        """
        from scene_pipeline.telemetry.redaction import Redaction  # noqa: PLC0415  # where used

        shown = [Redaction().one_line(word) if "://" in word else word for word in arguments]
        again = command(*shown)
        if len(again) > MAX_COMMAND:
            go_on = "Run it again to go on."
        elif shown == list(arguments):
            go_on = f"Go on with: {again}"
        else:
            go_on = f"Go on with this, its addresses whole as you gave them: {again}"
        self.fail(
            ScenePipelineError(
                "Interrupted; nothing that is paid for is lost.",
                code="interrupted",
                next_action=go_on,
            )
        )


def _write_json(value: Mapping[str, Any], *, indent: int | None = None) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent, default=str) + "\n")
    sys.stdout.flush()


def plain(text: str) -> str:
    """A foreign text on one line, without anything that a terminal would obey."""
    return _CONTROL_CHARACTERS.sub(" ", _COLOURS.sub("", text))


def problem_lines(problems: "tuple[Problem, ...]") -> list[str]:
    """Every problem of a document by code, path and sentence, bounded."""
    lines = [
        plain(f"  {problem.code}  {problem.path}  {problem.message}")
        for problem in problems[:MAX_PROBLEMS_SHOWN]
    ]
    hidden = len(problems) - len(lines)
    return [*lines, f"  and {hidden} more"] if hidden > 0 else lines


def error_json(error: ScenePipelineError, problems: "tuple[Problem, ...]" = ()) -> dict[str, Any]:
    """An error as JSON, with a document's problems where there are any."""
    told: dict[str, Any] = {
        "code": error.error_code,
        "message": error.message,
        "next_action": error.next_action,
    }
    if problems:
        told["problems"] = [problem_json(problem) for problem in problems]
    return told


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem of a document as JSON."""
    return {
        "code": problem.code,
        "path": problem.path,
        "message": problem.message,
        "scene_id": problem.scene_id,
    }


def shown_path(path: Path) -> str:
    """A path as short as it can be said from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def command(*arguments: str) -> str:
    """A command line of this program that can be typed here as it stands."""
    import shlex  # noqa: PLC0415  # where used

    return shlex.join([_program(), *arguments])


def as_typed_here(text: str) -> str:
    """A text whose commands of this program, in backticks, can be typed here as they stand."""
    return text.replace(f"`{PROGRAM} ", f"`{_program()} ")


def _program() -> str:
    started = Path(sys.argv[0])
    if shutil.which(PROGRAM) is not None or started.name != PROGRAM:
        return PROGRAM
    return shown_path(started.absolute())
