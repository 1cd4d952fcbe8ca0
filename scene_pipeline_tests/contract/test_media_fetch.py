"""The guarded fetcher against servers that do their worst; tables U and R of the hostile inputs."""

import datetime as dt
import itertools
import socket
import ssl
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore
import pytest
import trustme

from scene_pipeline.errors import ConfigurationError, FetchError
from scene_pipeline.media.fetch import FetchLimits, SafeFetcher
from scene_pipeline.media.network import Deadline
from scene_pipeline_tests.standins.hostile_http import (
    HostileServer,
    Line,
    Script,
    answer,
    redirect,
)
from scene_pipeline_tests.standins.pictures import scene_file

PICTURE = scene_file("JPEG")
GOOD = answer(PICTURE, Content_Type="image/jpeg")
QUICK = FetchLimits(
    max_bytes=100_000, total_seconds=1.5, dns_seconds=0.3, connect_seconds=1.0, read_seconds=0.3
)
PUBLIC_ADDRESS = "151.101.1.140"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.configure_trust(context)
    return context


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


class RoutedNetwork(httpcore.NetworkBackend):
    """Takes every connection to one loopback port, and remembers where it was meant to go."""

    def __init__(self, port: int, refusing: Iterable[str] = ()) -> None:
        self._port = port
        self._refusing = set(refusing)
        self.dialled: list[tuple[str, int]] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        self.dialled.append((host, port))
        if host in self._refusing:
            raise httpcore.ConnectError("refused")
        return httpcore.SyncBackend().connect_tcp(
            "127.0.0.1", self._port, timeout, local_address, socket_options
        )


