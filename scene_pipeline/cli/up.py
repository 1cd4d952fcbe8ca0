"""`up`: database, frame server and Dagster in the foreground, until Ctrl-C or `down`.

Belongs here: the order of starting, watching and stopping. Does not belong here: single processes
(`cli.children`), looking at them from outside (`cli.readiness`).

Mode of operation: foreground; holds the embedded database for as long as it lives. Exit code 0
after a stop that was asked for, 1 where a part died by itself.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scene_pipeline.api.app import has_work, instance_id
from scene_pipeline.api.server import bind_address, listen, running_instance
from scene_pipeline.cli.children import Child, stop_all
from scene_pipeline.cli.dagster_home import WORKSPACE_FILE, prepare_dagster_home, shipped_file
from scene_pipeline.cli.readiness import (
    HOST,
    check_dagster_port,
    dagster_state,
    dagster_url,
    reload_code_location,
)
from scene_pipeline.cli.session import open_databases
from scene_pipeline.cli.terminal import Terminal, command, plain, shown_path
from scene_pipeline.cli.up_record import RunningUp, claim, write_record
from scene_pipeline.cli.up_words import START_SECONDS, announce, tell_running
from scene_pipeline.database import embedded
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.planning.preview import check_settings
from scene_pipeline.processes import start_ticks
from scene_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.session import DatabaseUrls

POLL_SECONDS = 0.2
WATCH_SECONDS = 0.5
LOCATION_CHECK_SECONDS = 15.0
"""How often it is looked whether the code location still loads."""
DATABASE_STOP_SECONDS = 2.5
"""The embedded database goes a second after its last user; another command may be one."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartDiedError(ScenePipelineError):
    """A part of `up` ended or did not start; everything else is stopped."""

    code = "part_died"


def up(terminal: Terminal) -> int:
    """Start everything and stay; returns the exit code.

    Raises:
        UsageError: A port is taken, the database cannot be used, a setting is wrong.
    """
    settings = load_settings()
    check_settings(settings)
    with claim(settings) as is_ours:
        if not is_ours:
            return tell_running(terminal, settings)
        with _stop_requests() as stop:
            try:
                _serve(terminal, settings, stop)
            except PartDiedError as error:
                terminal.fail(error)
                return 1
    terminal.say("Everything is stopped.", style="dim")
    return 0


