"""A pool of sandboxed processes that decode pictures, so that a hostile one costs only itself.

Mode of operation: each job goes to an idle child process (`media.worker`) under limits of memory
and processor time and under a wall clock. A child that crashes, spins or blows up is killed and
replaced; its job ends as `decode_resource`, every other job goes on.

Belongs here: processes and their supervision. Does not belong here: Pillow (`media.inspection`).
"""

import hashlib
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from scene_pipeline.media.formats import CONTENT_TYPES, EXTENSIONS, ImageFormat
from scene_pipeline.media.images import (
    ContactSheet,
    Derived,
    DerivedForm,
    InspectedFile,
    InspectedImage,
    ReadPicture,
    WorkerLimits,
)
from scene_pipeline.media.messages import error_from_data
from scene_pipeline.media.metadata import CURRENT_EDITION
from scene_pipeline.media.sheet_cells import SheetCell, check_cells
from scene_pipeline.media.worker_process import WorkerProcess, resource_error
from scene_pipeline.media.xmp_packet import Edition
from scene_pipeline.scenes.identity import MediaType


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
        self._idle: queue.LifoQueue[WorkerProcess | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._lock = threading.Lock()
        self._living: set[WorkerProcess] = set()
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
        edition: Edition = CURRENT_EDITION,
    ) -> InspectedImage:
        """Check a picture completely, clean it, and put our metadata block into it.

        Args:
            data: The bytes as they arrived.
            expected_width: Pixels asked for; another size is a note, no error.
            expected_height: As `expected_width`.
            metadata: Facts for the block, by lower-case name.
            embed: Whether to write the block. Equal bytes and facts give an equal sha256.
            edition: How the block is laid out (`media.xmp_packet`).

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
            "edition": edition,
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

    def reduce(self, data: bytes, *, max_bytes: int) -> bytes:
        """Make an accepted picture fit into so many bytes (`media.reduction`); gives JPEG.

        Raises:
            ImageError: It is not a picture that we accept, or its worker did not survive it.
        """
        header = {"job": "reduce", "max_bytes": max_bytes, "max_pixels": self._limits.max_pixels}
        _, (reduced,) = self._run(header, [data])
        return reduced

    def inspect_file(
        self,
        path: Path,
        *,
        media: MediaType,
        allow_svg: bool,
        max_image_bytes: int,
        embed: bool = True,
    ) -> InspectedFile:
        """Recognise a file by its content, check it as far as its kind allows, and clean stills.

        Args:
            path: Ours, or at least nobody else's to change meanwhile. Its name plays no part.
            media: What it is declared to be.
            allow_svg: Whether drawings are taken.
            max_image_bytes: Of a picture; the caller bounds everything else.
            embed: Whether a picture that we made keeps our metadata block.

        Raises:
            FileRefusedError: file_not_allowed, truncated_file, file_unreadable, kind_mismatch,
                too_large, or what `inspect` says of a picture: not_image, not_allowed,
                truncated_image, bomb, bad_dimensions. `retryable` where another download may help.
            ImageError: decode_resource where the worker did not survive the file; retryable.
        """
        order = {
            "media": media,
            "allow_svg": allow_svg,
            "max_image_bytes": max_image_bytes,
            "max_pixels": self._limits.max_pixels,
            "embed": embed,
        }
        header = {"job": "inspect_file", "path": str(path.absolute()), "order": order}
        facts, (data, thumbnail) = self._run(header, ())
        is_changed = facts.pop("is_changed")
        notes = tuple(facts.pop("notes"))
        # hours of video are hashed here, where neither memory nor time of a job is at stake
        sha256 = facts.pop("sha256") or _digest_of(path)
        return InspectedFile(
            data=data if is_changed else None,
            sha256=sha256,
            thumbnail=thumbnail or None,
            notes=notes,
            **facts,
        )

    def read_back(self, data: bytes) -> ReadPicture:
        """Check a picture completely and read our metadata block in it, whoever wrote that.

        Raises:
            ImageError: As `inspect`.
        """
        header = {"job": "read_back", "max_pixels": self._limits.max_pixels}
        answer, _ = self._run(header, [data])
        return ReadPicture(sha256=hashlib.sha256(data).hexdigest(), **answer)

    def derive(self, data: bytes, form: DerivedForm, *, embed: bool = False) -> Derived:
        """Make another form of a picture that was accepted before (`media.derivation`).

        Args:
            data: The picture.
            form: Which form.
            embed: Whether our metadata block, where the picture has one, is in it too.

        Raises:
            ImageError: It is no picture that can be decoded (SVG is none), or decode_resource.
        """
        header = {
            "job": "derive",
            "form": form,
            "max_pixels": self._limits.max_pixels,
            "embed": embed,
        }
        facts, (derived,) = self._run(header, [data])
        return Derived(data=derived, **facts)

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
            raise resource_error("All workers are busy with other pictures") from None
        try:
            if worker is None or worker.is_dead:
                self._discard(worker)
                worker = self._start()
            answer, answer_parts = worker.run(header, parts, self._limits.wall_seconds)
        except BaseException:
            self._discard(worker)
            self._idle.put(None)
            raise
        if worker.jobs_done >= self._limits.jobs_per_worker or answer.pop("is_last", False):
            self._discard(worker)
            worker = None
        self._idle.put(worker)
        if "error" in answer:
            raise error_from_data(answer["error"])
        return answer, answer_parts

    def _start(self) -> WorkerProcess:
        with self._lock:
            if self._is_closed:
                raise resource_error("The workers are closed")
            worker = WorkerProcess(self._worker_module, self._limits)
            self._living.add(worker)
            return worker

    def _discard(self, worker: WorkerProcess | None) -> None:
        if worker is not None:
            with self._lock:
                self._living.discard(worker)
            worker.end()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
