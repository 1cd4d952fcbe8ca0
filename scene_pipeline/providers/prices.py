"""What pictures cost: the table that ships with the package, and the sums made from it.

Belongs here: unit prices, estimates before and metered costs after a generation. Does not belong
here: caps and reservations (the ledger's), asking a provider (`fal_prices`).

The table (`prices.json`) is dated, as a whole and, where an entry was read on another day, entry
by entry. What the provider's price API told wins over it entry by entry,
and a file of the user's over both. Amounts are whole millionths of a US dollar ("micros"):
0.003 USD = 3000.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast, get_args

from scene_pipeline.errors import ConfigurationError

PriceUnit = Literal["megapixel", "image", "second"]
PriceLayer = Literal["shipped", "fetched", "file"]
"""Where a price comes from, the weakest first."""

CURRENCY = "USD"
MAX_UNIT_PRICE_USD = Decimal(100)
"""No unit of a picture costs more; a price above it is a mistake, not a price."""

MICROS_PER_DOLLAR = 1_000_000
PIXELS_PER_MEGAPIXEL = 1_000_000
"""The smaller reading of a megapixel (the other is 1024 x 1024), so that an estimate, which is what
caps reserve, is never below what is charged."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit of a model's output costs."""

    unit_price: Decimal
    """US dollars."""
    unit: PriceUnit
    as_of: date
    """The day it was read or fetched."""
    layer: PriceLayer
    source: str
    """Who says so."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request will cost, as far as it can be known before."""

    amount_micros: int
    """Millionths of a US dollar; 0 where `is_known` is False."""
    unit: PriceUnit | None
    unit_price: Decimal | None
    """US dollars; frozen with the request, so that the metered units can be priced later. None
    where it is free, too: what was planned for nothing is no price for the time with a key."""
    is_known: bool
    as_of: date | None = None
    """The day the price was read or fetched; None where there is none."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Unit prices by provider and endpoint."""

    prices: Mapping[tuple[str, str], Price]
    free: frozenset[str]
    """Providers that cost nothing."""

    @classmethod
    def load(
        cls,
        override_file: Path | None = None,
        fetched: Mapping[tuple[str, str], Price] = MappingProxyType({}),
        *,
        free: Collection[str] = (),
    ) -> "PriceTable":
        """Read the shipped table, and lay the others over it.

        Args:
            override_file: Of the same form; its entries win over all.
            fetched: What a provider's price API told; wins over the shipped table.
            free: Providers that cost nothing with the keys that are set
                (`registry.free_providers`).

        Raises:
            ConfigurationError: The override file cannot be read or holds something else.
        """
        shipped = files("scene_pipeline.providers").joinpath("prices.json").read_text("utf-8")
        prices = {**_parse(json.loads(shipped), "shipped", "the shipped table"), **fetched}
        if override_file is None:
            return cls(MappingProxyType(prices), frozenset(free))
        try:
            text = override_file.read_text("utf-8")
            overrides = _parse(json.loads(text), "file", override_file.name)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            InvalidOperation,
        ) as error:
            message = f"The price table {override_file} cannot be used: {_reason(error)}."
            raise ConfigurationError(
                message,
                code="prices_invalid",
                next_action="Give SCENE_PIPELINE_PRICES_FILE a file of the form of"
                " scene_pipeline/providers/prices.json, or leave it unset.",
            ) from error
        return cls(MappingProxyType({**prices, **overrides}), frozenset(free))

    def estimate(
        self, provider: str, endpoint: str, width: int, height: int, images: int = 1
    ) -> Estimate:
        """Price a request before it is made.

        Fal bills models priced by the megapixel "by rounding up to the nearest megapixel" (the
        models' pages), for each picture. Models billed by compute time cannot be priced before.

        Args:
            provider: Name of the provider.
            endpoint: The provider's name of the model.
            width: Pixels.
            height: Pixels.
            images: Number of pictures.
        """
        if provider in self.free:
            return Estimate(0, None, None, is_known=True)
        price = self.prices.get((provider, endpoint))
        if price is None:
            return Estimate(0, None, None, is_known=False)
        if price.unit == "second":
            return Estimate(0, price.unit, price.unit_price, is_known=False, as_of=price.as_of)
        units = images if price.unit == "image" else images * _megapixels(width, height)
        amount = metered_cost_micros(units, price.unit_price)
        return Estimate(amount, price.unit, price.unit_price, is_known=True, as_of=price.as_of)


def metered_cost_micros(billable_units: float, unit_price: Decimal) -> int:
    """What metered units cost at the price that was frozen when the request was made.

    Args:
        billable_units: As the provider told them, in the unit of the model's price.
        unit_price: US dollars for one unit.

    Returns:
        Millionths of a US dollar, rounded half up.
    """
    amount = Decimal(str(billable_units)) * unit_price * MICROS_PER_DOLLAR
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def _megapixels(width: int, height: int) -> int:
    exact = Decimal(width * height) / PIXELS_PER_MEGAPIXEL
    return int(exact.quantize(Decimal(1), ROUND_CEILING))


def _parse(
    document: Mapping[str, object], layer: PriceLayer, source: str
) -> dict[tuple[str, str], Price]:
    as_of = date.fromisoformat(str(document["as_of"]))
    if document.get("currency", CURRENCY) != CURRENCY:
        message = "another currency"
        raise ValueError(message)
    prices: dict[tuple[str, str], Price] = {}
    providers = cast("Mapping[str, Mapping[str, Mapping[str, str]]]", document["prices"])
    for provider, endpoints in providers.items():
        for endpoint, entry in endpoints.items():
            unit_price = Decimal(str(entry["unit_price"]))
            unit = entry["unit"]
            is_usable = unit_price.is_finite() and 0 <= unit_price <= MAX_UNIT_PRICE_USD
            if unit not in get_args(PriceUnit) or not is_usable:
                message = f"{endpoint} has no usable price"
                raise ValueError(message)
            read_on = date.fromisoformat(entry["as_of"]) if "as_of" in entry else as_of
            prices[provider, endpoint] = Price(
                unit_price, cast("PriceUnit", unit), read_on, layer, source
            )
    return prices


def _reason(error: Exception) -> str:
    """Why a table cannot be used, in words that hold nothing of the file but a model's name."""
    match error:
        case OSError():
            return (error.strerror or "it cannot be read").lower()
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case json.JSONDecodeError():
            return f"it is not JSON (line {error.lineno}, column {error.colno})"
        case KeyError():
            return f"it lacks {str(error.args[0])[:40]!r}"
        case _:
            return "it does not have the form of a price table"
