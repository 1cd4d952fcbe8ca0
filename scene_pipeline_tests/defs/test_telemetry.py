"""What Dagster's processes do about the log and telemetry before they do anything else."""

import logging

import dagster as dg
import pytest

from scene_pipeline.defs.resources import PipelineResource
from scene_pipeline.telemetry.logs import OWN_LOGGER
from scene_pipeline.telemetry.sink import current_sink


def test_a_run_or_tick_sets_up_the_log_and_leaves_telemetry_to_the_stream(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SCENE_PIPELINE_LOG_LEVEL", "info")
    monkeypatch.setenv("SCENE_PIPELINE_TELEMETRY", "true")

    with PipelineResource().yield_for_execution(dg.build_init_resource_context()):
        assert logging.getLogger(OWN_LOGGER).isEnabledFor(logging.INFO)
        assert len(logging.getLogger(OWN_LOGGER).handlers) == 1
        assert current_sink() is None
