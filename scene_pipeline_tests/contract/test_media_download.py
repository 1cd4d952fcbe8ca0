"""Large files into new files, and questions about files, against servers that do their worst."""

import hashlib
import ssl
import stat
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore
import pytest

from scene_pipeline.errors import FetchError
from scene_pipeline.media.bodies import write_whole
from scene_pipeline.media.fetch import FetchLimits, Probe, SafeFetcher
from scene_pipeline_tests.standins.hostile_http import HostileServer, Line, Script, answer, redirect

FILM = bytes(range(256)) * 400
GOOD = answer(FILM, Content_Type="video/mp4; codecs=avc1")
MAX_BYTES = 200_000
TOTAL_SECONDS = 1.5
LIMITS = FetchLimits(max_bytes=10, dns_seconds=0.3, read_seconds=0.3, probe_seconds=0.5)

FetcherOf = Callable[[HostileServer], SafeFetcher]


@pytest.fixture
def fetcher_of() -> Iterator[FetcherOf]:
    built: list[SafeFetcher] = []

    def build(server: HostileServer) -> SafeFetcher:
        hosts = [f"127.0.0.1:{server.port}"]
        fetcher = SafeFetcher(
            [*hosts, "fal.media"], hosts, ssl.create_default_context(), limits=LIMITS
        )
        built.append(fetcher)
        return fetcher

    yield build
    for fetcher in built:
        fetcher.close()


def download_error(
    fetcher: SafeFetcher, url: str, target: Path, *, accept: str = "*/*"
) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetcher.download(
            url, target, max_bytes=MAX_BYTES, total_seconds=TOTAL_SECONDS, accept=accept
        )
    assert not target.exists()
    return caught.value


# ---- downloads


