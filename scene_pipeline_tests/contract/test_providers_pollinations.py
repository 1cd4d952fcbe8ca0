"""Pollinations' own: the picture is the answer, and what follows where it does not arrive."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, ReferencePicture
from scene_pipeline.providers.kept_pictures import KeptPictures
from scene_pipeline.providers.pollinations import PollinationsProvider
from scene_pipeline.providers.pollinations_addresses import MAX_URL_LENGTH
from scene_pipeline_tests.contract.provider_rigs import ANSWER_SECONDS
from scene_pipeline_tests.standins.pollinations_service import (
    LOST_ANSWERS,
    PollinationsService,
)

Connect = Callable[[str | None], PollinationsProvider]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PollinationsService]:
    with PollinationsService(tmp_path) as running:
        yield running


@pytest.fixture
def connect(service: PollinationsService) -> Iterator[Connect]:
    opened: list[PollinationsProvider] = []

    def build(key: str | None) -> PollinationsProvider:
        opened.append(
            PollinationsProvider(
                key,
                service.tls_context(),
                service.proxy_url,
                max_bytes=2_000_000,
                answer_timeout_seconds=ANSWER_SECONDS,
            )
        )
        return opened[-1]

    yield build
    for provider in opened:
        provider.close()


def request_for(**changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "g",
        "endpoint": "flux",
        "prompt": "A quiet harbour",
        "seed": 7,
        "width": 512,
        "height": 288,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


@pytest.mark.parametrize("fault", LOST_ANSWERS)
def test_without_a_key_a_picture_that_does_not_arrive_is_asked_for_again(
    fault: str, service: PollinationsService, connect: Connect
) -> None:
    provider = connect(None)
    service.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        provider.submit(request_for())

    assert (caught.value.retryable, caught.value.charge) == (True, "not_charged")
    assert provider.capabilities.is_free
    assert provider.submit(request_for()).request_id == "local:g"
    assert service.keyed_hosts == set()


@pytest.mark.parametrize("fault", ["unauthorized", "payment_required", "forbidden"])
def test_a_model_that_needs_an_account_says_how_to_get_on(
    fault: str, service: PollinationsService, connect: Connect
) -> None:
    service.faults.add(fault)

    with pytest.raises(ProviderError) as caught:
        connect(None).submit(request_for())

    assert caught.value.error_code == "pollinations_key_missing"
    assert caught.value.stops_the_line
    assert "POLLINATIONS_API_KEY" in caught.value.next_action


def test_without_a_key_a_new_process_gets_the_same_picture_by_asking_again(
    service: PollinationsService, connect: Connect
) -> None:
    first = connect(None)
    first.submit(request_for())
    before = first.read_image(request_for(), 0)

    after = connect(None).read_image(request_for(), 0)

    assert after == before
    assert len(service.meter.accepted) == 2, "it was made twice, and cost nothing"


def test_with_a_key_a_new_process_asks_for_nothing_and_says_what_was_lost(
    service: PollinationsService, connect: Connect
) -> None:
    submission = connect(service.key).submit(request_for())
    restarted = connect(service.key)

    for ask in (
        lambda: restarted.poll(request_for(), submission),
        lambda: restarted.read_image(request_for(), 0),
    ):
        with pytest.raises(ProviderError) as caught:
            ask()
        assert (caught.value.error_code, caught.value.charge) == ("result_lost", "charged")
        assert "--regenerate" in caught.value.next_action
    assert len(service.meter.accepted) == 1


def test_what_is_asked_for_is_in_the_address(
    service: PollinationsService, connect: Connect
) -> None:
    reference = ReferencePicture("0" * 64, "image/png", "https://x.test/a.png?a=1&b=2", "scene_2")
    request = request_for(
        endpoint="kontext",
        negative_prompt="fog & rain",
        references=(reference,),
        arguments={"enhance": True, "quality": "high"},
    )

    connect(service.key).submit(request)

    assert service.queries == [
        {
            "model": "kontext",
            "width": "512",
            "height": "288",
            "seed": "7",
            "nologo": "true",
            "private": "true",
            "negative_prompt": "fog & rain",
            "image": "https://x.test/a.png?a=1&b=2",
            "enhance": "true",
            "quality": "high",
        }
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt": "x" * MAX_URL_LENGTH}, "request_too_large"),
        ({"arguments": {"key": "x"}}, "argument_reserved"),
        ({"image_count": 2}, "candidates_unsupported"),
        (
            {
                "endpoint": "kontext",
                "references": (ReferencePicture("0", "image/png", "data:image/png;base64,", "s"),),
            },
            "reference_not_reachable",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_it_is_sent(
    changes: dict[str, object], code: str, service: PollinationsService, connect: Connect
) -> None:
    with pytest.raises(ProviderError) as caught:
        connect(service.key).submit(request_for(**changes))

    assert (caught.value.error_code, caught.value.charge) == (code, "not_charged")
    assert service.contacts == []


def test_pictures_that_wait_are_bounded_and_the_oldest_is_given_up() -> None:
    kept = KeptPictures(max_bytes=10)

    kept.put("a", b"x" * 6)
    kept.put("b", b"y" * 4)
    kept.put("c", b"z")
    kept.put("huge", b"!" * 50)

    assert [kept.get(name) for name in ("a", "b", "c")] == [None, None, None]
    assert kept.get("huge") == b"!" * 50
