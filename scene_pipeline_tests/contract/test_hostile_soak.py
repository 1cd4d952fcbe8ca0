"""Hundreds of hostile answers and pictures among sound ones, in any order, by four workers."""

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from scene_pipeline_tests.contract.test_media_fetch import BROKEN
from scene_pipeline_tests.standins import bad_worker
from scene_pipeline_tests.standins.fetching_program import FetchOrder, FetchReport
from scene_pipeline_tests.standins.hostile_http import HostileServer, Script, answer, redirect
from scene_pipeline_tests.standins.pictures import (
    animated,
    draw_scene,
    encode,
    png_bomb,
    png_claiming,
    scene_file,
    turned,
    with_foreign_metadata,
)

ROOT = Path(__file__).parents[2]
MIB = 2**20
MAX_BYTES = 2 * MIB
TOTAL_SECONDS = 1.5
DECODE_SECONDS = 1.5
MAX_RESIDENT_BYTES = 400 * MIB

# A PNG of some 1.5 MB, as big as a frame is
LARGE = encode(Image.effect_noise((1280, 720), 60).convert("RGB"), "PNG", compress_level=1)

PICTURES: dict[str, tuple[bytes, str]] = {
    **{f"sound {kind}": (scene_file(kind), "ok") for kind in ("PNG", "JPEG", "WEBP")},
    **{f"turned {kind}": (turned(kind, 6), "ok") for kind in ("PNG", "JPEG", "WEBP")},
    **{f"talking {kind}": (with_foreign_metadata(kind), "ok") for kind in ("PNG", "JPEG", "WEBP")},
    **{
        f"cut {kind} {percent}": (
            encode(draw_scene(size=(640, 360)), kind)[: -1 - percent * 50],
            "truncated_image",
        )
        for kind in ("PNG", "JPEG", "WEBP")
        for percent in (1, 10)
    },
    **{f"a {kind}": (scene_file(kind), "not_allowed") for kind in ("GIF", "BMP", "TIFF", "AVIF")},
    "large": (LARGE, "ok"),
    "tail": (scene_file("PNG") + b"<script>alert(1)</script>", "ok"),
    "bomb": (png_bomb(), "bomb"),
    "claims the world": (png_claiming(2**31 - 1, 2**31 - 1), "bomb"),
    "claims a strip": (png_claiming(100_000, 1), "bad_dimensions"),
    "tiny": (encode(draw_scene(size=(15, 15)), "PNG"), "bad_dimensions"),
    "moving PNG": (animated("PNG"), "animated"),
    "moving WEBP": (animated("WEBP"), "animated"),
    "html": (b"<!doctype html><html>", "not_allowed"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "not_allowed"),
    "nothing": (b"", "not_image"),
    "zeros": (b"\0" * 1000, "not_image"),
    "a decoder that crashes": (bad_worker.SEGFAULT, "decode_resource"),
    "a decoder that spins": (bad_worker.SPIN, "decode_resource"),
    "a decoder that eats memory": (bad_worker.EAT, "decode_resource"),
    "a decoder that quits": (bad_worker.QUIT, "decode_resource"),
}
REDIRECTS: dict[str, tuple[bytes, str]] = {
    "to a metadata service": (redirect("http://169.254.169.254/"), "redirect_blocked_scheme"),
    "to a file": (redirect("file:///etc/passwd"), "redirect_blocked_scheme"),
    "to a stranger": (redirect("https://internal.test/"), "redirect_blocked_host"),
    "in a circle": (redirect("/in%20a%20circle"), "redirect_loop"),
}


def cases() -> dict[str, tuple[Script, str]]:
    """Every answer of the server by its path, with the class that it must fall into."""
    by_name: dict[str, tuple[Script, str]] = {
        **{f"answer: {name}": (script, code) for name, script, code, _ in BROKEN},
        **{name: (answer(body), code) for name, (body, code) in PICTURES.items()},
        **REDIRECTS,
        "answer: too long by its own word": (answer(length=MAX_BYTES + 1), "too_large"),
    }
    return {f"/{name}".replace(" ", "%20"): case for name, case in by_name.items()}


def soak(rounds: int, temporary: Path) -> None:
    answers = cases()
    paths = [path for path in answers for _ in range(rounds)]
    random.shuffle(paths)
    temporary.mkdir()
    with HostileServer({path: script for path, (script, _) in answers.items()}) as server:
        order = FetchOrder(
            host=f"127.0.0.1:{server.port}",
            urls=[server.url(path) for path in paths],
            max_bytes=MAX_BYTES,
            total_seconds=TOTAL_SECONDS,
            read_seconds=0.4,
        )
        told = subprocess.run(
            [sys.executable, "-m", "scene_pipeline_tests.standins.fetching_program"],
            input=json.dumps(asdict(order)),
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
    report = FetchReport(**json.loads(told.stdout))

    wrong = {
        (path, outcome, answers[path][1])
        for path, outcome in zip(paths, report.outcomes, strict=True)
        if outcome != answers[path][1]
    }
    assert wrong == set()
    assert report.peak_bytes < MAX_RESIDENT_BYTES
    assert report.growth_bytes < 50 * MIB
    assert report.slowest_seconds < TOTAL_SECONDS + WORKER_SECONDS
    assert (report.open_sockets, report.children) == (0, 0)
    assert report.threads == ["MainThread"]
    assert report.temporary_files == []


# a worker that hangs, the one that is started anew, and a queue of both before them
WORKER_SECONDS = 4 * DECODE_SECONDS + 5.0


def test_hostile_and_sound_pictures_in_any_order(tmp_path: Path) -> None:
    soak(1, tmp_path / "temporary")


@pytest.mark.long
def test_hundreds_of_hostile_and_sound_pictures_in_any_order(tmp_path: Path) -> None:
    soak(12, tmp_path / "temporary")
