"""One suite over every image provider: what the pipeline relies on, whichever it talks to."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from PIL import Image

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageProvider, ImageRequest, Progress, Submission
from scene_pipeline.providers.fal import FalProvider
from scene_pipeline.providers.offline import OfflineProvider
from scene_pipeline.providers.registry import PROVIDER_NAMES


@dataclass(frozen=True, slots=True)
class Rig:
    """A provider under test, how to make it anew, and how to get at a URL's bytes."""

    provider: ImageProvider
    restarted: Callable[[], ImageProvider]
    download: Callable[[str], bytes]


@pytest.fixture(params=PROVIDER_NAMES)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    opened: list[ImageProvider] = []

    def kept(provider: ImageProvider) -> ImageProvider:
        opened.append(provider)
        return provider

    if request.param == "offline":
        yield Rig(OfflineProvider(), OfflineProvider, lambda url: pytest.fail(f"a URL: {url}"))
        return
    with FalStandIn(tmp_path) as standin:

        def build() -> ImageProvider:
            return kept(FalProvider(standin.key, standin.tls_context(), standin.proxy_url))

        def download(url: str) -> bytes:
            context = standin.tls_context()
            with httpx.Client(verify=context, proxy=standin.proxy_url, trust_env=False) as client:
                return client.get(url).raise_for_status().content

        yield Rig(build(), build, download)
        for provider in opened:
            provider.close()


def image_request(**changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "7b7c4a5e-0000-4000-8000-000000000001",
        "endpoint": "fal-ai/flux/schnell",
        "prompt": "A lighthouse above a stormy sea at night",
        "seed": 4711,
        "width": 512,
        "height": 288,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


def completed(provider: ImageProvider, request: ImageRequest, submission: Submission) -> Progress:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        progress = provider.poll(request, submission)
        if progress.state == "completed":
            return progress
        time.sleep(0.01)
    pytest.fail("the request was not completed in 5 s")


def picture(rig: Rig, request: ImageRequest, provider: ImageProvider | None = None) -> Image.Image:
    provider = provider or rig.provider
    submission = provider.submit(request)
    completed(provider, request, submission)
    (image,) = provider.fetch_result(request, submission).images
    data = provider.read_image(request, 0) if image.url is None else rig.download(image.url)
    decoded = Image.open(io.BytesIO(data))
    decoded.load()
    assert decoded.get_format_mimetype() == image.content_type
    return decoded


def test_a_request_becomes_one_picture_of_the_size_and_format_asked_for(rig: Rig) -> None:
    decoded = picture(rig, image_request(output_format="png"))

    assert decoded.size == (512, 288)
    assert decoded.format == "PNG"


def test_a_picture_shows_something(rig: Rig) -> None:
    decoded = picture(rig, image_request())

    low, high = decoded.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert high - low > 60


def test_another_seed_gives_another_picture(rig: Rig) -> None:
    first = picture(rig, image_request(seed=1))
    second = picture(rig, image_request(seed=2, generation_id="other"))

    assert first.tobytes() != second.tobytes()


def test_the_result_tells_the_seed_that_was_sent(rig: Rig) -> None:
    request = image_request(seed=99)
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)

    assert rig.provider.fetch_result(request, submission).seed == 99


def test_a_new_process_takes_a_request_up_by_its_submission(rig: Rig) -> None:
    request = image_request()
    submission = rig.provider.submit(request)

    restarted = rig.restarted()
    completed(restarted, request, submission)

    assert len(restarted.fetch_result(request, submission).images) == 1


def test_a_lost_request_is_found_by_what_was_sent(rig: Rig) -> None:
    request = image_request()
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)

    lost = rig.restarted().find_lost(request, datetime.now(UTC) - timedelta(seconds=5))

    assert lost.verdict == "found"
    assert lost.submission is not None
    assert lost.submission.request_id == submission.request_id


def test_two_requests_never_share_an_id(rig: Rig) -> None:
    first = rig.provider.submit(image_request(generation_id="one"))
    second = rig.provider.submit(image_request(generation_id="two"))

    assert first.request_id != second.request_id


def test_cancelling_is_quiet_whatever_became_of_the_request(rig: Rig) -> None:
    request = image_request()
    submission = rig.provider.submit(request)
    rig.provider.cancel(submission)
    completed_or_ended = rig.restarted()
    completed_or_ended.cancel(submission)
    completed_or_ended.cancel(Submission(request_id="unknown"))


def test_where_urls_are_given_no_bytes_are_and_the_reverse(rig: Rig) -> None:
    request = image_request()
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)
    (image,) = rig.provider.fetch_result(request, submission).images

    assert (image.url is not None) == rig.provider.capabilities.returns_urls


def test_the_name_is_the_one_it_is_registered_under(rig: Rig) -> None:
    assert rig.provider.name in PROVIDER_NAMES


def test_candidates_are_as_many_pictures_of_one_request(rig: Rig) -> None:
    request = image_request(image_count=3)
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)

    images = rig.provider.fetch_result(request, submission).images

    drawn = {
        rig.provider.read_image(request, index) if image.url is None else rig.download(image.url)
        for index, image in enumerate(images)
    }
    assert len(images) == len(drawn) == 3


def test_more_candidates_than_it_makes_are_refused_unpaid(rig: Rig) -> None:
    with pytest.raises(ProviderError) as caught:
        rig.provider.submit(image_request(image_count=9))

    assert (caught.value.error_code, caught.value.charge) == (
        "candidates_unsupported",
        "not_charged",
    )


def test_a_model_without_references_says_so(rig: Rig) -> None:
    limit = rig.provider.reference_limits("fal-ai/flux/schnell").max_count
    assert limit == (3 if rig.provider.capabilities.is_free else 0)
