"""One suite over every image provider: what the pipeline relies on, whichever it talks to."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, Submission
from scene_pipeline.providers.registry import PROVIDER_NAMES, most_images
from scene_pipeline_tests.contract.provider_rigs import KINDS, Rig, completed, open_rig


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as opened:
        yield open_rig(request.param, opened, tmp_path)


def image_request(rig: Rig, **changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "7b7c4a5e-0000-4000-8000-000000000001",
        "endpoint": rig.endpoint,
        "prompt": "A lighthouse above a stormy sea at night, 50% fog / rain & wind?",
        "seed": 4711,
        "width": 512,
        "height": 512,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


def picture(rig: Rig, request: ImageRequest) -> Image.Image:
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)
    (image,) = rig.provider.fetch_result(request, submission).images
    data = rig.provider.read_image(request, 0) if image.url is None else rig.downloads(image.url)
    decoded = Image.open(io.BytesIO(data))
    decoded.load()
    assert image.content_type in {None, decoded.get_format_mimetype()}
    assert image.width in {None, decoded.width}
    return decoded


def test_every_provider_is_examined_here() -> None:
    assert {kind.split()[0] for kind in KINDS} == set(PROVIDER_NAMES)


def test_a_request_becomes_one_picture_of_the_size_and_format_asked_for(rig: Rig) -> None:
    decoded = picture(rig, image_request(rig, output_format="png"))

    assert decoded.size == (512, 512)
    assert decoded.format == rig.formats[0]


def test_a_picture_shows_something(rig: Rig) -> None:
    decoded = picture(rig, image_request(rig))

    low, high = decoded.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert high - low > 60
    assert decoded.format == rig.formats[1]


def test_another_seed_gives_another_picture(rig: Rig) -> None:
    first = picture(rig, image_request(rig, seed=1))
    second = picture(rig, image_request(rig, seed=2, generation_id="other"))

    assert first.tobytes() != second.tobytes()


def test_the_result_tells_the_seed_that_was_sent(rig: Rig) -> None:
    request = image_request(rig, seed=99)
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)

    assert rig.provider.fetch_result(request, submission).seed == 99


def test_a_new_process_takes_a_request_up_or_says_that_it_cannot(rig: Rig) -> None:
    request = image_request(rig)
    submission = rig.provider.submit(request)
    restarted = rig.restarted()
    capabilities = rig.provider.capabilities

    if capabilities.has_request_ids or capabilities.is_free:
        completed(restarted, request, submission)
        (image,) = restarted.fetch_result(request, submission).images
        assert image.url is not None or restarted.read_image(request, 0)
        return
    with pytest.raises(ProviderError) as caught:
        restarted.poll(request, submission)
    error = caught.value
    assert (error.error_code, error.charge, error.retryable) == ("result_lost", "charged", False)


def test_a_lost_request_is_found_by_what_was_sent_where_there_is_a_history(rig: Rig) -> None:
    request = image_request(rig)
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)

    lost = rig.restarted().find_lost(request, datetime.now(UTC) - timedelta(seconds=5))

    assert rig.provider.capabilities.has_history == rig.tells_what_happened
    if not rig.tells_what_happened:
        assert lost.verdict == "unknown"
        return
    assert lost.verdict == "found"
    assert lost.submission is not None
    assert lost.submission.request_id == submission.request_id


def test_two_requests_never_share_an_id(rig: Rig) -> None:
    first = rig.provider.submit(image_request(rig, generation_id="one"))
    second = rig.provider.submit(image_request(rig, generation_id="two"))

    assert first.request_id != second.request_id


def test_cancelling_is_quiet_whatever_became_of_the_request(rig: Rig) -> None:
    request = image_request(rig)
    submission = rig.provider.submit(request)
    rig.provider.cancel(submission)
    completed_or_ended = rig.restarted()
    completed_or_ended.cancel(submission)
    completed_or_ended.cancel(Submission(request_id="unknown"))


def test_where_urls_are_given_no_bytes_are_and_the_reverse(rig: Rig) -> None:
    request = image_request(rig)
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)
    (image,) = rig.provider.fetch_result(request, submission).images

    assert (image.url is not None) == rig.provider.capabilities.returns_urls
    if image.url is not None:
        with pytest.raises(ProviderError, match="URL"):
            rig.provider.read_image(request, 0)


def test_the_name_is_the_one_it_is_registered_under(rig: Rig) -> None:
    assert rig.provider.name in PROVIDER_NAMES
    assert most_images(rig.provider.name, rig.endpoint) == rig.max_images


def test_candidates_are_as_many_pictures_of_one_request(rig: Rig) -> None:
    request = image_request(rig, image_count=min(3, rig.max_images))
    submission = rig.provider.submit(request)
    completed(rig.provider, request, submission)

    images = rig.provider.fetch_result(request, submission).images

    drawn = {
        rig.provider.read_image(request, index) if image.url is None else rig.downloads(image.url)
        for index, image in enumerate(images)
    }
    assert len(images) == len(drawn) == request.image_count


def test_more_candidates_than_it_makes_are_refused_unpaid(rig: Rig) -> None:
    with pytest.raises(ProviderError) as caught:
        rig.provider.submit(image_request(rig, image_count=rig.max_images + 1))

    assert (caught.value.error_code, caught.value.charge) == (
        "candidates_unsupported",
        "not_charged",
    )


def test_models_say_how_many_pictures_they_can_be_given_to_go_by(rig: Rig) -> None:
    for endpoint, count in rig.reference_limits.items():
        limits = rig.provider.reference_limits(endpoint)
        assert limits.max_count == count
        assert (limits.argument is not None) == (count > 0)
