"""A Dagster instance of each test's own on PostgreSQL, and a film to run on it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from scene_pipeline.database.urls import dagster_url
from scene_pipeline.defs.event_batches import BATCH_SIZE_VARIABLE
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.standins.postgres import DatabasePool, PostgresServer

INSTANCE_FILE = Path(__file__).parents[2] / "dagster.yaml"


@pytest.fixture(autouse=True)
def _unset_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run sets this variable for its process; the next test starts without it."""
    monkeypatch.setenv(BATCH_SIZE_VARIABLE, "0")  # so that whatever a run sets is undone
    monkeypatch.delenv(BATCH_SIZE_VARIABLE)


@pytest.fixture(scope="session")
def dagster_template(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with Dagster's tables to copy from: making them takes a second."""
    name = postgres_server.create()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_DATABASE_URL", dagster_url(postgres_server.url(name)))
        with _instance(tmp_path_factory.mktemp("dagster")):
            pass
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def dagster_pool(postgres_server: PostgresServer, dagster_template: str) -> Iterator[DatabasePool]:
    """Databases with Dagster's tables."""
    pool = DatabasePool(postgres_server, dagster_template)
    yield pool
    pool.close()


@pytest.fixture
def instance_url(
    postgres_server: PostgresServer, dagster_pool: DatabasePool, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database for an instance of the test's own; DAGSTER_DATABASE_URL leads to it."""
    name = dagster_pool.take()
    url = postgres_server.url(name)
    monkeypatch.setenv("DAGSTER_DATABASE_URL", dagster_url(url))
    yield url
    dagster_pool.give_back(name)


@pytest.fixture
def instance(instance_url: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A persistent instance, configured by the dagster.yaml that ships."""
    assert instance_url
    home = tmp_path / "dagster"
    home.mkdir()
    with _instance(home) as opened:
        yield opened


@pytest.fixture
def studio(database_url: str, tmp_path: Path) -> Studio:
    """The pipeline with the offline provider and a local store."""
    return Studio(load_settings(home=tmp_path / "home"), database_url)


@pytest.fixture
def runtime(studio: Studio) -> PipelineRuntime:
    """What the assets are handed in place of the resource that reads the environment."""
    return PipelineRuntime(studio.settings, studio.database_url)


def _instance(home: Path) -> dg.DagsterInstance:
    (home / "dagster.yaml").write_bytes(INSTANCE_FILE.read_bytes())
    return dg.DagsterInstance.from_config(str(home))


@pytest.fixture
def daemon(instance: dg.DagsterInstance, runtime: PipelineRuntime) -> Daemon:
    """What Dagster's daemon does with the sensors, step by step."""
    return Daemon(instance, runtime)