class Names:
    """A resolver whose answers are given, one after the other, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


Fetch = Callable[..., SafeFetcher]


@pytest.fixture
def fetcher_of(client_tls: ssl.SSLContext) -> Iterator[Fetch]:
    """Build fetchers that may use the loopback servers named, and close them afterwards."""
    built: list[SafeFetcher] = []

    def build(
        *trusted: HostileServer,
        allowlist: Sequence[str] = ("fal.media", "*.fal.media"),
        limits: FetchLimits = QUICK,
        **options: Any,
    ) -> SafeFetcher:
        hosts = [f"127.0.0.1:{server.port}" for server in trusted]
        fetcher = SafeFetcher(
            [*allowlist, *hosts],
            [*hosts, *options.pop("trusted_private_hosts", ())],
            client_tls,
            limits=limits,
            **options,
        )
        built.append(fetcher)
        return fetcher

    yield build
    for fetcher in built:
        fetcher.close()


def refusal(fetcher: SafeFetcher, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    return caught.value


# ---- good answers


def test_a_picture_arrives_whole_with_what_was_declared(fetcher_of: Fetch) -> None:
    told: list[tuple[int, int | None]] = []
    with HostileServer({"/a?sig=secret": GOOD}) as server:
        fetched = fetcher_of(server).fetch(
            server.url("/a?sig=secret"), on_bytes=lambda *now: told.append(now)
        )
    assert fetched.data == PICTURE
    assert fetched.declared_content_type == "image/jpeg"
    assert fetched.final_url_redacted == server.url("/a?...")
    assert 0 < fetched.seconds < 1.5
    assert told[-1] == (len(PICTURE), len(PICTURE))
    assert told == sorted(told)


def test_the_request_carries_nothing_that_it_should_not(
    fetcher_of: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    cookie = answer(PICTURE, Set_Cookie="session=1; Path=/")
    with HostileServer({"/a": cookie, "/b": GOOD}) as server:
        fetcher = fetcher_of(server)
        fetcher.fetch(server.url("/a"))
        fetcher.fetch(server.url("/b"))
    lines = server.heads[1].decode().split("\r\n")
    assert lines[0] == "GET /b HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines[1:] if line}
    assert names == {"host", "accept", "accept-encoding", "user-agent"}
    assert "Accept-Encoding: identity" in lines
    assert f"Host: 127.0.0.1:{server.port}" in lines


def test_a_body_without_length_and_a_chunked_one_arrive(fetcher_of: Fetch) -> None:
    chunks = b"5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n"
    chunked = answer(chunks, length=None, Transfer_Encoding="chunked")
    with HostileServer({"/c": chunked, "/e": answer(b"abc", length=None)}) as server:
        fetcher = fetcher_of(server)
        assert fetcher.fetch(server.url("/c")).data == b"abcdefgh"
        assert fetcher.fetch(server.url("/e")).data == b"abc"


def test_many_threads_share_one_fetcher(fetcher_of: Fetch) -> None:
    with HostileServer({f"/{n}": answer(b"%d" % n) for n in range(40)}) as server:
        fetcher = fetcher_of(server, limits=FetchLimits())
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda n: fetcher.fetch(server.url(f"/{n}")).data, range(40)))
    assert found == [b"%d" % n for n in range(40)]


def test_a_connection_is_used_again(fetcher_of: Fetch) -> None:
    def twice(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        line.next_head()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")

    with HostileServer({"/x": twice}) as server:
        fetcher = fetcher_of(server)
        assert [fetcher.fetch(server.url("/x")).data for _ in range(2)] == [b"one", b"two"]
    assert server.connection_count == 1


# ---- answers that are none


def cut_chunked(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")


def endless(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        line.send(b"x" * 65536)


def drip_body(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    line.drip(b"x")


def drip_headers(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n")
    line.drip(b"X-Header: y\r\n")


def silent_body(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nabc")
    line.hang()


def reset_in_the_middle(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 25_000)
    time.sleep(0.05)  # lets the half body arrive, so that the reset falls into the second half
    line.reset()


def endless_headers(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        line.send(b"X-%d: %s\r\n" % (number, b"y" * 1000))


BROKEN: tuple[tuple[str, Script, str, bool], ...] = (
    ("gone", answer(status="404 Not Found"), "link_expired", False),
    ("expired", answer(b"<Error/>", "403 Forbidden"), "link_expired", False),
    ("removed", answer(status="410 Gone"), "link_expired", False),
    ("slow down", answer(status="429 Slow", Retry_After="7"), "http_status_429", True),
    ("server error", answer(status="500 Oops"), "http_status_500", True),
    ("busy", answer(status="503 Busy"), "http_status_503", True),
    ("timed out", answer(status="408 Late"), "http_status_408", True),
    ("unauthorised", answer(status="401 Who"), "http_status_401", False),
    ("bad request", answer(status="400 Bad"), "http_status_400", False),
    ("no content", answer(status="204 None"), "http_status_204", False),
    ("partial", answer(b"x", "206 Partial"), "http_status_206", False),
    ("not modified", answer(status="304 Same", length=None), "http_status_304", False),
    ("sign-in page", answer(b"<html>", Content_Type="text/html"), "not_image", False),
    ("json", answer(b"{}", Content_Type="application/json"), "not_image", False),
    ("svg", answer(b"<svg/>", Content_Type="image/svg+xml"), "not_image", False),
    ("too long by its own word", answer(length=100_001), "too_large", False),
    ("endless", endless, "too_large", False),
    ("half a body", answer(b"x" * 500, length=1000), "short_body", True),
    ("cut chunks", cut_chunked, "short_body", True),
    ("reset within the body", reset_in_the_middle, "short_body", True),
    ("compressed", answer(b"\x1f\x8b", Content_Encoding="gzip"), "content_encoding", False),
    ("compressed twice", answer(b"x", Content_Encoding="identity, br"), "content_encoding", False),
    ("dripping body", drip_body, "deadline", True),
    ("dripping headers", drip_headers, "deadline", True),
    ("silence", Line.hang, "timeout", True),
    ("silence within the body", silent_body, "timeout", True),
    ("reset at once", Line.reset, "connection_lost", True),
    ("closed at once", b"", "connection_lost", True),
    ("no http", b"220 mail ready\r\n\r\n", "connection_lost", True),
    ("two lengths", answer(b"abc", Content_length="4"), "connection_lost", True),
    ("endless headers", endless_headers, "connection_lost", True),
)


@pytest.mark.parametrize(
    ("script", "code", "is_retryable"),
    [case[1:] for case in BROKEN],
    ids=[case[0] for case in BROKEN],
)
def test_a_bad_answer_is_the_error_that_it_is(
    fetcher_of: Fetch, script: Script, code: str, is_retryable: bool
) -> None:
    with HostileServer({"/x?token=secret": script}) as server:
        started = time.monotonic()
        error = refusal(fetcher_of(server), server.url("/x?token=secret"))
        assert time.monotonic() - started < QUICK.total_seconds + 1.0
    assert error.error_code == code
    assert error.retryable == is_retryable
    assert "secret" not in error.message + error.next_action


def test_retry_after_is_handed_on(fetcher_of: Fetch) -> None:
    with HostileServer({"/x": answer(status="429 Slow", Retry_After="999")}) as server:
        assert refusal(fetcher_of(server), server.url("/x")).retry_after_seconds == 120.0


def test_a_refused_body_is_not_read(fetcher_of: Fetch) -> None:
    sent: list[int] = []

    def bomb(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        try:
            while sum(sent) < 2**30:
                line.send(b"\0" * 2**20)
                sent.append(2**20)
        finally:
            done.set()

    done = threading.Event()
    with HostileServer({"/x": bomb}) as server:
        tracemalloc.start()
        try:
            refusal(fetcher_of(server), server.url("/x"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert done.wait(5)
    assert peak < 20 * 2**20
    assert sum(sent) < 100 * 2**20


def test_the_limit_is_exact(fetcher_of: Fetch) -> None:
    body = b"x" * QUICK.max_bytes
    whole, over = answer(body, length=None), answer(body + b"x", length=None)
    with HostileServer({"/whole": whole, "/over": over}) as server:
        fetcher = fetcher_of(server)
        assert len(fetcher.fetch(server.url("/whole")).data) == QUICK.max_bytes
        assert refusal(fetcher, server.url("/over")).error_code == "too_large"


def test_nobody_listening_is_worth_another_try(fetcher_of: Fetch) -> None:
    with HostileServer({}) as server:
        fetcher = fetcher_of(server)
    error = refusal(fetcher, server.url("/x"))
    assert (error.error_code, error.retryable) == ("connect", True)


def test_an_error_of_the_progress_display_ends_the_fetch_and_the_fetcher_goes_on(
    fetcher_of: Fetch,
) -> None:
    def broken_display(received: int, total: int | None) -> None:
        raise RuntimeError(received, total)

    with HostileServer({"/x": GOOD}) as server:
        fetcher = fetcher_of(server)
        with pytest.raises(RuntimeError):
            fetcher.fetch(server.url("/x"), on_bytes=broken_display)
        assert fetcher.fetch(server.url("/x")).data == PICTURE


# ---- redirects


@pytest.mark.parametrize("status", ["301 A", "302 B", "303 C", "307 D", "308 E"])
def test_a_redirect_is_followed(fetcher_of: Fetch, status: str) -> None:
    with HostileServer({"/a": redirect("/b?x=1", status), "/b?x=1": GOOD}) as server:
        fetched = fetcher_of(server).fetch(server.url("/a"))
    assert fetched.data == PICTURE
    assert fetched.final_url_redacted == server.url("/b?...")


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("", "redirect_missing_location"),
        ("file:///etc/passwd", "redirect_blocked_scheme"),
        ("http://fal.media/x", "redirect_blocked_scheme"),
        ("//internal.test/x", "redirect_blocked_scheme"),
        ("https://internal.test/x", "redirect_blocked_host"),
        ("https://169.254.169.254/latest", "redirect_blocked_host"),
        ("https://[::1]/x", "redirect_blocked_host"),
        ("https://fal.media:22/x", "redirect_blocked_port"),
        ("http://[bad", "redirect_invalid_url"),
        ("https://user@fal.media/x", "redirect_invalid_url"),
        ("https://fal.media/\tx", "redirect_invalid_url"),
        ("https://fal.media/" + "x" * 3000, "redirect_invalid_url"),
        ("/start", "redirect_loop"),
        ("/start#again", "redirect_loop"),
    ],
)
def test_a_bad_redirect_is_refused_and_only_the_first_host_is_contacted(
    fetcher_of: Fetch, location: str, code: str
) -> None:
    names = Names({"127.0.0.1": [["127.0.0.1"]]})
    with HostileServer({"/start": redirect(location)}) as server:
        error = refusal(fetcher_of(server, resolver=names), server.url("/start"))
    assert error.error_code == code
    assert not error.retryable
    assert set(names.asked) == {"127.0.0.1"}
    assert len(server.heads) == 1


def test_a_redirect_to_a_name_with_a_private_address_is_refused(fetcher_of: Fetch) -> None:
    names = Names({"127.0.0.1": [["127.0.0.1"]], "v3.fal.media": [["10.0.0.5"]]})
    with HostileServer({"/start": redirect("https://v3.fal.media/x")}) as server:
        error = refusal(fetcher_of(server, resolver=names), server.url("/start"))
    assert error.error_code == "redirect_blocked_address"


def test_three_redirects_are_followed_and_four_are_not(fetcher_of: Fetch) -> None:
    hops: dict[str, Script] = {f"/{n}": redirect(f"/{n + 1}") for n in range(4)}
    with HostileServer({**hops, "/4": GOOD}) as server:
        fetcher = fetcher_of(server)
        assert fetcher.fetch(server.url("/1")).data == PICTURE
        assert refusal(fetcher, server.url("/0")).error_code == "redirect_too_many"
    assert [head.split()[1] for head in server.heads].count(b"/4") == 1


def test_the_deadline_holds_for_all_hops_together(fetcher_of: Fetch) -> None:
    def slowly(line: Line) -> None:
        time.sleep(0.2)
        line.send(redirect("/b"))

    limits = FetchLimits(total_seconds=0.3)
    with HostileServer({"/a": slowly, "/b": Line.hang}) as server:
        started = time.monotonic()
        error = refusal(fetcher_of(server, limits=limits), server.url("/a"))
        assert time.monotonic() - started < 1.0
    assert error.error_code == "deadline"


# ---- names and addresses


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"], ["100.100.100.200"], ["fd00:ec2::254"], ["168.63.129.16"],
        ["127.0.0.1"], ["10.0.0.5"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"], ["fe80::1%lo"], ["0.0.0.0"], ["224.0.0.1"],  # noqa: S104
        [PUBLIC_ADDRESS, "127.0.0.1"], ["127.0.0.1", PUBLIC_ADDRESS],
    ],
)  # fmt: skip
def test_one_bad_address_refuses_the_host_and_nothing_is_dialled(
    fetcher_of: Fetch, addresses: list[str]
) -> None:
    with HostileServer({"/x": GOOD}) as server:
        network = RoutedNetwork(server.port)
        fetcher = fetcher_of(resolver=Names({"v3.fal.media": [addresses]}), network=network)
        error = refusal(fetcher, "https://v3.fal.media/x")
    assert (error.error_code, error.retryable) == ("blocked_address", False)
    assert network.dialled == []
    assert server.connection_count == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200", "fe80::1"])
def test_even_a_trusted_name_does_not_lead_to_a_metadata_service(
    fetcher_of: Fetch, address: str
) -> None:
    network = RoutedNetwork(9)
    fetcher = fetcher_of(
        allowlist=["minio.test"],
        trusted_private_hosts=["minio.test"],
        resolver=Names({"minio.test": [[address]]}),
        network=network,
    )
    assert refusal(fetcher, "http://minio.test/x").error_code == "blocked_address"
    assert network.dialled == []


def test_a_name_that_answers_differently_the_second_time_gains_nothing(
    fetcher_of: Fetch, authority: trustme.CA
) -> None:
    names = Names({"v3.fal.media": [[PUBLIC_ADDRESS], ["127.0.0.1"]]})
    tls = server_tls(authority.issue_cert("v3.fal.media"))
    with HostileServer({"/x": GOOD}, tls=tls) as server:
        network = RoutedNetwork(server.port)
        fetcher = fetcher_of(resolver=names, network=network)
        assert fetcher.fetch("https://v3.fal.media/x").data == PICTURE
        # the address that was checked was dialled, after one lookup
        assert network.dialled == [(PUBLIC_ADDRESS, 443)]
        assert names.asked == ["v3.fal.media"]
        error = refusal(fetcher, "https://v3.fal.media/x")
    assert error.error_code == "blocked_address"
    assert server.connection_count == 1


def test_the_next_address_is_tried_where_one_does_not_answer(
    fetcher_of: Fetch, authority: trustme.CA
) -> None:
    dead = ["8.8.4.4", "8.8.8.8"]
    tls = server_tls(authority.issue_cert("fal.media"))
    with HostileServer({"/x": GOOD}, tls=tls) as server:
        network = RoutedNetwork(server.port, refusing=dead)
        names = Names({"fal.media": [[*dead, PUBLIC_ADDRESS]]})
        fetched = fetcher_of(resolver=names, network=network).fetch("https://fal.media/x")
    assert fetched.data == PICTURE
    assert [address for address, _ in network.dialled] == [*dead, PUBLIC_ADDRESS]


def test_an_unknown_name_is_worth_another_try(fetcher_of: Fetch) -> None:
    error = refusal(fetcher_of(resolver=Names({})), "https://fal.media/x")
    assert (error.error_code, error.retryable) == ("dns", True)


def test_a_name_server_that_hangs_is_not_waited_for(fetcher_of: Fetch) -> None:
    released = threading.Event()

    def hang(_host: str, _port: int) -> Sequence[str]:
        released.wait(10)
        return ()

    started = time.monotonic()
    error = refusal(fetcher_of(resolver=hang), "https://fal.media/x")
    elapsed = time.monotonic() - started
    released.set()
    assert (error.error_code, error.retryable) == ("dns", True)
    assert elapsed < 1.0


# ---- TLS


def test_the_server_is_told_the_name_and_must_prove_it(
    fetcher_of: Fetch, authority: trustme.CA
) -> None:
    told: list[str | None] = []
    tls = server_tls(authority.issue_cert("v3.fal.media"))
    tls.sni_callback = lambda _socket, name, _context: told.append(name)
    with HostileServer({"/x": GOOD}, tls=tls) as server:
        names = Names({"v3.fal.media": [[PUBLIC_ADDRESS]]})
        fetcher_of(resolver=names, network=RoutedNetwork(server.port)).fetch(
            "https://V3.fal.media/x"
        )
    assert told == ["v3.fal.media"]
    assert b"\r\nHost: v3.fal.media\r\n" in server.heads[0]


def expired(authority: trustme.CA) -> ssl.SSLContext:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return server_tls(authority.issue_cert("v3.fal.media", not_after=past))


def wrong_name(authority: trustme.CA) -> ssl.SSLContext:
    return server_tls(authority.issue_cert("fal.media", "*.v3.fal.media"))


def unknown_authority(authority: trustme.CA) -> ssl.SSLContext:
    del authority
    return server_tls(trustme.CA().issue_cert("v3.fal.media"))


def outdated_protocol(authority: trustme.CA) -> ssl.SSLContext:
    context = server_tls(authority.issue_cert("v3.fal.media"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    "make",
    [expired, wrong_name, unknown_authority, outdated_protocol],
    ids=lambda make: make.__name__,
)
def test_a_server_that_cannot_prove_itself_is_refused_for_good(
    fetcher_of: Fetch, authority: trustme.CA, make: Callable[[trustme.CA], ssl.SSLContext]
) -> None:
    names = Names({"v3.fal.media": [[PUBLIC_ADDRESS]]})
    with HostileServer({"/x": GOOD}, tls=make(authority)) as server:
        fetcher = fetcher_of(resolver=names, network=RoutedNetwork(server.port))
        error = refusal(fetcher, "https://v3.fal.media/x")
    assert (error.error_code, error.retryable) == ("tls", False)
    assert server.heads == []


def test_a_connection_that_breaks_during_the_handshake_is_worth_another_try(
    fetcher_of: Fetch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        network = RoutedNetwork(listener.getsockname()[1])
        names = Names({"fal.media": [[PUBLIC_ADDRESS]]})
        error = refusal(fetcher_of(resolver=names, network=network), "https://fal.media/x")
    assert (error.error_code, error.retryable) == ("connect", True)


# ---- the egress proxy


@pytest.fixture
def proxy(authority: trustme.CA) -> Iterator[HostileServer]:
    tunnels = server_tls(authority.issue_cert("v3.fal.media", "fal.media"))
    scripts: dict[str, Script] = {
        "/x": GOOD,
        "/away": redirect("https://internal.test/x"),
        "/drip": drip_headers,
        "fal.media:443": answer(status="403 Forbidden by policy"),
    }
    with HostileServer(scripts, tunnels=tunnels) as server:
        yield server


def test_everything_goes_through_the_proxy_which_answers_for_addresses(
    fetcher_of: Fetch, proxy: HostileServer
) -> None:
    names = Names({"127.0.0.1": [["127.0.0.1"]]})
    address = f"http://me:p%40ss@127.0.0.1:{proxy.port}"
    fetched = fetcher_of(egress_proxy=address, resolver=names).fetch("https://v3.fal.media/x")
    assert fetched.data == PICTURE
    assert names.asked == ["127.0.0.1"]
    connect, request = proxy.heads
    assert connect.startswith(b"CONNECT v3.fal.media:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==" in connect
    assert b"authorization" not in request.lower()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://internal.test/x", "blocked_host"),
        ("https://10.0.0.1/x", "blocked_host"),
        ("http://v3.fal.media/x", "blocked_scheme"),
        ("https://v3.fal.media:8443/x", "blocked_port"),
    ],
)
def test_the_rules_hold_before_the_proxy_is_asked(
    fetcher_of: Fetch, proxy: HostileServer, url: str, code: str
) -> None:
    fetcher = fetcher_of(egress_proxy=f"http://127.0.0.1:{proxy.port}")
    assert refusal(fetcher, url).error_code == code
    assert proxy.connection_count == 0


def test_redirects_and_deadlines_hold_behind_the_proxy(
    fetcher_of: Fetch, proxy: HostileServer
) -> None:
    fetcher = fetcher_of(egress_proxy=f"http://127.0.0.1:{proxy.port}")
    assert refusal(fetcher, "https://v3.fal.media/away").error_code == "redirect_blocked_host"
    assert refusal(fetcher, "https://v3.fal.media/drip").error_code == "deadline"


def test_what_the_proxy_refuses_is_told_as_such(fetcher_of: Fetch, proxy: HostileServer) -> None:
    fetcher = fetcher_of(egress_proxy=f"http://127.0.0.1:{proxy.port}")
    error = refusal(fetcher, "https://fal.media/x")
    assert (error.error_code, error.retryable) == ("proxy_refused", False)
    assert "403" in error.message


def test_trusted_private_hosts_are_reached_without_the_proxy(
    fetcher_of: Fetch, proxy: HostileServer
) -> None:
    with HostileServer({"/x": GOOD}) as server:
        fetcher = fetcher_of(server, egress_proxy=f"http://127.0.0.1:{proxy.port}")
        assert fetcher.fetch(server.url("/x")).data == PICTURE
    assert proxy.connection_count == 0


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8080", "http://127.0.0.1", "socks5://127.0.0.1:1", "http://:pass-word@"]
)
def test_a_malformed_proxy_is_refused_without_repeating_it(
    client_tls: ssl.SSLContext, address: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SafeFetcher([], [], client_tls, egress_proxy=address)
    assert "pass-word" not in caught.value.message + caught.value.next_action


# ---- the watchdog


def test_the_watchdog_ends_a_read_that_no_timeout_bounds() -> None:
    class Endless(httpcore.NetworkStream):
        """Loops within one read, as TLS within TLS does while bytes drip."""

        def __init__(self, inner: socket.socket) -> None:
            self._inner = inner

        def get_extra_info(self, info: str) -> Any:
            return self._inner if info == "socket" else None

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        deadline = Deadline(0.05)
        stream = Endless(ours)
        started = time.monotonic()
        with deadline.active(), deadline.watching(stream):
            received = ours.recv(1)
        assert received == b""
        assert deadline.is_over
        assert time.monotonic() - started < 2


def test_every_timeout_is_cut_to_the_time_that_is_left() -> None:
    now = [100.0]
    deadline = Deadline(60.0, lambda: now[0])
    assert deadline.bound(15.0) == 15.0
    now[0] = 155.0
    assert deadline.bound(15.0) == deadline.bound(None) == 5.0
    now[0] = 160.0
    assert deadline.is_over
    with pytest.raises(httpcore.ReadTimeout):
        deadline.bound(15.0)
