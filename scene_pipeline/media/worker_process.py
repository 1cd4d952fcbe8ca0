"""One sandboxed child process and the pipes to it, seen from the parent.

Belongs here: starting, asking, timing and ending a child. Does not belong here: sharing children
between threads (`media.workers`) and what a child does (`media.worker`).
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import scene_pipeline
from scene_pipeline.errors import AGAIN, ImageError
from scene_pipeline.media.images import WorkerLimits
from scene_pipeline.media.messages import BrokenMessageError, read_message, write_message

# Where the interpreter's own libraries may lie; nothing else of the environment is handed on.
_HANDED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_LAST_WORDS_SECONDS = 0.5
_ALARM_GRACE_SECONDS = 1
# The child runs this very copy of the package, installed or not.
_START = (
    "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "from {module} import main; main()"
)


class WorkerProcess:
    """One child process and the pipes to it; used by one thread at a time."""

    def __init__(self, module: str, limits: WorkerLimits) -> None:
        root = str(Path(scene_pipeline.__file__).parent.parent)
        child_limits = {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": limits.cpu_seconds,
            "alarm_seconds": math.ceil(limits.wall_seconds) + _ALARM_GRACE_SECONDS,
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [
                    sys.executable, "-I", "-c", _START.format(module=module),
                    root, json.dumps(child_limits),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
                cwd="/",
                # a session of its own: Ctrl-C in the terminal is for the parent to handle
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise resource_error("No worker could be started") from error
        self.jobs_done = 0

    @property
    def is_dead(self) -> bool:
        """Whether the child has ended."""
        return self._process.poll() is not None

    def run(
        self, header: Mapping[str, Any], parts: Sequence[bytes], wall_seconds: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Hand one job over and wait for its answer.

        Raises:
            ImageError: decode_resource: the child died or was killed, whatever the reason.
        """
        jobs, answers = self._process.stdin, self._process.stdout
        assert jobs is not None  # noqa: S101  # both are pipes: narrows the types
        assert answers is not None  # noqa: S101
        is_late = threading.Event()

        def kill() -> None:
            is_late.set()
            self._process.kill()

        # killing the child ends the write or read that waits for it
        clock = threading.Timer(wall_seconds, kill)
        clock.daemon = True
        clock.start()
        try:
            write_message(jobs, header, parts)
            answer = read_message(answers)
        except (OSError, ValueError, BrokenMessageError) as error:
            raise self._death(is_late.is_set()) from error
        finally:
            clock.cancel()
            clock.join()  # a clock that strikes this very moment must not kill the next job
        if answer is None or is_late.is_set():
            raise self._death(is_late.is_set())
        self.jobs_done += 1
        return answer

    def end(self) -> None:
        """Kill the child and release its pipes; it holds nothing that is worth a farewell."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _death(self, is_late: bool) -> ImageError:
        try:
            # a child that crashed closes its pipe a moment before its status can be read
            status = self._process.wait(timeout=_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if is_late:
            return resource_error("The picture took too long to decode")
        if status == -signal.SIGXCPU:
            return resource_error("The picture took too much processor time to decode")
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        return resource_error(f"The decoder ended with {cause}")


def resource_error(message: str) -> ImageError:
    """The error for a picture whose worker did not survive it; another try may succeed."""
    return ImageError(
        f"{message}.",
        code="decode_resource",
        next_action=f"Try again in a moment; for a scene's frame, with {AGAIN}.",
        retryable=True,
    )
