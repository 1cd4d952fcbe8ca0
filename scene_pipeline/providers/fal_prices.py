"""Fal's price API: what models cost according to Fal itself.

Belongs here: asking, and judging every price before anybody may rely on it. Does not belong here:
keeping prices (`pipeline.prices`).

Facts (Fal's platform API pages): `GET /v1/models/pricing?endpoint_id=a,b` takes at most 50 ids and
answers `{"prices": [{"endpoint_id", "unit_price", "unit", "currency"}]}`. How it treats a model
that it does not know is not documented, so that a refused question is asked again model by model.
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.fal_addresses import API_ORIGIN, checked_endpoint
from scene_pipeline.providers.fal_errors import query_failure, unreadable_answer
from scene_pipeline.providers.fal_transport import (
    KeyedTransport,
    QuestionClient,
    checked_key,
    secret_parts,
)
from scene_pipeline.providers.prices import CURRENCY, MAX_UNIT_PRICE_USD, Price, PriceUnit
from scene_pipeline.providers.wire import open_transport

PRICES_URL = f"{API_ORIGIN}/v1/models/pricing"
SOURCE = "Fal's price API"
MAX_IDS = 50
MAX_PRICES_BYTES = 256 * 1024
_UNITS: Mapping[str, PriceUnit] = MappingProxyType(
    {
        "megapixel": "megapixel",
        "image": "image",
        "second": "second",
        "compute second": "second",
        "gpu second": "second",
    }
)
_NOT_ABOUT_ALL = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}
)
"""Statuses by which one bad id may spoil a whole question."""


@dataclass(frozen=True, slots=True)
class FetchedPrices:
    """What the price API told."""

    prices: Mapping[str, Price]
    """By endpoint; sound ones only."""
    refused: Mapping[str, str]
    """Endpoints without a price that may be used, and why."""


class FalPrices:
    """Asks Fal's price API; every question is free and safe to repeat.

    Args:
        key: FAL_KEY.
        tls_context: Trust roots (`egress.tls_context`).
        egress_proxy: URL of the only proxy, or None.
        timeout_seconds: Of one question.

    Raises:
        ConfigurationError: The key cannot be put into a header.
    """

    def __init__(
        self,
        key: str,
        tls_context: ssl.SSLContext,
        egress_proxy: str | None = None,
        *,
        timeout_seconds: float = 30.0,
    ) -> None:
        key = checked_key(key)
        self._secrets = secret_parts(key)
        self._questions = QuestionClient(
            KeyedTransport(key, open_transport(tls_context, egress_proxy, keeps_alive=True)),
            secrets=self._secrets,
            timeout_seconds=timeout_seconds,
        )

    def ask(self, endpoints: Sequence[str]) -> FetchedPrices:
        """Ask what models cost.

        Args:
            endpoints: Fal's names of the models.

        Raises:
            ProviderError: Fal cannot be reached, refuses the key or answers nonsense.
        """
        prices: dict[str, Price] = {}
        refused: dict[str, str] = {}
        sound: list[str] = []
        for endpoint in dict.fromkeys(endpoints):
            try:
                sound.append(checked_endpoint(endpoint))
            except ProviderError:
                refused[endpoint] = "not the name of a Fal model"
        for ids in _batches(sound):
            told = self._told(ids)
            for endpoint in ids:
                judged = _judge(told.get(endpoint, []))
                if isinstance(judged, Price):
                    prices[endpoint] = judged
                else:
                    refused[endpoint] = judged
        return FetchedPrices(prices, refused)

    def close(self) -> None:
        """Release the connections."""
        self._questions.close()

    def _told(self, ids: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        """The entries of the answer by the endpoints that were asked for."""
        answer = self._questions.ask(
            "GET",
            PRICES_URL,
            endpoint="prices",
            max_bytes=MAX_PRICES_BYTES,
            parameters={"endpoint_id": ",".join(ids)},
        )
        if answer.status in _NOT_ABOUT_ALL:
            if len(ids) == 1:
                return {}
            return {name: entries for one in ids for name, entries in self._told([one]).items()}
        if answer.status != HTTPStatus.OK:
            raise query_failure("prices", answer, self._secrets)
        body = answer.json()
        entries = body.get("prices") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            raise unreadable_answer("prices", "it has no list of prices")
        told: dict[str, list[Mapping[str, Any]]] = {}
        for entry in entries:
            if isinstance(entry, dict) and entry.get("endpoint_id") in ids:
                told.setdefault(entry["endpoint_id"], []).append(entry)
        return told


def _batches(endpoints: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(endpoints), MAX_IDS):
        yield endpoints[start : start + MAX_IDS]


def _judge(entries: Sequence[Mapping[str, Any]]) -> Price | str:
    """The one price that the entries tell, or why there is none to rely on."""
    if not entries:
        return "Fal names no price for it"
    judged = [_judge_entry(entry) for entry in entries]
    if len({one if isinstance(one, str) else (one.unit, one.unit_price) for one in judged}) > 1:
        return "Fal names several prices for it"
    return judged[0]


def _judge_entry(entry: Mapping[str, Any]) -> Price | str:
    if entry.get("currency") != CURRENCY:
        return f"its price is not in {CURRENCY}"
    unit = _UNITS.get(str(entry.get("unit")).strip().lower().removesuffix("s"))
    if unit is None:
        return "its price is for a unit that is not known"
    unit_price = _number(entry.get("unit_price"))
    if unit_price is None:
        return "its price is not a number"
    if unit_price <= 0:
        return "its price is not above zero, so that no cap could hold it"
    if unit_price > MAX_UNIT_PRICE_USD:
        return f"its price is above {MAX_UNIT_PRICE_USD} {CURRENCY} for a {unit}"
    return Price(unit_price, unit, datetime.now(UTC).date(), "fetched", SOURCE)


def _number(told: object) -> Decimal | None:
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        number = Decimal(str(told))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
