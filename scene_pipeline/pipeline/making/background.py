"""Runs a stream on a loop of its own, in a thread, for callers that are not asynchronous.

An async generator's loop would run only while its caller waits for the next event: writing one
would stop polls and downloads. Here the loop never stops, and the caller takes what is ready.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress

from scene_pipeline.pipeline.making.cancellation import raise_if_cancelled
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, StreamEvent
from scene_pipeline.pipeline.services import open_services
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.telemetry.export import flush, start

QUEUE_SIZE = 1024
_PUT_WAIT_SECONDS = 0.05
_CLOSE_WAIT_SECONDS = 30.0


class BackgroundStream:
    """One order, worked on in the background from the moment this is built.

    Close it when done: that cancels what is under way (nothing at a provider is cancelled: it is
    paid for, and the next run takes it up).

    Args:
        order: What to do.
        settings: Of this process.
        database_url: Of the application's database, migrated.
        store: Where frames go; built from the settings when left out.
    """

    def __init__(
        self,
        order: FrameOrder,
        settings: Settings,
        database_url: str,
        store: ObjectStore | None = None,
    ) -> None:
        self._order = order
        self._settings = settings
        self._database_url = database_url
        self._store = store
        # The simple kind, bounded by its one writer: two signals at once, as a terminal that closes
        # may send, break the lock of the other.
        self._events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._cancel: Callable[[], object] | None = None
        self._is_cancelled = False
        self._is_running = threading.Event()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="frame-stream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel what is under way, without waiting for its end; may be called by any thread."""
        self._is_running.wait()
        if self._cancel is not None and not self._has_ended.is_set():
            with suppress(RuntimeError):  # it has ended in this very instant
                self._cancel()

    def close(self) -> None:
        """Cancel what is under way and wait until connections and workers are closed."""
        self.stop()
        self._thread.join(_CLOSE_WAIT_SECONDS)

    def events(self, timeout_seconds: float) -> Iterator[StreamEvent | None]:
        """Every event until the end, in order.

        Args:
            timeout_seconds: How long to wait for the next one; None is yielded when it passes.

        Raises:
            ScenePipelineError: The stream could not be opened or planned.
        """
        while True:
            has_ended = self._has_ended.is_set()  # asked first: nothing is put after the end
            try:
                yield self._events.get(timeout=0.001 if has_ended else timeout_seconds)
            except queue.Empty:
                if has_ended:
                    break
                yield None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, whole
            self._error = error
        finally:
            self._is_running.set()
            self._has_ended.set()
            flush()  # nobody waits for it but `close`

    async def _main(self) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if task is not None:
            self._cancel = lambda: loop.call_soon_threadsafe(self._cancel_once, task)
        self._is_running.set()
        start(self._settings)
        async with (
            open_services(self._settings, self._database_url, store=self._store) as services,
            aclosing(stream_frames(self._order, services)) as stream,
        ):
            async for event in stream:
                raise_if_cancelled()
                await self._put(event)

    def _cancel_once(self, task: "asyncio.Task[None]") -> None:
        """Cancel, but never what the task does since it was cancelled: closing what it holds."""
        if not self._is_cancelled:
            self._is_cancelled = True
            task.cancel()

    async def _put(self, event: StreamEvent) -> None:
        """Hand an event over; a full queue holds the reader of the stream up, never its loop."""
        while self._events.qsize() >= QUEUE_SIZE:  # noqa: ASYNC110  # its reader is a thread
            await asyncio.sleep(_PUT_WAIT_SECONDS)
        self._events.put(event)
