"""How a checked URL's host is reached: one lookup, every answer judged, the judged address dialled.

Belongs here: names to addresses, connections, and the deadline that bounds every socket operation.
Does not belong here: URLs (`media.urls`), requests and answers (`media.fetch`).

A name is looked up once per connection and the socket is opened to the very address that was
checked, so a name that answers differently the second time gains nothing; TLS still verifies the
name, since only the socket's destination is replaced.
"""

import contextlib
import math
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import httpcore

from scene_pipeline.errors import FetchError
from scene_pipeline.media.addresses import is_public_address, is_trustable_address

Resolver = Callable[[str, int], Sequence[str]]
"""Addresses of a name, as text; raises OSError where there is none."""

Reach = Literal["public", "trusted", "any"]
"""Which addresses a host may have: public ones, private ones too, or whatever it says (a proxy)."""

_MAX_ADDRESSES_TRIED = 4
# A lookup that hangs cannot be cancelled, only left behind: this many at most, then lookups fail.
_MAX_LOOKUPS_AT_ONCE = 32
_lookup_slots = threading.BoundedSemaphore(_MAX_LOOKUPS_AT_ONCE)


class Deadline:
    """When a fetch must be over, known to every socket operation made on its behalf.

    Each operation's own timeout is cut to the time left, so headers that drip byte by byte end on
    time too. A watchdog shuts the socket down as well: a TLS tunnel inside a TLS proxy loops over
    many reads within one operation, where no timeout of ours reaches.
    """

    _GRACE_SECONDS = 0.25

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._watchdog = threading.Timer(seconds + self._GRACE_SECONDS, self._shut_down)
        self._watchdog.daemon = True
        self.is_fired = False

    @property
    def seconds_left(self) -> float:
        """Time left; zero or less once it is over."""
        return self._end - self._clock()

    @property
    def is_over(self) -> bool:
        """Whether the time is up or the watchdog has struck."""
        return self.is_fired or self.seconds_left <= 0

    def bound(self, timeout: float | None) -> float:
        """Cut a timeout to the time left.

        Raises:
            httpcore.ReadTimeout: No time is left.
        """
        left = self.seconds_left
        if left <= 0 or self.is_fired:
            raise httpcore.ReadTimeout("the fetch's time is up")
        return left if timeout is None else min(timeout, left)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Hold for every connection that this thread uses inside the block."""
        token = _current_deadline.set(self)
        self._watchdog.start()
        try:
            yield
        finally:
            self._watchdog.cancel()
            _current_deadline.reset(token)
            with self._lock:
                self._socket = None

    @contextlib.contextmanager
    def watching(self, stream: httpcore.NetworkStream) -> Iterator[None]:
        """Let the watchdog shut the stream's socket down while the block runs."""
        with self._lock:
            self._socket = stream.get_extra_info("socket")
        try:
            yield
        finally:
            with self._lock:
                self._socket = None

    def _shut_down(self) -> None:
        with self._lock:
            self.is_fired = True
            if self._socket is not None:
                # past ssl.SSLSocket's own method, which would turn it into a plain socket
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_current_deadline: ContextVar[Deadline | None] = ContextVar("scene_pipeline_deadline", default=None)


def _bound(timeout: float | None) -> float | None:
    deadline = _current_deadline.get()
    return timeout if deadline is None else deadline.bound(timeout)


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose operations end with the fetch they are made for."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def _watched(self) -> contextlib.AbstractContextManager[None]:
        deadline = _current_deadline.get()
        return contextlib.nullcontext() if deadline is None else deadline.watching(self._inner)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self._watched():
            return self._inner.read(max_bytes, _bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with self._watched():
            self._inner.write(buffer, _bound(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        with self._watched():
            return _DeadlineStream(
                self._inner.start_tls(ssl_context, server_hostname, _bound(timeout))
            )

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def resolve_with_system(host: str, port: int) -> Sequence[str]:
    """Ask the operating system for a name's addresses, in the order it prefers them."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))


class GuardedNetwork(httpcore.NetworkBackend):
    """Opens connections to addresses that it has checked, and to no other.

    Args:
        reach: Gives what addresses a (host, port) may have; raises FetchError to refuse it.
        resolver: Looks names up; called in a thread of its own, as lookups cannot be cancelled.
        dns_seconds: How long a lookup may take.
        inner: Opens the sockets.
    """

    def __init__(
        self,
        reach: Callable[[str, int], Reach],
        *,
        resolver: Resolver = resolve_with_system,
        dns_seconds: float = 5.0,
        inner: httpcore.NetworkBackend | None = None,
    ) -> None:
        self._reach = reach
        self._resolver = resolver
        self._dns_seconds = dns_seconds
        self._inner = inner or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            FetchError: `dns`, or `blocked_address`: one bad answer refuses them all.
        """
        reach = self._reach(host, port)
        addresses = self._look_up(host, port)
        if not all(_is_within(reach, address) for address in addresses):
            raise FetchError(
                f"{host} has an address that may not be connected to.",
                code="blocked_address",
                next_action="Name the host in SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS if it is yours.",
            )
        last_error: Exception | None = None
        for address in addresses[:_MAX_ADDRESSES_TRIED]:
            try:
                stream = self._inner.connect_tcp(
                    address, port, _bound(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
            else:
                return _DeadlineStream(stream)
        raise last_error or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Refuse: no URL of ours leads to a file."""
        del path, timeout, socket_options
        raise FetchError("Local sockets are not fetched from.", code="blocked_address")

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        seconds = min(self._dns_seconds, _bound(None) or math.inf)
        if not _lookup_slots.acquire(timeout=seconds):
            raise _dns_error(f"Too many lookups hang; {host} was not looked up.")
        answers: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answers.put(self._resolver(host, port))
            except (OSError, UnicodeError) as error:
                answers.put(error if isinstance(error, OSError) else OSError(str(error)))
            finally:
                _lookup_slots.release()

        threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            raise _dns_error(f"The name {host} was not answered within {seconds:g} s.") from None
        if isinstance(answer, OSError) or not answer:
            raise _dns_error(f"The name {host} has no address.")
        return answer


def _is_within(reach: Reach, address: str) -> bool:
    if reach == "public":
        return is_public_address(address)
    return reach == "any" or is_trustable_address(address)


def _dns_error(message: str) -> FetchError:
    return FetchError(
        message, code="dns", retryable=True, next_action="Check the host's name and this network."
    )
