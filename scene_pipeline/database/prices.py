"""Unit prices that a provider's price API told: kept until the next time it is asked."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from scene_pipeline.database.rows import Connection


@dataclass(frozen=True, slots=True)
class ModelPriceRow:
    """A row of `model_prices`."""

    provider: str
    endpoint: str
    unit: Literal["megapixel", "image", "second"]
    unit_price_usd: Decimal
    source: str
    fetched_at: datetime


async def read_model_prices(conn: Connection) -> list[ModelPriceRow]:
    """Every price that was fetched, by provider and endpoint."""
    cursor = await conn.execute(
        "SELECT provider, endpoint, unit, unit_price_usd, source, fetched_at FROM model_prices"
        " ORDER BY provider, endpoint"
    )
    return [ModelPriceRow(**row) for row in await cursor.fetchall()]


async def keep_model_price(
    conn: Connection,
    *,
    provider: str,
    endpoint: str,
    unit: str,
    unit_price_usd: Decimal,
    source: str,
) -> None:
    """Put a price that was fetched just now in the place of what was known."""
    await conn.execute(
        "INSERT INTO model_prices (provider, endpoint, unit, unit_price_usd, source)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (provider, endpoint) DO UPDATE SET"
        " unit = excluded.unit, unit_price_usd = excluded.unit_price_usd,"
        " source = excluded.source, fetched_at = excluded.fetched_at",
        (provider, endpoint, unit, unit_price_usd, source),
    )
