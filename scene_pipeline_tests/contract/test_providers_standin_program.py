"""The Fal stand-in as a program of its own, used through the same variables as the real thing."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scene_pipeline.drill.standin.meter import read_meter
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.providers.registry import build_provider
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.waiting import wait_until


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    command = [sys.executable, "-m", "scene_pipeline.drill.standin", "--directory"]
    with subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.DEVNULL) as process:
        try:
            yield process, described(tmp_path / "standin.json")
        finally:
            process.kill()


def described(file: Path) -> dict[str, Any]:
    wait_until(file.exists, 20)
    described: dict[str, Any] = json.loads(file.read_text())
    return described


def test_three_variables_lead_a_program_to_it_and_its_meter_can_be_read_from_outside(
    program: tuple[subprocess.Popen[bytes], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, description = program
    for name, value in description["environment"].items():
        monkeypatch.setenv(name, value)
    provider = build_provider("fal", load_settings())
    request = ImageRequest("g", "fal-ai/flux/schnell", "A quiet harbour", 7, 1024, 576)

    submission = provider.submit(request)

    provider.close()
    (paid,) = read_meter(Path(description["meter_file"]))
    assert (paid.request_id, paid.prompt, paid.seed) == (
        submission.request_id,
        "A quiet harbour",
        7,
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_it_lets_nothing_out(
    program: tuple[subprocess.Popen[bytes], dict[str, Any]],
) -> None:
    _, description = program
    with (
        httpx.Client(proxy=description["proxy_url"], trust_env=False) as client,
        pytest.raises(httpx.ProxyError, match="403"),
    ):
        client.get("https://example.com/")
