"""Every image provider with its own stand-in on the other side, for the suites over all of them."""

import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.providers.base import ImageProvider, ImageRequest, Progress, Submission
from scene_pipeline.providers.fal import FalProvider
from scene_pipeline.providers.offline import OfflineProvider
from scene_pipeline.providers.pollinations import PollinationsProvider
from scene_pipeline.providers.replicate import ReplicateProvider
from scene_pipeline_tests.standins.loopback_service import LoopbackService
from scene_pipeline_tests.standins.pollinations_service import LOST_ANSWERS, PollinationsService
from scene_pipeline_tests.standins.replicate_service import ReplicateService

SDXL = f"stability-ai/sdxl:{'7762fd07cf82c948538e41f63f77d685' * 2}"

ANSWER_SECONDS = 2.5
"""Until an answer counts as lost: far more than one takes on a busy machine, and what a silence
costs each test of one."""


@dataclass(frozen=True, slots=True)
class Rig:
    """A provider under test, how to make it anew, and how to get at a URL's bytes."""

    restarted: Callable[[], ImageProvider]
    provider: ImageProvider
    endpoint: str
    """A model that takes any size."""
    max_images: int
    downloads: Callable[[str], bytes]
    reference_limits: dict[str, int] = field(default_factory=dict)
    """How many pictures models take to go by."""
    formats: tuple[str, ...] = ("PNG", "JPEG")
    """What it may give where PNG and where JPEG was asked for."""
    tells_what_happened: bool = True
    """Whether a request whose answer was lost can be looked up."""


@dataclass(frozen=True, slots=True)
class PaidRig(Rig):
    """One that costs something, and what its service can be told to do."""

    service: FalStandIn | LoopbackService = field(kw_only=True)
    secret: str = field(kw_only=True)
    own_hosts: frozenset[str] = field(kw_only=True)
    """Whom the key may be sent to."""
    lost_answers: tuple[str, ...] = field(kw_only=True)
    refusals: dict[str, str] = field(kw_only=True)
    """Faults that refuse a request, and the error's code."""
    rate_limit: str = field(kw_only=True)
    connected: Callable[[ssl.SSLContext, str], ImageProvider] = field(kw_only=True)
    """The provider with other roots of trust and another proxy."""


def open_rig(kind: str, opened: ExitStack, directory: Path) -> Rig:
    """Start a provider's stand-in, and the provider."""
    return _OPENERS[kind](opened, directory)


def open_paid_rig(kind: str, opened: ExitStack, directory: Path) -> PaidRig:
    """The same for one that costs something."""
    rig = open_rig(kind, opened, directory)
    assert isinstance(rig, PaidRig)
    return rig