def test_a_file_arrives_whole_under_its_own_bounds(fetcher_of: FetcherOf, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "film"
    with HostileServer({"/a": redirect("/b?sig=secret"), "/b?sig=secret": GOOD}) as server:
        found = fetcher_of(server).download(
            server.url("/a"),
            target,
            max_bytes=len(FILM),
            total_seconds=TOTAL_SECONDS,
            accept="video/*",
            on_bytes=lambda *now: told.append(now),
        )
        assert found.final_url_redacted == server.url("/b?...")
    assert target.read_bytes() == FILM
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert found.declared_type == "video/mp4"
    assert found.size_bytes == len(FILM)
    assert found.sha256 == hashlib.sha256(FILM).hexdigest()
    assert told == sorted(told)
    assert told[-1] == (len(FILM), len(FILM))
    assert b"\r\nAccept: video/*\r\n" in server.heads[0]


def test_a_body_without_length_arrives(fetcher_of: FetcherOf, tmp_path: Path) -> None:
    with HostileServer({"/x": answer(FILM, length=None)}) as server:
        found = fetcher_of(server).download(
            server.url("/x"), tmp_path / "x", max_bytes=MAX_BYTES, total_seconds=TOTAL_SECONDS
        )
    assert (found.size_bytes, found.declared_type) == (len(FILM), None)


def endless(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        line.send(b"x" * 65536)


def drip_body(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    line.drip(b"x")


def silent_body(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nabc")
    line.hang()


def cut_chunked(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")


BROKEN: tuple[tuple[str, Script, str, bool], ...] = (
    ("gone", answer(status="404 Not Found"), "link_expired", False),
    ("busy", answer(status="503 Busy"), "http_status_503", True),
    ("partial", answer(b"x", "206 Partial"), "http_status_206", False),
    ("too long by its own word", answer(length=MAX_BYTES + 1), "too_large", False),
    ("endless", endless, "too_large", False),
    ("half a body", answer(b"x" * 500, length=1000), "short_body", True),
    ("cut chunks", cut_chunked, "short_body", True),
    ("compressed", answer(b"\x1f\x8b", Content_Encoding="gzip"), "content_encoding", False),
    ("dripping body", drip_body, "deadline", True),
    ("silence", Line.hang, "timeout", True),
    ("silence within the body", silent_body, "timeout", True),
    ("reset at once", Line.reset, "connection_lost", True),
    ("to a file", redirect("file:///etc/passwd"), "redirect_blocked_scheme", False),
    ("to a private host", redirect("https://10.0.0.1/"), "redirect_blocked_host", False),
    ("to another port", redirect("https://fal.media:22/"), "redirect_blocked_port", False),
)


@pytest.mark.parametrize(
    ("script", "code", "is_retryable"),
    [case[1:] for case in BROKEN],
    ids=[case[0] for case in BROKEN],
)
def test_after_any_error_there_is_no_file(
    fetcher_of: FetcherOf, tmp_path: Path, script: Script, code: str, is_retryable: bool
) -> None:
    with HostileServer({"/x?token=secret": script}) as server:
        started = time.monotonic()
        error = download_error(fetcher_of(server), server.url("/x?token=secret"), tmp_path / "x")
        assert time.monotonic() - started < TOTAL_SECONDS + 1
    assert (error.error_code, error.retryable) == (code, is_retryable)
    assert "secret" not in error.message + error.next_action
    assert "picture" not in error.message


@pytest.mark.parametrize(
    "url", ["http://fal.media/x", "https://other.test/x", "file:///etc/passwd"]
)
def test_an_address_that_is_not_allowed_leaves_no_file(
    fetcher_of: FetcherOf, tmp_path: Path, url: str
) -> None:
    with HostileServer({}) as server:
        error = download_error(fetcher_of(server), url, tmp_path / "x")
        assert error.error_code.startswith("blocked_")
    assert not server.heads


@pytest.mark.parametrize(
    ("declared", "accept", "is_read"),
    [
        ("text/html", "*/*", True),
        ("text/html", "video/*", False),
        ("application/json", "video/mp4, image/*;q=0.5", False),
        ("image/jpg", "image/jpeg", True),
        ("image/PNG", "video/mp4, image/*;q=0.5", True),
        ("application/octet-stream", "video/mp4", True),
        ("videos/mp4", "video/*", False),
    ],
)
def test_a_declared_type_is_judged_by_what_the_caller_accepts(
    fetcher_of: FetcherOf, tmp_path: Path, declared: str, accept: str, is_read: bool
) -> None:
    with HostileServer({"/x": answer(FILM, Content_Type=declared)}) as server:
        if is_read:
            fetcher_of(server).download(
                server.url("/x"),
                tmp_path / "x",
                max_bytes=MAX_BYTES,
                total_seconds=TOTAL_SECONDS,
                accept=accept,
            )
            return
        error = download_error(fetcher_of(server), server.url("/x"), tmp_path / "x", accept=accept)
    assert (error.error_code, error.retryable) == ("type_not_accepted", False)


def test_a_file_that_is_there_already_stays_as_it_is(fetcher_of: FetcherOf, tmp_path: Path) -> None:
    target = tmp_path / "x"
    (tmp_path / "mine").write_bytes(b"mine")
    target.symlink_to(tmp_path / "mine")
    with HostileServer({"/x": GOOD}) as server, pytest.raises(FileExistsError):
        fetcher_of(server).download(
            server.url("/x"), target, max_bytes=MAX_BYTES, total_seconds=TOTAL_SECONDS
        )
    assert target.read_bytes() == b"mine"
    assert not server.heads


def test_an_error_of_the_progress_display_leaves_no_file(
    fetcher_of: FetcherOf, tmp_path: Path
) -> None:
    def broken_display(received: int, total: int | None) -> None:
        raise RuntimeError(received, total)

    with HostileServer({"/x": GOOD}) as server, pytest.raises(RuntimeError):
        fetcher_of(server).download(
            server.url("/x"),
            tmp_path / "x",
            max_bytes=MAX_BYTES,
            total_seconds=TOTAL_SECONDS,
            on_bytes=broken_display,
        )
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_no_more_is_worth_another_try() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    with full.open("wb", buffering=0) as file, pytest.raises(FetchError) as caught:
        write_whole(file, b"x")
    assert (caught.value.error_code, caught.value.retryable) == ("cannot_write", True)


def test_a_large_file_does_not_pass_through_memory(fetcher_of: FetcherOf, tmp_path: Path) -> None:
    size = 64 * 2**20

    def large(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = bytes(2**20)
        for _ in range(size // len(block)):
            line.send(block)

    with HostileServer({"/x": large}) as server:
        tracemalloc.start()
        try:
            found = fetcher_of(server).download(
                server.url("/x"), tmp_path / "x", max_bytes=size, total_seconds=30
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert found.size_bytes == (tmp_path / "x").stat().st_size == size
    assert peak < 8 * 2**20


# ---- questions


def test_a_question_tells_what_the_server_declares(fetcher_of: FetcherOf) -> None:
    told = answer(
        length=12345,
        Content_Type="image/PNG; x=y",
        ETag='"v1"',
        Last_Modified="Fri, 01 May 2026 12:00:00 GMT",
    )
    with HostileServer({"HEAD /a": redirect("/b"), "HEAD /b": told}) as server:
        found = fetcher_of(server).probe(server.url("/a"))
    assert found == Probe(200, "image/png", 12345, '"v1"', "Fri, 01 May 2026 12:00:00 GMT")
    assert [head.split()[0] for head in server.heads] == [b"HEAD", b"HEAD"]


def test_what_is_not_declared_or_absurd_is_not_known(fetcher_of: FetcherOf) -> None:
    silent = answer(length=None)
    absurd = answer(length=None, ETag="x" * 5000, Last_Modified="y" * 300)
    with HostileServer({"/a": silent, "/b": absurd}) as server:
        fetcher = fetcher_of(server)
        assert fetcher.probe(server.url("/a")) == Probe(200)
        assert fetcher.probe(server.url("/b")) == Probe(200)


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_that_refuses_questions_is_no_error(fetcher_of: FetcherOf, status: int) -> None:
    refused = answer(b"", f"{status} No", Content_Type="text/html", ETag="of the error page")
    with HostileServer({"/x": refused}) as server:
        assert fetcher_of(server).probe(server.url("/x")) == Probe(status)


@pytest.mark.parametrize(
    ("script", "code", "is_retryable"),
    [
        (answer(status="404 Not Found"), "link_expired", False),
        (answer(status="500 Oops"), "http_status_500", True),
        (Line.hang, "timeout", True),
        (b"", "connection_lost", True),
        (redirect("https://10.0.0.1/"), "redirect_blocked_host", False),
        (redirect("/x"), "redirect_loop", False),
    ],
)
def test_a_question_without_an_answer_is_the_error_that_it_is(
    fetcher_of: FetcherOf, script: Script, code: str, is_retryable: bool
) -> None:
    with HostileServer({"/x": script}) as server, pytest.raises(FetchError) as caught:
        fetcher_of(server).probe(server.url("/x"))
    assert (caught.value.error_code, caught.value.retryable) == (code, is_retryable)


def test_a_question_is_short(fetcher_of: FetcherOf) -> None:
    def drip(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\n")
        line.drip(b"X-Header: y\r\n")

    with HostileServer({"/x": drip}) as server:
        started = time.monotonic()
        with pytest.raises(FetchError) as caught:
            fetcher_of(server).probe(server.url("/x"))
    assert time.monotonic() - started < LIMITS.probe_seconds + 1
    assert caught.value.error_code == "deadline"


class TimelessNetwork(httpcore.SyncBackend):
    """Connects to where nothing bounds a read: what a tunnel inside a TLS proxy comes to."""

    def connect_tcp(self, *place: Any, **options: Any) -> httpcore.NetworkStream:
        stream = super().connect_tcp(*place, **options)
        bounded_read = stream.read
        stream.read = lambda max_bytes, timeout=None: bounded_read(max_bytes)  # type: ignore[method-assign]  # noqa: ARG005  # one stream, without its bound
        return stream


def test_a_body_that_the_watchdog_ended_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """A body without a length ends where its socket does, whoever ended it."""

    def half(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        line.hang()

    with HostileServer({"/x": half}) as server:
        hosts = [f"127.0.0.1:{server.port}"]
        tls = ssl.create_default_context()
        with SafeFetcher(hosts, hosts, tls, network=TimelessNetwork()) as fetcher:
            target = tmp_path / "x"
            with pytest.raises(FetchError) as caught:
                fetcher.download(server.url("/x"), target, max_bytes=99, total_seconds=0.3)
    assert caught.value.error_code == "deadline"
    assert not target.exists()
