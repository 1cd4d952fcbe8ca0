"""Rules that hold for every test: its tier, its environment, and where it may connect.

Belongs here: what is enforced everywhere. Does not belong here: servers, which live in `standins`.
"""

import os
import signal
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from scene_pipeline.settings import Settings
from scene_pipeline.telemetry.logs import tear_down

for walked in ("film_walk", "stage"):
    pytest.register_assert_rewrite(
        f"scene_pipeline_tests.{walked}"
    )  # their checks tell what differs

pytest_plugins = [
    "scene_pipeline_tests.standins.postgres",
    "scene_pipeline_tests.standins.embedded_servers",
]

REQUIRE_ALL = "SCENE_PIPELINE_TEST_REQUIRE_ALL"
"""Set where every part is there, as in continuous integration: nothing may be skipped then."""
TIERS = ("unit", "contract", "integration", "defs", "end_to_end")
SERVERLESS_TIERS = ("unit",)
SERVER_MODULES = "scene_pipeline_tests.standins."
"""Every fixture that is defined there starts a server or a database."""
ROOT = Path(__file__).parent


class ForbiddenConnectionError(RuntimeError):
    """A test reached for the network. No OSError, so that no code under test takes it for one."""


class _Connections:
    """What the running test may connect to."""

    is_loopback_allowed = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is required, a test that skips itself has failed."""
    report = yield
    if os.environ.get(REQUIRE_ALL):
        refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport) -> None:
    """Turn a skip into a failure that keeps its reason."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_ALL} is set, and this test was left out: {reason}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fail the collection when a test sits in the wrong tier."""
    complaints = [complaint for item in items if (complaint := _tier_complaint(item))]
    if complaints:
        raise pytest.UsageError("\n".join(sorted(set(complaints))))


def _tier(item: pytest.Item) -> str:
    path = item.path
    return path.relative_to(ROOT).parts[0] if path.is_relative_to(ROOT) else ""


def _tier_complaint(item: pytest.Item) -> str | None:
    modules: dict[str, str] = {}
    if isinstance(item, pytest.Function):
        for name, definitions in item._fixtureinfo.name2fixturedefs.items():
            modules[name] = definitions[-1].func.__module__
    return tier_complaint(item.nodeid, _tier(item), modules)


def tier_complaint(test: str, tier: str, fixture_modules: Mapping[str, str]) -> str | None:
    """Why a test may not be where it is, or None.

    Args:
        test: Its name.
        tier: The directory it lies in.
        fixture_modules: Where each fixture that it asks for, directly or not, is defined.
    """
    if tier not in TIERS:
        return f"{test} is in no tier: move it to one of {', '.join(TIERS)}."
    if tier in SERVERLESS_TIERS:
        for name, module in fixture_modules.items():
            if module.startswith(SERVER_MODULES):
                return f"{test} asks for the server {name!r}: move it out of {tier}/."
    return None


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer's shell and no .env reaches the program under test."""
    for name, field in Settings.model_fields.items():
        monkeypatch.delenv(str(field.validation_alias or name), raising=False)
    for name in os.environ:
        if name.startswith("PG") or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(autouse=True)
def _bounded_connections(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests open no connection at all."""
    is_allowed = _tier(request.node) not in SERVERLESS_TIERS
    monkeypatch.setattr(_Connections, "is_loopback_allowed", is_allowed)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A program under test that sets up our log in this process leaves it as it was."""
    yield
    tear_down()


@pytest.fixture
def hang_ups() -> Iterator[None]:
    """SIGHUP is as in a terminal, for this process and what it starts, also under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def _refuse_connection(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if not _Connections.is_loopback_allowed:
        raise ForbiddenConnectionError(f"A unit test tried to connect to {address!r}.")
    if isinstance(address, tuple) and not _is_loopback(str(address[0])):
        raise ForbiddenConnectionError(f"A test tried to leave this machine: {address!r}.")


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


# An audit hook cannot be removed or patched away; it sees every connection of Python's own sockets.
sys.addaudithook(_refuse_connection)
