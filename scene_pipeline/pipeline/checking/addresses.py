"""Whether an address of ours serves the bytes that were stored: asked as any reader would.

One GET without credentials through the `SafeFetcher`, which may reach the hosts of our own store
and no others: an address comes out of a row, and a row may be anybody's.

Belongs here: asking, and what an answer means. Does not belong here: which addresses are asked, and
the words of a verdict (`verdicts`).
"""

import asyncio
import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal
from urllib.parse import urlsplit

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import FetchError, StorageError
from scene_pipeline.media.fetch import SafeFetcher
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import DOCTOR_PREFIX
from scene_pipeline.settings import Settings
from scene_pipeline.storage.base import ObjectStore, UrlMode

ANSWER_SECONDS: Final = 20.0
"""The longest that one address may take, from the question to the last byte."""
MAX_UNREACHABLE: Final = 3
"""After so many questions to a host that it did not answer it is not asked any more."""

AnswerKind = Literal["serves", "wrong", "unreachable", "nobody"]
"""serves: exactly the stored bytes. wrong: it answers, and not with them. unreachable: no answer
that says anything about the bytes. nobody: our own server does not run, as it need not."""

_NO_ANSWER = frozenset(
    {"connect", "timeout", "deadline", "connection_lost", "short_body", "dns", "proxy_refused"}
)
# What says something about the way there, and nothing about what readers get.
_NOT_TO_BE_ASKED = frozenset(
    {
        "blocked_scheme", "blocked_host", "blocked_port", "blocked_address", "tls",
        "content_encoding", "cannot_write", "http_status_408", "http_status_425", "http_status_429",
    }
)  # fmt: skip
_SAMPLE_KEY = f"{DOCTOR_PREFIX}/address.txt"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address gave."""

    kind: AnswerKind
    words: str
    """One sentence, without any query of the address."""
    is_of_object: bool = True
    """Whether the next address of the same host may do better: False where nobody answers there."""


class AddressReader:
    """Asks addresses of our store; one for a run or sweep, closed at its end.

    Args:
        services: Settings, the store in use, and threads to ask in.
        asking: Bounds how many are asked at once.
    """

    def __init__(self, services: Services, asking: asyncio.Semaphore) -> None:
        self._services = services
        self._asking = asking
        self._own_server = services.settings.public_url
        hosts = frozenset(_own_hosts(services.store))
        self._fetcher = SafeFetcher(
            allowlist=hosts,
            trusted_private_hosts=_reached_directly(services.settings, hosts),
            tls_context=tls_context(services.settings.ssl_cert_file),
            egress_proxy=services.settings.egress_proxy,
        )
        self._unanswered: Counter[str] = Counter()
        self._first: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_UNREACHABLE)
        )

    def close(self) -> None:
        """Release the connections."""
        self._fetcher.close()

    async def ask(self, url: str, sha256: str, size_bytes: int) -> Answer:
        """Ask for an object as anybody would, and compare what comes with what was stored.

        Args:
            url: Of a version's row.
            sha256: Of the stored bytes, lower-case hex.
            size_bytes: Of them; not a byte more is read.
        """
        try:
            host = urlsplit(url).netloc
        except ValueError:
            return Answer("wrong", "its URL is none that can be read.")
        if self._unanswered.get(host) == 0:
            return await self._ask_host(host, url, sha256, size_bytes)
        # A host that may be silent holds no more places than it takes to know: pictures that were
        # paid for are fetched in the others.
        async with self._first[host]:
            return await self._ask_host(host, url, sha256, size_bytes)

    async def _ask_host(self, host: str, url: str, sha256: str, size_bytes: int) -> Answer:
        async with self._asking:
            if self._unanswered[host] >= (1 if self._is_of_local_server(url) else MAX_UNREACHABLE):
                return self._without_answer(url, "it did not answer a moment ago")
            answer = await self._services.call(self._ask, url, sha256, size_bytes)
        self._unanswered[host] = 0 if answer.is_of_object else self._unanswered[host] + 1
        return answer

    def _ask(self, url: str, sha256: str, size_bytes: int) -> Answer:
        try:
            with TemporaryDirectory(prefix="scene-pipeline-check-") as folder:
                found = self._fetcher.download(
                    url,
                    Path(folder) / "object",
                    max_bytes=size_bytes,
                    total_seconds=ANSWER_SECONDS,
                )
        except FetchError as error:
            return self._refusal(url, error, size_bytes)
        except OSError as error:
            return Answer("unreachable", f"it could not be asked ({type(error).__name__}).")
        if found.sha256 != sha256:
            return Answer("wrong", f"its URL serves other bytes ({found.size_bytes:,} of them).")
        return Answer("serves", f"its URL serves the stored {size_bytes:,} bytes.")

    def _refusal(self, url: str, error: FetchError, size_bytes: int) -> Answer:
        code = error.error_code.removeprefix("redirect_")
        if code in _NO_ANSWER:
            return self._without_answer(url, error.message.rstrip("."))
        if code in _NOT_TO_BE_ASKED or code.startswith("http_status_5"):
            # A server's own trouble may be with this one object; that it asks for peace is not.
            is_of_object = code != "http_status_429"
            return Answer(
                "unreachable", f"its URL could not be asked: {error.message}", is_of_object
            )
        if code == "too_large":
            return Answer("wrong", f"its URL serves more than the stored {size_bytes:,} bytes.")
        return Answer("wrong", f"its URL does not serve the picture: {error.message}")

    def _without_answer(self, url: str, reason: str) -> Answer:
        if self._is_of_local_server(url):
            words = "the frame server of this machine does not run."
            return Answer("nobody", words, is_of_object=False)
        return Answer("unreachable", f"its URL gave no answer: {reason}.", is_of_object=False)

    def _is_of_local_server(self, url: str) -> bool:
        """Whether our own server would answer, on this very machine: `run` works without it."""
        is_ours = url.startswith(f"{self._own_server}/")
        return is_ours and _is_loopback(urlsplit(self._own_server).hostname or "")


def is_askable(url: str) -> bool:
    """Whether anybody could ask an address; that of an object in memory, nobody can."""
    return url.startswith(("http://", "https://"))


def _own_hosts(store: ObjectStore) -> Iterator[str]:
    """Where the store's objects are read: at permanent addresses, and where a gateway leads to."""
    permanent = store.url(_SAMPLE_KEY)
    modes: tuple[UrlMode | None, ...] = (None,)
    if permanent != _address(store, "public"):
        modes = (None, "public", "signed")  # a CDN or gateway may lead there
    for mode in modes:
        parts = urlsplit(_address(store, mode) or "")
        if parts.scheme in ("http", "https") and parts.hostname:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            yield f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _address(store: ObjectStore, mode: UrlMode | None) -> str | None:
    try:
        return store.url(_SAMPLE_KEY, mode)
    except StorageError:
        return None


def _reached_directly(settings: Settings, hosts: frozenset[str]) -> frozenset[str]:
    """Hosts that may be in a private network; behind an egress proxy only what is named so."""
    if settings.egress_proxy is None:
        return hosts
    named = frozenset(settings.trusted_private_hosts)
    return frozenset(
        host
        for host in hosts
        if _is_loopback(urlsplit(f"//{host}").hostname or "")
        or named & {host, host.rpartition(":")[0]}
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
