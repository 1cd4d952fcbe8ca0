"""A pool of sandboxed processes that decode pictures, so that a hostile one costs only itself.

Mode of operation: each job goes to an idle child process (`media.worker`) under limits of memory
and processor time and under a wall clock. A child that crashes, spins or blows up is killed and
replaced; its job ends as `decode_resource`, every other job goes on.

Belongs here: processes and their supervision. Does not belong here: Pillow (`media.inspection`).
"""

import contextlib
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import scene_pipeline
from scene_pipeline.errors import ImageError
from scene_pipeline.media.formats import CONTENT_TYPES, EXTENSIONS, ImageFormat
from scene_pipeline.media.messages import BrokenMessageError, read_message, write_message
from scene_pipeline.media.sheet_cells import SheetCell, check_cells

# Where the interpreter's own libraries may lie; nothing else of the environment is handed on.
_HANDED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_START = "import sys; sys.path.append(sys.argv[1]); from {module} import main; main()"


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Bounds of each worker and each job."""

    memory_bytes: int = 1536 * 2**20
    """Address space of a worker. 50 megapixels take 200 MB decoded, turned ones twice that."""
    cpu_seconds: int = 20
    """Processor time of one job."""
    wall_seconds: float = 30.0
    """Time from handing a job over to its answer."""
    queue_seconds: float = 300.0
    """Longest wait for an idle worker."""
    jobs_per_worker: int = 200
    """Jobs after which a worker is replaced, so that nothing it leaks adds up."""
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """A picture that is accepted, as it is to be stored."""

    data: bytes = field(repr=False)
    """The clean file, with our metadata block where that was asked for."""
    content_type: str
    """By the bytes, whatever was declared: image/png, image/jpeg or image/webp."""
    extension: str
    """png, jpg or webp."""
    width: int
    """Pixels, as shown: after the orientation was applied."""
    height: int
    sha256: str
    """Of `data`, lower-case hex."""
    is_reencoded: bool
    """Whether the pixels are not the original's: only where the picture had to be turned."""
    is_blank: bool
    """Whether it shows a single colour."""
    thumbnail: bytes = field(repr=False)
    """JPEG of at most 12 KiB, 320 pixels on its longer side."""
    notes: tuple[str, ...] = ()
    """What was found and done: trailing_bytes_cut, metadata_stripped, orientation_applied,
    size_differs."""


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """A drawn overview of a project's frames."""

    png: bytes = field(repr=False)
    preview: bytes = field(repr=False)
    """JPEG of at most 40,000 bytes, for inline display."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the PNG's header says."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")


class ImageWorkers:
    """Checks and draws pictures in child processes; thread safe.

    Calls block until there is an answer, so asyncio code runs them in threads, as many as it has
    workers. Children are started when first needed.

    Args:
        count: Jobs at once.
        limits: Bounds of each worker and job.
        worker_module: Whose `main` the children run.
    """

    def __init__(
        self,
        count: int = 2,
        limits: WorkerLimits | None = None,
        *,
        worker_module: str = "scene_pipeline.media.worker",
    ) -> None:
        self._limits = limits or WorkerLimits()
        self._worker_module = worker_module
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._lock = threading.Lock()
        self._living: set[_Worker] = set()
        self._is_closed = False

    def __enter__(self) -> "ImageWorkers":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all children; jobs under way fail as `decode_resource`."""
        with self._lock:
            self._is_closed = True
            living, self._living = self._living, set()
        for worker in living:
            worker.end()

    def inspect(
        self,
        data: bytes,
        *,
        expected_width: int | None = None,
        expected_height: int | None = None,
        metadata: Mapping[str, str] | None = None,
        embed: bool = False,
    ) -> InspectedImage:
        """Check a picture completely, clean it, and put our metadata block into it.

        Args:
            data: The bytes as they arrived.
            expected_width: Pixels asked for; another size is a note, no error.
            expected_height: As `expected_width`.
            metadata: Facts for the block, by lower-case name.
            embed: Whether to write the block. Equal bytes and facts give an equal sha256.

        Raises:
            ImageError: not_image, not_allowed, truncated_image, bomb, bad_dimensions, animated, or
                decode_resource where the worker did not survive the picture. `retryable` for
                truncated_image and decode_resource.
        """
        order = {
            "expected_width": expected_width,
            "expected_height": expected_height,
            "metadata": dict(metadata or {}),
            "embed": embed,
            "max_pixels": self._limits.max_pixels,
        }
        facts, parts = self._run({"job": "inspect", "order": order}, [data])
        clean, thumbnail = parts
        image_format: ImageFormat = facts["image_format"]
        return InspectedImage(
            data=clean,
            content_type=CONTENT_TYPES[image_format],
            extension=EXTENSIONS[image_format],
            width=int(facts["width"]),
            height=int(facts["height"]),
            sha256=hashlib.sha256(clean).hexdigest(),
            is_reencoded=bool(facts["is_reencoded"]),
            is_blank=bool(facts["is_blank"]),
            thumbnail=thumbnail,
            notes=tuple(facts["notes"]),
        )

    def contact_sheet(
        self, title: str, subtitle: str, cells: Sequence[SheetCell], *, columns: int = 4
    ) -> ContactSheet:
        """Draw a contact sheet (`media.contact_sheet`) and its inline preview.

        Raises:
            ImageError: decode_resource where the worker did not survive it.
            ValueError: There are more cells than a sheet takes.
        """
        check_cells(cells)
        texts = [
            {name: value for name, value in asdict(cell).items() if name != "thumbnail"}
            for cell in cells
        ]
        header = {
            "job": "contact_sheet",
            "title": title,
            "subtitle": subtitle,
            "cells": texts,
            "columns": columns,
        }
        _, (png, preview) = self._run(header, [cell.thumbnail or b"" for cell in cells])
        return ContactSheet(png, preview)

    def _run(
        self, header: Mapping[str, Any], parts: Sequence[bytes]
    ) -> tuple[dict[str, Any], list[bytes]]:
        try:
            worker = self._idle.get(timeout=self._limits.queue_seconds)
        except queue.Empty:
            raise _resource_error("All workers are busy with other pictures") from None
        try:
            if worker is None:
                worker = self._start()
            answer, answer_parts = worker.run(header, parts, self._limits.wall_seconds)
        except BaseException:
            self._discard(worker)
            self._idle.put(None)
            raise
        if worker.jobs_done >= self._limits.jobs_per_worker or worker.is_dead:
            self._discard(worker)
            worker = None
        self._idle.put(worker)
        if "error" in answer:
            raise ImageError(**answer["error"])
        return answer, answer_parts

    def _start(self) -> "_Worker":
        with self._lock:
            if self._is_closed:
                raise _resource_error("The workers are closed")
            worker = _Worker(self._worker_module, self._limits)
            self._living.add(worker)
            return worker

    def _discard(self, worker: "_Worker | None") -> None:
        if worker is not None:
            with self._lock:
                self._living.discard(worker)
            worker.end()


class _Worker:
    """One child process and the pipes to it; used by one thread at a time."""

    def __init__(self, module: str, limits: WorkerLimits) -> None:
        root = str(Path(scene_pipeline.__file__).parent.parent)
        child_limits = {"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.cpu_seconds}
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
            raise _resource_error("No worker could be started") from error
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
        if answer is None:
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
        self._process.kill()
        status = self._process.wait()
        if is_late:
            return _resource_error("The picture took too long to decode")
        if status == -signal.SIGXCPU:
            return _resource_error("The picture took too much processor time to decode")
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        return _resource_error(f"The decoder ended with {cause}")


def _resource_error(message: str) -> ImageError:
    return ImageError(f"{message}.", code="decode_resource", retryable=True)
