"""Prices in layers: the table that ships, what Fal told, and the user's own file over all."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ConfigurationError, ProviderError
from scene_pipeline.pipeline.prices import RenewedPrices, renew_prices
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.prices import Price, PriceTable
from scene_pipeline_tests.films import Studio, assert_invariants, film

SCHNELL = ("fal", "fal-ai/flux/schnell")
NEW = "fal-ai/brand-new"


def with_settings(studio: Studio, **changes: Any) -> Studio:
    return Studio(studio.settings.model_copy(update=changes), studio.database_url)


def renew(studio: Studio) -> RenewedPrices:
    async def work(services: Services) -> RenewedPrices:
        async with services.pool.connection() as conn:
            return await renew_prices(conn, services.settings)

    return studio.do(work)


def prices_of(studio: Studio) -> PriceTable:
    """What a run of this studio would rely on."""

    async def work(services: Services) -> PriceTable:
        return services.prices

    return studio.do(work)


def schnell(studio: Studio) -> Price:
    return prices_of(studio).prices[SCHNELL]


def test_what_is_free_follows_from_the_keys_that_are_set(fal_studio: Studio) -> None:
    unkeyed = with_settings(fal_studio, pollinations_api_key=None)
    keyed = with_settings(fal_studio, pollinations_api_key="sk_abc")

    assert prices_of(unkeyed).free == {"offline", "pollinations"}
    assert prices_of(keyed).free == {"offline"}


def test_what_fal_told_wins_over_the_shipped_table_and_the_file_over_both(
    fal: FalStandIn, fal_studio: Studio, tmp_path: Path
) -> None:
    file = tmp_path / "mine.json"
    mine = {"fal": {"fal-ai/flux/schnell": {"unit_price": "0.001", "unit": "image"}}}
    file.write_text(json.dumps({"as_of": "2026-10-01", "prices": mine}))
    fal.api.prices["fal-ai/flux/schnell"]["unit_price"] = 0.004
    shipped = schnell(fal_studio)

    renewed = renew(fal_studio)
    fetched = schnell(fal_studio)
    own = schnell(with_settings(fal_studio, prices_file=file))

    assert (shipped.unit_price, shipped.layer) == (Decimal("0.003"), "shipped")
    assert renewed.prices["fal-ai/flux/schnell"].unit_price == Decimal("0.004")
    assert (fetched.unit_price, fetched.layer) == (Decimal("0.004"), "fetched")
    assert (own.unit_price, own.unit, own.layer) == (Decimal("0.001"), "image", "file")


def test_a_refused_price_leaves_what_was_known(fal: FalStandIn, fal_studio: Studio) -> None:
    fal.api.prices["fal-ai/flux/schnell"]["unit_price"] = 0.004
    renew(fal_studio)
    fal.api.prices["fal-ai/flux/schnell"]["unit_price"] = -1

    renewed = renew(fal_studio)

    assert "fal-ai/flux/schnell" in renewed.refused
    assert schnell(fal_studio).unit_price == Decimal("0.004")


def test_the_models_of_documents_are_asked_about_and_can_then_be_used(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    generation = {"image_size": "64x64", "model": NEW}
    fal_studio.bring(film(["A lighthouse"], generation=generation))
    blocked = fal_studio.run()
    fal.api.prices[NEW] = {"unit_price": 0.05, "unit": "images", "currency": "USD"}

    renew(fal_studio)
    made = fal_studio.run()

    assert blocked.statuses == {"scene_1": "blocked"}
    assert blocked.outcomes["scene_1"].failure is not None
    assert blocked.outcomes["scene_1"].failure.code == "price_unknown"
    assert "prices --refresh" in blocked.outcomes["scene_1"].failure.next_action
    assert made.statuses == {"scene_1": "generated"}
    assert made.outcomes["scene_1"].cost_usd == Decimal("0.05")
    assert_invariants(fal_studio)


def test_a_generation_keeps_the_price_it_was_planned_at(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse", "A calm sea"]))
    fal_studio.run("scene_2")
    fal.api.prices["fal-ai/flux/schnell"]["unit_price"] = 0.009
    renew(fal_studio)

    fal_studio.run("scene_2", mode="regenerate", token="again")

    frozen = fal_studio.sql(
        "SELECT unit_price_usd, cost_micros, cost_kind FROM generations ORDER BY seq"
    )
    assert [row["unit_price_usd"] for row in frozen] == [Decimal("0.003"), Decimal("0.009")]
    assert [row["cost_micros"] for row in frozen] == [3_000, 9_000]
    assert {row["cost_kind"] for row in frozen} == {"metered"}


def test_an_api_that_is_down_changes_nothing(fal: FalStandIn, fal_studio: Studio) -> None:
    fal.api.is_down = True

    with pytest.raises(ProviderError):
        renew(fal_studio)

    assert fal_studio.sql("SELECT * FROM model_prices") == []


def test_without_a_key_it_says_what_is_missing(studio: Studio) -> None:
    with pytest.raises(ConfigurationError) as caught:
        renew(studio)

    assert caught.value.error_code == "fal_key_missing"


def test_a_file_that_cannot_be_used_is_refused_before_anything_is_opened(
    studio: Studio, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.json"):
        prices_of(with_settings(studio, prices_file=tmp_path / "absent.json"))
