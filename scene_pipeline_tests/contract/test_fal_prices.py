"""Fal's price API: what it tells is judged before anybody relies on it."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.fal_prices import FalPrices

KNOWN = "fal-ai/flux/schnell"
ODD = "fal-ai/odd"


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path) as running:
        yield running


@pytest.fixture
def prices(standin: FalStandIn) -> Iterator[FalPrices]:
    client = FalPrices(standin.key, standin.tls_context(), standin.proxy_url, timeout_seconds=5.0)
    yield client
    client.close()


def test_prices_come_with_unit_day_and_source(prices: FalPrices) -> None:
    fetched = prices.ask([KNOWN, "fal-ai/unlisted"])

    price = fetched.prices[KNOWN]
    assert (price.unit_price, price.unit) == (Decimal("0.003"), "megapixel")
    assert (price.layer, price.source) == ("fetched", "Fal's price API")
    assert fetched.refused == {"fal-ai/unlisted": "Fal names no price for it"}


@pytest.mark.parametrize(
    ("told", "unit"),
    [("image", "image"), ("Images", "image"), ("megapixel", "megapixel"), ("seconds", "second")],
)
def test_units_are_known_by_their_plain_names(
    told: str, unit: str, standin: FalStandIn, prices: FalPrices
) -> None:
    standin.api.prices[ODD] = {"unit_price": 0.04, "unit": told, "currency": "USD"}

    assert prices.ask([ODD]).prices[ODD].unit == unit


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit_price": -0.003},
        {"unit_price": 0},
        {"unit_price": 100.01},
        {"unit_price": 1e300},
        {"unit_price": "NaN"},
        {"unit_price": "Infinity"},
        {"unit_price": "a lot"},
        {"unit_price": True},
        {"unit_price": None},
        {"unit_price": [0.003]},
        {"currency": "EUR"},
        {"currency": None},
        {"unit": "furlong"},
        {"unit": None},
        {"unit": {"of": "measure"}},
    ],
    ids=json.dumps,
)
def test_a_price_that_cannot_be_meant_is_refused_and_says_why(
    wrong: dict[str, Any], standin: FalStandIn, prices: FalPrices
) -> None:
    sound = {"unit_price": 0.003, "unit": "megapixels", "currency": "USD"}
    standin.api.prices[ODD] = sound | wrong

    fetched = prices.ask([ODD, KNOWN])

    assert set(fetched.prices) == {KNOWN}
    assert fetched.refused[ODD].startswith("its price is ")


def test_many_models_are_asked_in_questions_of_fifty(
    standin: FalStandIn, prices: FalPrices
) -> None:
    fetched = prices.ask([f"fal-ai/model-{number}" for number in range(120)] + [KNOWN])

    assert set(fetched.prices) == {KNOWN}
    assert len(fetched.refused) == 120
    assert len(standin.contacts) == 3


def test_one_unknown_model_does_not_spoil_the_others(
    standin: FalStandIn, prices: FalPrices
) -> None:
    standin.api.refuses_unknown_models = True

    fetched = prices.ask([KNOWN, "fal-ai/misspelled", "fal-ai/flux/dev"])

    assert set(fetched.prices) == {KNOWN, "fal-ai/flux/dev"}
    assert set(fetched.refused) == {"fal-ai/misspelled"}


def test_a_name_that_is_no_models_is_not_sent(standin: FalStandIn, prices: FalPrices) -> None:
    fetched = prices.ask(["fal-ai/x?fal_webhook=https://evil.example", "../secrets"])

    assert len(fetched.refused) == 2
    assert standin.contacts == []


def test_an_api_that_is_down_is_told_as_such(standin: FalStandIn, prices: FalPrices) -> None:
    standin.api.is_down = True

    with pytest.raises(ProviderError) as caught:
        prices.ask([KNOWN])

    assert caught.value.error_code == "provider_unavailable"
    assert caught.value.retryable


def test_a_refused_key_is_told_without_showing_it(standin: FalStandIn, prices: FalPrices) -> None:
    shown = standin.key
    standin.key = "another:key"

    with pytest.raises(ProviderError) as caught:
        prices.ask([KNOWN])

    assert caught.value.error_code == "key_rejected"
    assert shown not in caught.value.message
