import os
import socket
from typing import Literal

import pytest

from scene_pipeline.settings import load_settings
from scene_pipeline_tests.conftest import (
    ForbiddenConnectionError,
    _is_loopback,
    refuse_skip,
    tier_complaint,
)


def test_a_unit_test_that_asks_for_a_database_fails_the_collection() -> None:
    fixtures = {"database_url": "scene_pipeline_tests.standins.postgres"}
    complaint = tier_complaint("unit/test_x.py::test_y", "unit", fixtures)
    assert complaint is not None
    assert "asks for the server 'database_url'" in complaint


@pytest.mark.parametrize("tier", ["contract", "integration", "defs", "end_to_end"])
def test_other_tiers_may_ask_for_servers(tier: str) -> None:
    assert tier_complaint("x", tier, {"a": "scene_pipeline_tests.standins.postgres"}) is None


def test_a_unit_test_may_have_fixtures_of_its_own() -> None:
    assert tier_complaint("x", "unit", {"a": "scene_pipeline_tests.unit.test_x"}) is None


@pytest.mark.parametrize("tier", ["", "test_stray.py", "standins"])
def test_a_test_outside_the_tiers_fails_the_collection(tier: str) -> None:
    assert "is in no tier" in (tier_complaint("x", tier, {}) or "")


def test_a_unit_test_cannot_connect_even_to_this_machine() -> None:
    with socket.socket() as client, pytest.raises(ForbiddenConnectionError):
        client.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
     ("192.0.2.1", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_only_this_machine_counts_as_loopback(host: str, *, expected: bool) -> None:
    assert _is_loopback(host) is expected


def test_no_variable_of_the_developers_shell_reaches_the_settings() -> None:
    assert not {"DATABASE_URL", "FAL_KEY", "S3_BUCKET", "DAGSTER_HOME"} & set(os.environ)
    assert load_settings().database_url is None


@pytest.mark.parametrize(("outcome", "expected"), [("skipped", "failed"), ("passed", "passed")])
def test_where_everything_is_required_a_skip_is_a_failure(
    outcome: Literal["passed", "skipped"], expected: str
) -> None:
    report = pytest.TestReport(
        "x", ("x", 1, "x"), {}, outcome, ("x", 1, "Skipped: no chromium"), "setup"
    )

    refuse_skip(report)

    assert report.outcome == expected
    assert "no chromium" in str(report.longrepr)
