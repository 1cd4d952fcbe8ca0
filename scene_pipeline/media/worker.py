"""A sandboxed worker: reads jobs from its pipe, works under resource limits, answers, and dies.

Mode of operation: started by `media.workers` with a minimal environment and no descriptors but its
pipes. Memory, processor time, file size and open files are limited before the first job; it ends
when its parent closes the pipe, and by itself after a job that ran out of memory.

Belongs here: the worker's side of the pipe. Does not belong here: the pool (`media.workers`).
"""

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from PIL import (
    Image,
    WebPImagePlugin,  # noqa: F401  # registers itself; `preinit` leaves it out
)

from scene_pipeline.errors import FileRefusedError, ImageError
from scene_pipeline.media.contact_sheet import SheetCell, draw_contact_sheet, reduce_sheet
from scene_pipeline.media.derivation import derive_image
from scene_pipeline.media.file_inspection import FileOrder, inspect_file, seed_fact, short_fact
from scene_pipeline.media.inspection import InspectionOrder, inspect_image
from scene_pipeline.media.messages import error_as_data, read_message, write_message
from scene_pipeline.media.metadata import MAX_BLOCK_BYTES, own_facts
from scene_pipeline.media.reduction import reduce_image

Answer = tuple[dict[str, Any], Sequence[bytes]]
Handler = Callable[[Mapping[str, Any], Sequence[bytes]], Answer]


def main() -> None:
    """Entry point of a worker; the last argument holds its limits as JSON."""
    handlers = {
        "inspect": _inspect,
        "inspect_file": _inspect_file,
        "reduce": _reduce,
        "derive": _derive,
        "read_back": _read_back,
        "contact_sheet": _draw_contact_sheet,
    }
    serve(handlers, json.loads(sys.argv[-1]))


def serve(handlers: Mapping[str, Handler], limits: Mapping[str, int]) -> None:
    """Answer jobs until the pipe is closed.

    Args:
        handlers: By the job's name; an `ImageError` or a `FileRefusedError` is the job's answer,
            anything else is a crash.
        limits: `memory_bytes`, and per job `cpu_seconds` and `alarm_seconds`.
    """
    jobs, answers = _take_pipes()
    Image.preinit()  # the plugins of PNG and JPEG, now, before anything hostile is read
    _limit_process(limits["memory_bytes"])
    while (message := read_message(jobs)) is not None:
        header, parts = message
        _limit_cpu(limits["cpu_seconds"])
        # ends a job that hangs even when the parent, whose wall clock is shorter, is gone
        signal.alarm(limits["alarm_seconds"])
        answer: dict[str, Any]
        blobs: Sequence[bytes]
        try:
            answer, blobs = handlers[header["job"]](header, parts)
        except (ImageError, FileRefusedError) as error:
            answer, blobs = {"error": error_as_data(error)}, ()
        except MemoryError:
            # the heap is in an unknown state: the next job gets a fresh process
            answer, blobs = {"error": error_as_data(_out_of_memory()), "is_last": True}, ()
        signal.alarm(0)
        del message, parts
        write_message(answers, answer, blobs)
        if answer.get("is_last"):
            return


def _out_of_memory() -> ImageError:
    return ImageError("It takes too much memory.", code="decode_resource", retryable=True)


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes for ourselves: whatever a library prints must not get among the answers."""
    jobs, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return os.fdopen(jobs, "rb"), os.fdopen(answers, "wb")


def _limit_process(memory_bytes: int) -> None:
    """Apply what holds for the worker's whole life.

    Platforms that know a limit but refuse to set it (RLIMIT_AS on macOS) are left with the others
    and with the pool's wall clock.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, value in (
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NPROC", 0),
    ):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (limit, limit))


def _limit_cpu(seconds: int) -> None:
    """Let this job use so much processor time from now on; the kernel ends the process then."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(
        resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )


def _inspect(header: Mapping[str, Any], parts: Sequence[bytes]) -> Answer:
    found = inspect_image(parts[0], InspectionOrder(**header["order"]))
    facts = {
        "image_format": found.image_format,
        "width": found.width,
        "height": found.height,
        "is_reencoded": found.is_reencoded,
        "is_blank": found.is_blank,
        "notes": found.notes,
    }
    return facts, (found.data, found.thumbnail)


def _reduce(header: Mapping[str, Any], parts: Sequence[bytes]) -> Answer:
    return {}, (reduce_image(parts[0], header["max_bytes"], header["max_pixels"]),)


def _inspect_file(header: Mapping[str, Any], _: Sequence[bytes]) -> Answer:
    found = inspect_file(Path(header["path"]), FileOrder(**header["order"]))
    facts = {
        "media": found.found.media,
        "mime_type": found.found.mime_type,
        "extension": found.found.extension,
        "size_bytes": found.size_bytes,
        "sha256": found.sha256,
        "is_changed": found.data is not None,
        "width": found.width,
        "height": found.height,
        "is_animated": found.is_animated,
        "model": short_fact(found.facts, "model"),
        "seed": seed_fact(found.facts),
        "generation_id": short_fact(found.facts, "generation_id"),
        "notes": found.notes,
    }
    return facts, (found.data or b"", found.thumbnail or b"")


def _derive(header: Mapping[str, Any], parts: Sequence[bytes]) -> Answer:
    derived = derive_image(parts[0], header["form"], header["max_pixels"], embed=header["embed"])
    facts = {
        "content_type": derived.content_type,
        "width": derived.width,
        "height": derived.height,
    }
    return facts, (derived.data,)


def _read_back(header: Mapping[str, Any], parts: Sequence[bytes]) -> Answer:
    facts = own_facts(parts[0])
    found = inspect_image(parts[0], InspectionOrder(max_pixels=header["max_pixels"]))
    answer = {
        "facts": {name: value[:MAX_BLOCK_BYTES] for name, value in facts.items()},
        "image_format": found.image_format,
        "width": found.width,
        "height": found.height,
    }
    return answer, ()


def _draw_contact_sheet(header: Mapping[str, Any], parts: Sequence[bytes]) -> Answer:
    cells = [
        SheetCell(**facts, thumbnail=thumbnail or None)
        for facts, thumbnail in zip(header["cells"], parts, strict=True)
    ]
    png = draw_contact_sheet(header["title"], header["subtitle"], cells, header["columns"])
    return {}, (png, reduce_sheet(png))


if __name__ == "__main__":
    main()
