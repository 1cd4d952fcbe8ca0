"""The pool of sandboxed workers: one hostile picture costs itself and nothing else."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from scene_pipeline.errors import FileRefusedError, ImageError
from scene_pipeline.media.images import DerivedForm, WorkerLimits
from scene_pipeline.media.metadata import read_metadata
from scene_pipeline.media.sheet_cells import SheetCell
from scene_pipeline.media.workers import ImageWorkers
from scene_pipeline_tests.standins import bad_worker, media_files
from scene_pipeline_tests.standins.pictures import (
    draw_scene,
    encode,
    png_bomb,
    scene_file,
    with_foreign_metadata,
)
from scene_pipeline_tests.waiting import wait_until

BAD_WORKER = "scene_pipeline_tests.standins.bad_worker"
START_SECONDS = 5.0
"""Enough for a worker to start and read a picture on a busy machine; a silent one takes it all."""


@pytest.fixture(scope="module")
def workers() -> Iterator[ImageWorkers]:
    with ImageWorkers(2) as pool:
        yield pool


def bad_workers(count: int = 1, **limits: float) -> ImageWorkers:
    return ImageWorkers(count, WorkerLimits(**limits), worker_module=BAD_WORKER)  # type: ignore[arg-type]


def worker_pid(pool: ImageWorkers) -> int:
    return int(pool.inspect(bad_worker.TELL).notes[1])


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for_the_end_of(pid: int) -> None:
    """Wait for a process that is no child of ours; an orphan may stay on as a zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")


@pytest.mark.parametrize(
    ("image_format", "content_type", "extension"),
    [("PNG", "image/png", "png"), ("JPEG", "image/jpeg", "jpg"), ("WEBP", "image/webp", "webp")],
)
def test_a_picture_comes_back_clean_described_and_marked(
    workers: ImageWorkers, image_format: str, content_type: str, extension: str
) -> None:
    facts = {"prompt": "a keeper 霧", "seed": "5"}
    data = with_foreign_metadata(image_format)
    found = workers.inspect(data, expected_width=1024, metadata=facts, embed=True)
    assert (found.content_type, found.extension) == (content_type, extension)
    assert (found.width, found.height) == (320, 180)
    assert found.notes == ("metadata_stripped", "size_differs")
    assert read_metadata(found.data) == facts
    again = workers.inspect(data, expected_width=1024, metadata=facts, embed=True)
    assert again.sha256 == found.sha256
    with Image.open(io.BytesIO(found.thumbnail)) as thumbnail:
        assert thumbnail.size == (320, 180)


def test_a_clean_picture_keeps_its_bytes(workers: ImageWorkers) -> None:
    data = scene_file("PNG")
    assert workers.inspect(data).data == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_image"),
        (b"<html>", "not_allowed"),
        (scene_file("JPEG")[:2000], "truncated_image"),
        (png_bomb(), "bomb"),
        (encode(draw_scene(size=(15, 15)), "PNG"), "bad_dimensions"),
    ],
)
def test_a_refusal_comes_back_as_the_error_it_is(
    workers: ImageWorkers, data: bytes, code: str
) -> None:
    with pytest.raises(ImageError) as caught:
        workers.inspect(data)
    assert caught.value.error_code == code
    assert caught.value.retryable == (code == "truncated_image")


