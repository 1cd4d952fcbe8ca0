"""Pictures brought into Fal's own storage: the key and the bytes each go where they belong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.fal import FalProvider
from scene_pipeline.providers.fal_uploads import (
    MAX_REMEMBERED,
    REMEMBERED_SECONDS,
    RememberedAddresses,
)
from scene_pipeline_tests.standins.pictures import scene_file


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path) as running:
        yield running


@pytest.fixture
def provider(standin: FalStandIn) -> Iterator[FalProvider]:
    opened = FalProvider(
        standin.key, standin.tls_context(), standin.proxy_url, submit_timeout_seconds=3.0
    )
    yield opened
    opened.close()


def test_a_picture_arrives_whole_and_its_address_is_fals(
    standin: FalStandIn, provider: FalProvider
) -> None:
    picture = scene_file("PNG", 1)

    url = provider.upload_reference(picture, "image/png")

    assert url.startswith("https://v3.fal.media/")
    assert list(standin.media.uploaded.values()) == [picture]
    assert standin.uploads.asked[0]["content_type"] == "image/png"
    assert not standin.meter.accepted, "an upload is no payment"


def test_the_key_asks_and_the_bytes_travel_without_it(
    standin: FalStandIn, provider: FalProvider
) -> None:
    provider.upload_reference(scene_file("PNG", 1), "image/png")

    assert {(contact.host, contact.has_key) for contact in standin.contacts} == {
        ("rest.fal.ai", True),
        ("v3.fal.media", False),
    }


def test_bytes_are_not_sent_where_a_strange_answer_points(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.uploads.upload_host = "uploads.example.com"

    with pytest.raises(ProviderError) as caught:
        provider.upload_reference(scene_file("PNG", 1), "image/png")

    assert caught.value.error_code == "foreign_host"
    assert not standin.media.uploaded
    assert {contact.host for contact in standin.contacts} == {"rest.fal.ai"}


def test_a_refused_upload_says_that_it_can_be_repeated_and_tells_no_key(
    standin: FalStandIn, provider: FalProvider
) -> None:
    standin.uploads.refusals_left = 1

    with pytest.raises(ProviderError) as caught:
        provider.upload_reference(scene_file("PNG", 1), "image/png")

    assert caught.value.error_code == "upload_failed"
    assert caught.value.retryable
    assert caught.value.charge == "not_charged"
    assert standin.key not in str(caught.value)
    assert provider.upload_reference(scene_file("PNG", 1), "image/png")


def test_one_picture_is_uploaded_once_for_all_scenes_that_go_by_it(
    standin: FalStandIn, provider: FalProvider
) -> None:
    first = provider.upload_reference(scene_file("PNG", 1), "image/png")
    again = provider.upload_reference(scene_file("PNG", 1), "image/png")
    other = provider.upload_reference(scene_file("PNG", 2), "image/png")

    assert first == again != other
    assert len(standin.uploads.asked) == 2


def test_an_address_is_used_for_an_hour_and_so_many_are_remembered() -> None:
    now = 0.0
    remembered = RememberedAddresses(lambda: now)
    for number in range(MAX_REMEMBERED + 1):
        remembered.keep((f"{number}", "image/png"), f"https://v3.fal.media/{number}")

    assert remembered.get(("0", "image/png")) is None, "the one used longest ago"
    assert remembered.get(("1", "image/webp")) is None
    assert remembered.get(("1", "image/png")) == "https://v3.fal.media/1"
    now = REMEMBERED_SECONDS
    assert remembered.get(("1", "image/png")) is None
