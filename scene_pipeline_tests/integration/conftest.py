"""A studio on a fresh database, with the offline provider or with Fal's stand-in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider, scripted_provider
from scene_pipeline_tests.standins.seaweedfs import seaweedfs  # noqa: F401  # a fixture


@pytest.fixture
def studio(database_url: str, tmp_path: Path) -> Studio:
    """The pipeline with the offline provider and a local store."""
    return Studio(load_settings(home=tmp_path / "home"), database_url)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """An image service in this process that counts what it is paid, and can be told to fail."""
    with scripted_provider() as running:
        yield running


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[FalStandIn]:
    """Fal, as far as the pipeline can tell."""
    with FalStandIn(tmp_path / "fal", hang_seconds=5.0) as standin:
        yield standin


@pytest.fixture
def fal_studio(database_url: str, tmp_path: Path, fal: FalStandIn) -> Studio:
    """The pipeline with Fal's stand-in, which counts what it is paid for."""
    settings = load_settings(
        home=tmp_path / "home",
        fal_key=fal.key,
        egress_proxy=fal.proxy_url,
        ssl_cert_file=fal.ca_file,
        submit_timeout_seconds=1.0,
        ambiguous_settle_seconds=3.0,
    )
    return Studio(settings, database_url)
