"""Signals are heard at once, whoever handles them."""

import signal
import threading

import pytest
from dagster._utils.interrupts import capture_interrupts

from scene_pipeline.defs.interruptions import hearing_interruptions


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_dagster_holds_back_is_heard(number: signal.Signals) -> None:
    heard = threading.Event()

    with capture_interrupts(), hearing_interruptions(heard.set):
        signal.raise_signal(number)

        assert heard.wait(10)


def test_other_signals_and_what_comes_afterwards_are_not_heard() -> None:
    heard: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    try:
        with capture_interrupts():
            with hearing_interruptions(lambda: heard.append("inside")):
                signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert heard == []
    assert signal.set_wakeup_fd(-1) == -1


def test_elsewhere_than_in_the_main_thread_nothing_is_changed() -> None:
    ended: list[str] = []

    def work() -> None:
        with hearing_interruptions(lambda: None):
            ended.append("it")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)

    assert ended == ["it"]