def test_many_threads_share_the_workers(workers: ImageWorkers) -> None:
    files = [scene_file("JPEG", seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(workers.inspect, files))
    assert [one.data for one in found] == files


def test_a_large_picture_crosses_the_pipe_both_ways(workers: ImageWorkers) -> None:
    noise = Image.frombytes("RGB", (1400, 1400), os.urandom(3 * 1400 * 1400))
    data = encode(noise, "PNG", compress_level=1)
    assert len(data) > 5 * 2**20
    assert workers.inspect(data).data == data


@pytest.mark.parametrize(
    ("order", "reason", "wall_seconds"),
    [
        (bad_worker.SEGFAULT, "ended with SIGSEGV", 30.0),
        (bad_worker.SPIN, "took too long", START_SECONDS),
        (bad_worker.SLEEP, "took too long", START_SECONDS),
        (bad_worker.EAT, "too much memory", 30.0),
        (bad_worker.BABBLE, "ended with SIGKILL", 30.0),
        (bad_worker.QUIT, "ended with status 3", 30.0),
    ],
)
def test_a_worker_that_misbehaves_costs_its_own_picture_only(
    order: bytes, reason: str, wall_seconds: float
) -> None:
    with bad_workers(wall_seconds=wall_seconds, memory_bytes=512 * 2**20) as pool:
        before = worker_pid(pool)
        with pytest.raises(ImageError, match=reason) as caught:
            pool.inspect(order)
        assert caught.value.error_code == "decode_resource"
        assert caught.value.retryable
        assert not is_running(before)
        assert pool.inspect(scene_file("PNG")).width == 320


def test_a_spinning_worker_is_ended_by_the_kernel_before_the_wall_clock() -> None:
    with (
        bad_workers(cpu_seconds=0, wall_seconds=120.0) as pool,
        pytest.raises(ImageError, match="processor time"),  # and not "took too long"
    ):
        pool.inspect(bad_worker.SPIN)


def test_the_processor_time_of_earlier_jobs_is_not_held_against_a_picture() -> None:
    with ImageWorkers(1, WorkerLimits(cpu_seconds=1)) as pool:
        data = encode(Image.effect_noise((2000, 2000), 90).convert("RGB"), "PNG", compress_level=1)
        for _ in range(12):
            assert pool.inspect(data).width == 2000


def test_other_pictures_go_on_while_one_hangs() -> None:
    with bad_workers(2, wall_seconds=START_SECONDS) as pool, ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(pool.inspect, bad_worker.SLEEP)
        for _ in range(5):
            assert pool.inspect(scene_file("JPEG")).width == 320
        assert not hanging.done()
        with pytest.raises(ImageError, match="took too long"):
            hanging.result()


def test_waiting_for_an_idle_worker_is_bounded() -> None:
    with (
        bad_workers(1, wall_seconds=0.7, queue_seconds=0.1) as pool,
        ThreadPoolExecutor(2) as threads,
    ):
        jobs = [threads.submit(pool.inspect, bad_worker.SLEEP) for _ in range(2)]
        failures = [job.exception() for job in jobs]
    assert all("Try again" in str(failure) for failure in failures)
    assert {failure.message for failure in failures if isinstance(failure, ImageError)} == {
        "The picture took too long to decode.",
        "All workers are busy with other pictures.",
    }


def test_a_worker_knows_no_secret_and_holds_nothing_but_its_pipes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAL_KEY", "very-secret")
    secret = tmp_path / "secret"
    secret.write_text("x")
    with secret.open() as held, bad_workers() as pool:
        os.set_inheritable(held.fileno(), True)
        told = json.loads(pool.inspect(bad_worker.TELL).notes[0])
    assert set(told["environment"]) <= {"LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
    outside = [one for one in told["descriptors"] if not one.startswith(("pipe:", "/proc/"))]
    assert set(outside) == {"/dev/null"}
    assert sum(one.startswith("pipe:") for one in told["descriptors"]) == 2


def test_a_worker_is_replaced_after_its_share_of_jobs() -> None:
    with bad_workers(jobs_per_worker=2) as pool:
        pids = [worker_pid(pool) for _ in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]
        assert not is_running(pids[0])


def test_a_worker_that_died_between_jobs_is_replaced_unnoticed() -> None:
    with bad_workers() as pool:
        pid = worker_pid(pool)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert pool.inspect(scene_file("PNG")).width == 320


def test_closing_ends_every_worker_and_the_jobs_under_way() -> None:
    pool = bad_workers(2)
    pids = [worker_pid(pool)]
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(pool.inspect, bad_worker.SLEEP)
        # once one worker hangs, the other one must answer
        pids.append(worker_pid(pool))
        pool.close()
        assert isinstance(hanging.exception(), ImageError)
    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(ImageError, match="closed"):
        pool.inspect(scene_file("PNG"))


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    program = (
        "import os; from scene_pipeline.media.workers import ImageWorkers\n"
        f"pool = ImageWorkers(1, worker_module={BAD_WORKER!r})\n"
        "print(pool.inspect(b'tell').notes[1], flush=True); os._exit(1)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    wait_for_the_end_of(int(run.stdout))


def test_a_hanging_worker_ends_although_its_parent_was_killed() -> None:
    program = (
        "import os, threading, time; from scene_pipeline.media.images import WorkerLimits\n"
        "from scene_pipeline.media.workers import ImageWorkers\n"
        f"pool = ImageWorkers(1, WorkerLimits(wall_seconds=2.0), worker_module={BAD_WORKER!r})\n"
        "print(pool.inspect(b'tell').notes[1], flush=True)\n"
        "threading.Thread(target=pool.inspect, args=(b'sleep',), daemon=True).start()\n"
        "time.sleep(0.2); os._exit(1)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    wait_for_the_end_of(int(run.stdout))


def test_a_worker_imports_no_more_than_decoding_needs() -> None:
    program = "import sys, scene_pipeline.media.worker; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    heavy = {"pydantic", "httpcore", "httpx", "dagster", "pandas", "numpy", "asyncio", "psycopg"}
    assert not heavy & set(run.stdout.decode().split())


def test_a_contact_sheet_is_drawn_in_a_worker(workers: ImageWorkers) -> None:
    cells = [
        SheetCell("scene_1", "generated", "A keeper", scene_file("JPEG"), 1),
        SheetCell("scene_2", "failed", "A storm"),
        SheetCell("scene_3", "kept", "A ship", b"\xff\xd8 damaged", 2),
    ]
    sheet = workers.contact_sheet("Film", "3 scenes", cells)
    with Image.open(io.BytesIO(sheet.png)) as drawn, Image.open(io.BytesIO(sheet.preview)) as small:
        assert (drawn.format, small.format) == ("PNG", "JPEG")
    assert len(sheet.preview) <= 40_000
    with pytest.raises(ValueError, match="5000"):
        workers.contact_sheet("Film", "", cells * 2000)


def test_a_large_picture_is_made_to_fit_and_always_to_the_same_bytes(
    workers: ImageWorkers,
) -> None:
    noise = Image.effect_noise((2600, 1200), 90).convert("RGB")
    large = encode(noise, "PNG")
    assert len(large) > 2**20

    reduced = workers.reduce(large, max_bytes=2**20)

    assert len(reduced) <= 2**20
    with Image.open(io.BytesIO(reduced)) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= 2048
        assert image.width > 2 * image.height
    assert workers.reduce(large, max_bytes=2**20) == reduced


# ---- files of the library


def test_a_file_is_recognised_and_described_in_a_worker(
    workers: ImageWorkers, tmp_path: Path
) -> None:
    film = tmp_path / "picture.png"
    film.write_bytes(media_files.mp4())
    found = workers.inspect_file(film, media="video", allow_svg=False, max_image_bytes=1)
    assert (found.media, found.mime_type, found.extension) == ("video", "video/mp4", "mp4")
    assert (found.data, found.thumbnail, found.width) == (None, None, None)
    assert found.size_bytes == film.stat().st_size
    assert found.sha256 == hashlib.sha256(film.read_bytes()).hexdigest()


def test_a_frame_that_comes_back_as_a_file_says_how_it_was_made(
    workers: ImageWorkers, tmp_path: Path
) -> None:
    facts = {"prompt": "a keeper 霧", "seed": "5", "model": "fal-ai/x", "generation_id": "g-1"}
    frame = workers.inspect(scene_file("PNG"), metadata=facts, embed=True)
    path = tmp_path / "file"
    path.write_bytes(frame.data)
    found = workers.inspect_file(path, media="image", allow_svg=False, max_image_bytes=2**20)
    assert (found.data, found.sha256, found.notes) == (None, frame.sha256, ())
    assert (found.model, found.seed, found.generation_id) == ("fal-ai/x", 5, "g-1")
    assert (found.width, found.height, found.thumbnail) == (320, 180, frame.thumbnail)


def test_a_cleaned_file_comes_back_with_the_digest_of_what_is_to_be_stored(
    workers: ImageWorkers, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(with_foreign_metadata("JPEG"))
    found = workers.inspect_file(path, media="image", allow_svg=False, max_image_bytes=2**20)
    assert found.data is not None
    assert found.sha256 == hashlib.sha256(found.data).hexdigest()
    assert found.size_bytes == len(found.data)
    assert found.notes == ("metadata_stripped",)
    path.write_bytes(found.data)
    again = workers.inspect_file(path, media="image", allow_svg=False, max_image_bytes=2**20)
    assert (again.data, again.sha256) == (None, found.sha256)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "file_not_allowed"),
        (b"<html>", "file_not_allowed"),
        (media_files.SVG, "file_not_allowed"),
        (media_files.pdf(), "kind_mismatch"),
        (media_files.mp4()[:-10], "truncated_file"),
        (scene_file("JPEG")[:2000], "truncated_image"),
        (scene_file("PNG") + bytes(2**20), "too_large"),
        (png_bomb(), "bomb"),
    ],
)
def test_a_refused_file_is_told_as_such_with_what_to_do(
    workers: ImageWorkers, tmp_path: Path, data: bytes, code: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(FileRefusedError) as caught:
        workers.inspect_file(path, media="image", allow_svg=False, max_image_bytes=2**20)
    assert caught.value.error_code == code
    assert caught.value.retryable == code.startswith("truncated")
    assert "scene-pipeline run" not in caught.value.next_action


def test_a_long_animation_is_decoded_within_the_limits_of_a_worker(
    workers: ImageWorkers, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    first, *others = (draw_scene(seed, (640, 360)) for seed in range(60))
    path.write_bytes(encode(first, "WEBP", save_all=True, append_images=others, method=0))
    found = workers.inspect_file(path, media="image", allow_svg=False, max_image_bytes=2**24)
    assert found.is_animated
    assert found.data is None


def test_a_worker_reads_back_what_was_embedded(workers: ImageWorkers) -> None:
    facts = {"prompt": "a keeper 霧", "seed": "5"}
    frame = workers.inspect(scene_file("PNG"), metadata=facts, embed=True)
    read = workers.read_back(frame.data)
    assert read.facts == facts
    assert (read.image_format, read.width, read.height) == ("PNG", 320, 180)
    assert read.sha256 == frame.sha256
    assert workers.read_back(scene_file("WEBP")).facts == {}
    small = workers.derive(frame.data, "thumbnail", embed=True)
    assert workers.read_back(small.data).facts == facts


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (media_files.SVG, "not_allowed"),
        (png_bomb(), "bomb"),
        (scene_file("JPEG")[:2000], "truncated_image"),
        (encode(draw_scene(), "GIF"), "not_allowed"),
        (b"", "not_image"),
    ],
)
def test_a_hostile_file_is_not_read_back(workers: ImageWorkers, data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        workers.read_back(data)
    assert caught.value.error_code == code


def test_derivatives_are_made_in_a_worker_and_always_the_same(workers: ImageWorkers) -> None:
    data = scene_file("PNG")
    forms: tuple[DerivedForm, ...] = ("thumbnail", "webp")
    for form in forms:
        made = workers.derive(data, form)
        assert (made.content_type, made.width, made.height) == ("image/webp", 320, 180)
        assert made == workers.derive(data, form)
    with pytest.raises(ImageError):
        workers.derive(media_files.SVG, "thumbnail")
