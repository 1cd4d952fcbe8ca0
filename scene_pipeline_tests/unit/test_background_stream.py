"""Taking events from the stream's thread, whatever interrupts whoever waits for them."""

import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from scene_pipeline.pipeline.making.background import BackgroundStream
from scene_pipeline.pipeline.orders import FrameOrder
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.waiting import wait_until


class Silent(BackgroundStream):
    """A stream of which nothing comes."""

    def _run(self) -> None:
        self._is_running.set()
        self._has_ended.wait(10)


def _waits_for_events(thread: int) -> bool:
    return sys._current_frames()[thread].f_code is BackgroundStream.events.__code__


@pytest.fixture
def interrupting() -> Iterator[list[signal.Signals]]:
    """Two signals that interrupt as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGUSR1, signal.SIGUSR2]
    before = [signal.signal(number, interrupt) for number in numbers]
    yield numbers
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_two_interruptions_at_once_are_one(interrupting: list[signal.Signals]) -> None:
    order = FrameOrder(scenes=(), mode="ensure", token="", run_id="")
    stream = Silent(order, load_settings(), "")
    waiting = threading.get_ident()

    def send() -> None:
        wait_until(lambda: _waits_for_events(waiting))
        for number in interrupting:
            signal.pthread_kill(waiting, number)

    sender = threading.Thread(target=send)
    sender.start()
    met: list[BaseException] = []
    try:
        try:
            next(stream.events(10))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is looked at below
            met.append(error)
            sender.join()  # the second one comes here, unless it came with the first
    except KeyboardInterrupt as error:
        met.append(error)
    finally:
        stream._has_ended.set()
        stream.close()
    assert {type(error) for error in met} == {KeyboardInterrupt}