def completed(provider: ImageProvider, request: ImageRequest, submission: Submission) -> Progress:
    """Poll until the request is done."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        progress = provider.poll(request, submission)
        if progress.state == "completed":
            return progress
        time.sleep(0.01)
    pytest.fail("the request was not completed in 5 s")


def _offline(_opened: ExitStack, _directory: Path) -> Rig:
    return Rig(
        restarted=OfflineProvider,
        provider=OfflineProvider(),
        endpoint="offline/landscape",
        max_images=8,
        downloads=lambda url: pytest.fail(f"a URL: {url}"),
        reference_limits={"offline/landscape": 3},
    )


def _fal(opened: ExitStack, directory: Path) -> Rig:
    service = opened.enter_context(FalStandIn(directory, hang_seconds=5.0))

    def connected(context: ssl.SSLContext, proxy: str) -> ImageProvider:
        return _closed_by(
            opened, FalProvider(service.key, context, proxy, submit_timeout_seconds=ANSWER_SECONDS)
        )

    def restarted() -> ImageProvider:
        return connected(service.tls_context(), service.proxy_url)

    return PaidRig(
        restarted=restarted,
        provider=restarted(),
        endpoint="fal-ai/flux/schnell",
        max_images=4,
        downloads=_download(service),
        reference_limits={"fal-ai/flux/schnell": 0, "fal-ai/flux-pro/kontext": 1},
        service=service,
        secret=service.key,
        own_hosts=frozenset({"queue.fal.run", "api.fal.ai"}),
        lost_answers=("drop_after_accept", "hang_after_accept", "not_json", "status_500"),
        refusals={
            "invalid_input": "request_invalid",
            "unauthorized": "key_rejected",
            "payment_required": "balance_exhausted",
            "content_policy_at_submit": "content_rejected",
            "model_missing": "model_unknown",
        },
        rate_limit="rate_limited",
        connected=connected,
    )


def _replicate(opened: ExitStack, directory: Path) -> Rig:
    service = opened.enter_context(ReplicateService(directory))

    def connected(context: ssl.SSLContext, proxy: str) -> ImageProvider:
        return _closed_by(
            opened,
            ReplicateProvider(service.token, context, proxy, submit_timeout_seconds=ANSWER_SECONDS),
        )

    def restarted() -> ImageProvider:
        return connected(service.tls_context(), service.proxy_url)

    return PaidRig(
        restarted=restarted,
        provider=restarted(),
        endpoint=SDXL,
        max_images=4,
        downloads=_download(service),
        reference_limits={
            "black-forest-labs/flux-schnell": 0,
            "black-forest-labs/flux-kontext-pro": 1,
            SDXL: 1,
        },
        formats=("PNG", "PNG"),
        service=service,
        secret=service.token,
        own_hosts=frozenset({"api.replicate.com"}),
        lost_answers=("drop_after_accept", "hang_after_accept", "not_json", "status_500"),
        refusals={
            "invalid_input": "request_invalid",
            "unauthorized": "key_rejected",
            "payment_required": "balance_exhausted",
            "model_missing": "model_unknown",
        },
        rate_limit="throttled",
        connected=connected,
    )


def _pollinations(opened: ExitStack, directory: Path) -> Rig:
    service = opened.enter_context(PollinationsService(directory))

    def connected(context: ssl.SSLContext, proxy: str) -> ImageProvider:
        return _closed_by(
            opened,
            PollinationsProvider(
                service.key,
                context,
                proxy,
                max_bytes=2_000_000,
                answer_timeout_seconds=ANSWER_SECONDS,
            ),
        )

    def restarted() -> ImageProvider:
        return connected(service.tls_context(), service.proxy_url)

    return PaidRig(
        restarted=restarted,
        provider=restarted(),
        endpoint="flux",
        max_images=1,
        downloads=_download(service),
        reference_limits={"flux": 0, "kontext": 1},
        formats=("JPEG", "JPEG"),
        tells_what_happened=False,
        service=service,
        secret=service.key,
        own_hosts=frozenset({"gen.pollinations.ai"}),
        lost_answers=LOST_ANSWERS,
        refusals={
            "bad_request": "request_invalid",
            "content_policy": "content_rejected",
            "unauthorized": "key_rejected",
            "payment_required": "balance_exhausted",
            "model_missing": "model_unknown",
        },
        rate_limit="limited",
        connected=connected,
    )


def _free_pollinations(opened: ExitStack, directory: Path) -> Rig:
    service = opened.enter_context(PollinationsService(directory))

    def restarted() -> ImageProvider:
        provider = PollinationsProvider(None, service.tls_context(), service.proxy_url)
        return _closed_by(opened, provider)

    return Rig(
        restarted=restarted,
        provider=restarted(),
        endpoint="flux",
        max_images=1,
        downloads=_download(service),
        formats=("JPEG", "JPEG"),
        tells_what_happened=False,
    )


_OPENERS: dict[str, Callable[[ExitStack, Path], Rig]] = {
    "offline": _offline,
    "fal": _fal,
    "replicate": _replicate,
    "pollinations": _pollinations,
    "pollinations without a key": _free_pollinations,
}
KINDS = tuple(_OPENERS)
PAID_KINDS = ("fal", "replicate", "pollinations")


def _closed_by(opened: ExitStack, provider: ImageProvider) -> ImageProvider:
    opened.callback(provider.close)
    return provider


def _download(service: FalStandIn | LoopbackService) -> Callable[[str], bytes]:
    def download(url: str) -> bytes:
        context = service.tls_context()
        with httpx.Client(verify=context, proxy=service.proxy_url, trust_env=False) as client:
            return client.get(url).raise_for_status().content

    return download
