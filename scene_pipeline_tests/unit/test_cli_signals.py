"""Signals that end commands, and the one that `nohup` wants ignored."""

import signal
from collections.abc import Iterator

import pytest

from scene_pipeline.cli.main import _take_termination_for_ctrl_c
from scene_pipeline.cli.up import _stop_requests


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of this process, as they were."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("hang_ups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_command_ends_it_as_ctrl_c_does(number: signal.Signals) -> None:
    _take_termination_for_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_command_in_the_background_of_a_script_can_be_ended() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells start it there
    _take_termination_for_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_a_hang_up_that_nohup_has_ignored_ends_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _take_termination_for_ctrl_c()
    signal.raise_signal(signal.SIGHUP)
    with _stop_requests() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
