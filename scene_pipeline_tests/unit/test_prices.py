"""Prices: what is known before, what is metered after, and what is not known at all."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.prices import PriceTable, metered_cost_micros
from scene_pipeline.providers.registry import DEFAULT_MODELS, free_providers
from scene_pipeline.settings import load_settings


@pytest.mark.parametrize(
    ("width", "height", "images", "micros"),
    [
        (1024, 576, 1, 3_000),  # 0.59 megapixels count as one
        (1000, 1000, 1, 3_000),  # exactly one
        (1024, 1024, 1, 6_000),  # the careful reading: more than one, so two
        (1024, 576, 4, 12_000),  # each picture is rounded by itself
        (2048, 2048, 1, 15_000),
    ],
)
def test_megapixels_are_rounded_up_for_each_picture(
    width: int, height: int, images: int, micros: int
) -> None:
    estimate = PriceTable.load().estimate("fal", "fal-ai/flux/schnell", width, height, images)

    assert estimate.is_known
    assert (estimate.amount_micros, estimate.unit) == (micros, "megapixel")


def test_a_price_for_each_picture_ignores_the_size() -> None:
    table = PriceTable.load()
    estimates = [
        table.estimate("fal", "fal-ai/flux-pro/v1.1-ultra", side, side).amount_micros
        for side in (512, 2048)
    ]

    assert estimates == [60_000, 60_000]


@pytest.mark.parametrize(
    ("key", "is_free", "is_known"), [(None, True, True), ("sk_abc", False, False)]
)
def test_pollinations_is_free_until_there_is_a_key(
    key: str | None, is_free: bool, is_known: bool
) -> None:
    free = free_providers(load_settings(pollinations_api_key=key, fal_key="a:b"))
    estimate = PriceTable.load(free=free).estimate("pollinations", "flux", 1024, 576)

    assert free == ({"offline", "pollinations"} if is_free else {"offline"})
    assert (estimate.amount_micros, estimate.is_known) == (0, is_known)


def test_what_is_free_freezes_no_price_for_the_time_with_a_key() -> None:
    table = PriceTable.load(free=free_providers(load_settings()))

    assert table.estimate("pollinations", "flux", 1024, 576).unit_price is None


def test_offline_is_free_whatever_the_model_is_called() -> None:
    table = PriceTable.load(free=free_providers(load_settings()))
    estimate = table.estimate("offline", "fal-ai/flux/dev", 4096, 4096)

    assert (estimate.amount_micros, estimate.is_known) == (0, True)


def test_an_estimate_says_of_which_day_its_price_is() -> None:
    table = PriceTable.load(free={"offline"})
    days = [
        table.estimate(provider, model, 1024, 576).as_of
        for provider, model in (*DEFAULT_MODELS.items(), ("fal", "fal-ai/brand-new"))
    ]

    assert days == [None, date(2026, 9, 26), date(2026, 10, 7), None, None]


def test_a_model_that_is_not_listed_has_no_known_price() -> None:
    estimate = PriceTable.load().estimate("fal", "fal-ai/brand-new", 1024, 576)

    assert not estimate.is_known
    assert estimate.unit_price is None


def test_every_default_model_has_a_known_price_but_the_one_that_is_paid_in_pollen() -> None:
    table = PriceTable.load(free={"offline"})
    known = {
        provider
        for provider, model in DEFAULT_MODELS.items()
        if table.estimate(provider, model, 1024, 576).is_known
    }

    assert set(DEFAULT_MODELS) - known == {"pollinations"}


def test_an_entry_may_have_been_read_on_a_day_of_its_own() -> None:
    prices = PriceTable.load().prices

    assert prices["fal", "fal-ai/flux/schnell"].as_of.isoformat() == "2026-09-26"
    replicate = prices["replicate", "black-forest-labs/flux-schnell"]
    assert (replicate.as_of.isoformat(), replicate.unit) == ("2026-10-07", "image")


def test_a_file_overrides_single_prices(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    prices = {
        "fal-ai/flux/dev": {"unit_price": "0.02", "unit": "megapixel"},
        "fal-ai/slow": {"unit_price": "0.001", "unit": "second"},
    }
    file.write_text(json.dumps({"as_of": "2027-01-31", "prices": {"fal": prices}}))

    table = PriceTable.load(file)

    price = table.prices["fal", "fal-ai/flux/dev"]
    assert (price.as_of.isoformat(), price.layer, price.source) == (
        "2027-01-31",
        "file",
        "prices.json",
    )
    assert table.prices["fal", "fal-ai/flux/schnell"].layer == "shipped"
    assert table.estimate("fal", "fal-ai/flux/dev", 1024, 576).amount_micros == 20_000
    assert table.estimate("fal", "fal-ai/flux/schnell", 1024, 576).amount_micros == 3_000
    assert not table.estimate("fal", "fal-ai/slow", 1024, 576).is_known


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        "[]",
        '{"as_of": "soon", "prices": {}}',
        '{"as_of": "2027-01-31", "prices": {"fal": {"a/b": {"unit_price": "x", "unit": "image"}}}}',
        '{"as_of": "2027-01-31", "prices": {"fal": {"a/b": {"unit_price": 1, "unit": "pound"}}}}',
        '{"as_of": "2027-01-31", "prices": {"fal": {"a/b": {"unit_price": -1, "unit": "image"}}}}',
        '{"as_of": "2027-01-31", "prices": {"fal": {"a/b": {"unit_price": 101, "unit": "image"}}}}',
        '{"as_of": "2027-01-31", "currency": "EUR", "prices": {}}',
    ],
)
def test_a_file_that_is_no_price_table_is_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"mine\.json") as caught:
        PriceTable.load(file)

    assert caught.value.error_code == "prices_invalid"


@pytest.mark.parametrize(
    ("units", "unit_price", "micros"),
    [(1.0, "0.003", 3_000), (3.008, "0.03", 90_240), (0.0, "0.04", 0), (0.59, "0.0001", 59)],
)
def test_metered_units_are_priced_to_the_millionth(
    units: float, unit_price: str, micros: int
) -> None:
    assert metered_cost_micros(units, Decimal(unit_price)) == micros