def _serve(terminal: Terminal, settings: Settings, stop: threading.Event) -> None:
    frames_url = settings.public_url if has_work(settings) else None
    _check_addresses(settings, has_frames=frames_url is not None)
    _record(settings, frames_url, is_ready=False)
    terminal.say("Starting ...", style="dim")
    children: list[Child] = []
    try:
        with open_databases(settings, terminal) as urls:
            try:
                if not _start(settings, urls, children, stop, has_frames=frames_url is not None):
                    return
                _record(settings, frames_url, is_ready=True)
                announce(terminal, settings, urls.description, frames_url)
                _watch(terminal, settings, urls, children, stop)
            finally:
                terminal.say("Stopping ...", style="dim")
                stop_all(children)
    finally:
        _wait_for_database(settings)


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """An event that the stop signals set, also where a shell had us started with them ignored.

    But for the hang-up, which `nohup` has ignored so that we stay.
    """
    stop = threading.Event()
    previous = {
        number: signal.signal(number, lambda _number, _frame: stop.set())
        for number in STOP_SIGNALS
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_addresses(settings: Settings, *, has_frames: bool) -> None:
    check_dagster_port(settings)
    if has_frames:
        listen(settings, *bind_address(settings)).close()


def _record(settings: Settings, frames_url: str | None, *, is_ready: bool) -> None:
    write_record(
        settings,
        RunningUp(
            pid=os.getpid(),
            started=start_ticks(os.getpid()),
            is_ready=is_ready,
            dagster_url=dagster_url(settings),
            frames_url=frames_url,
        ),
    )


def _start(
    settings: Settings,
    urls: "DatabaseUrls",
    children: list[Child],
    stop: threading.Event,
    *,
    has_frames: bool,
) -> bool:
    """Start every child and wait until all answer; False where a stop was asked for meanwhile."""
    environment = {**os.environ, **prepare_dagster_home(settings, urls.dagster)}
    logs = settings.home_directory / "logs"
    python = [sys.executable, "-m"]
    if has_frames:
        children.append(
            Child(
                "frame server",
                [*python, "scene_pipeline.api.server"],
                environment=environment,
                log=logs / "frames.log",
            )
        )
    if not _prepare_instance(environment, logs / "instance.log", stop):
        return False
    workspace = str(shipped_file(WORKSPACE_FILE))
    port = str(settings.dagster_port)
    children.append(
        Child(
            "dagster",
            [*python, "dagster", "dev", "-w", workspace, "-h", HOST, "-p", port],
            environment=environment,
            log=logs / "dagster.log",
            stop_signal=signal.SIGINT,
        )
    )
    return _is_ready_in_time(settings, children, stop, has_frames=has_frames)


def _prepare_instance(environment: dict[str, str], log: Path, stop: threading.Event) -> bool:
    """Make Dagster's tables and end dead runs, before several processes find the instance.

    Returns:
        False where a stop was asked for meanwhile.
    """
    command_line = [sys.executable, "-m", "scene_pipeline.defs.instance"]
    child = Child("instance", command_line, environment=environment, log=log)
    deadline = time.monotonic() + START_SECONDS
    while child.exit_code is None and time.monotonic() < deadline and not stop.wait(POLL_SECONDS):
        pass
    code = child.exit_code
    child.ask_to_stop()
    child.end(time.monotonic() + 1)
    if code == 0 or stop.is_set():
        return not stop.is_set()
    raise PartDiedError(
        f"Dagster's instance cannot be used: {plain(child.last_words())}.",
        next_action=f"See {shown_path(log)}.",
    )


def _is_ready_in_time(
    settings: Settings, children: list[Child], stop: threading.Event, *, has_frames: bool
) -> bool:
    """Wait until everything answers; False where a stop was asked for meanwhile."""
    deadline = time.monotonic() + START_SECONDS
    address = bind_address(settings)
    has_frames_ready = not has_frames
    while not stop.wait(POLL_SECONDS):
        _check_children(children)
        if not has_frames_ready:
            has_frames_ready = running_instance(*address) == instance_id(settings)
        state = dagster_state(settings)
        if state.load_error is not None:
            raise PartDiedError(
                f"Dagster cannot load the code location: {plain(state.load_error)}.",
                next_action=f"See {shown_path(children[-1].log)}.",
            )
        if has_frames_ready and state.is_ready:
            return True
        if time.monotonic() > deadline:
            raise PartDiedError(
                f"Not everything answered within {START_SECONDS:.0f} s.",
                code="not_ready",
                next_action=f"See {shown_path(children[-1].log.parent)}.",
            )
    return False


def _check_children(children: list[Child]) -> None:
    for child in children:
        if child.exit_code is not None:
            raise PartDiedError(
                f"The {child.name} ended by itself with exit code {child.exit_code}: "
                f"{plain(child.last_words())}.",
                next_action=f"See {shown_path(child.log)}, then run `{command('up')}` again.",
            )


def _watch(
    terminal: Terminal,
    settings: Settings,
    urls: "DatabaseUrls",
    children: list[Child],
    stop: threading.Event,
) -> None:
    """Stay until a stop is asked for; database and code location are started again if they died."""
    look_at = time.monotonic() + LOCATION_CHECK_SECONDS
    with ExitStack() as claims:
        while not stop.wait(WATCH_SECONDS):
            _check_children(children)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOCATION_CHECK_SECONDS
                if dagster_state(settings).load_error is not None:
                    reload_code_location(settings)
            for child in children:
                child.bound_log()
            if settings.uses_embedded_database and not embedded.is_running(settings.home_directory):
                again = claims.enter_context(open_databases(settings, terminal))
                if again.application != urls.application:
                    raise PartDiedError(
                        "The embedded database died and came back at another address.",
                        next_action=f"Run `{command('up')}` again.",
                    )


def _wait_for_database(settings: Settings) -> None:
    """Stay until the embedded database is gone, too, unless another command keeps it."""
    deadline = time.monotonic() + DATABASE_STOP_SECONDS
    while (
        settings.uses_embedded_database
        and embedded.is_running(settings.home_directory)
        and time.monotonic() < deadline
    ):
        time.sleep(POLL_SECONDS)
