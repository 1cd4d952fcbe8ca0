"""The table of prices that this installation relies on, and its renewal from Fal.

Belongs here: putting the layers together (shipped, fetched, the user's file), and which models to
ask about. Does not belong here: the price API (`providers.fal_prices`), sums (`providers.prices`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scene_pipeline.database.prices import keep_model_price, read_model_prices
from scene_pipeline.database.projects import list_projects, load_document
from scene_pipeline.database.rows import Connection
from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ConfigurationError, UsageError
from scene_pipeline.pipeline.projects.scene_rows import request_defaults
from scene_pipeline.providers.prices import Price, PriceTable
from scene_pipeline.providers.registry import free_providers
from scene_pipeline.scenes.document import ProjectDocument, read_document
from scene_pipeline.scenes.requests import RequestDefaults, RequestOverrides, resolve_request
from scene_pipeline.settings import Settings

PROVIDER = "fal"
"""The one provider with a price API."""
MAX_MODELS = 500
"""Models that one renewal asks about: ten questions."""


@dataclass(frozen=True, slots=True)
class RenewedPrices:
    """What a renewal brought."""

    prices: Mapping[str, Price]
    """Kept now, by endpoint."""
    refused: Mapping[str, str]
    """Endpoints without a price that may be relied on, and why; what was known of them stays."""


async def load_prices(conn: Connection, settings: Settings) -> PriceTable:
    """The prices in force: the user's file over what was fetched over the table that ships.

    Raises:
        ConfigurationError: SCENE_PIPELINE_PRICES_FILE cannot be used.
    """
    async with conn.transaction():  # leaves none open behind it
        rows = await read_model_prices(conn)
    fetched = {
        (row.provider, row.endpoint): Price(
            row.unit_price_usd, row.unit, row.fetched_at.date(), "fetched", row.source
        )
        for row in rows
    }
    return PriceTable.load(settings.prices_file, fetched, free=free_providers(settings))


async def renew_prices(conn: Connection, settings: Settings) -> RenewedPrices:
    """Ask Fal for the prices of every model of the table and of the projects' documents.

    Args:
        conn: Outside of a transaction; nothing is held while Fal is asked.
        settings: Of this process.

    Raises:
        ConfigurationError: There is no FAL_KEY.
        ProviderError: Fal cannot be asked; nothing was changed.
    """
    from scene_pipeline.providers.fal_prices import FalPrices  # noqa: PLC0415  # httpx

    if not settings.fal_key:
        raise ConfigurationError(
            "Fal's price API needs a key, and FAL_KEY is not set.",
            code="fal_key_missing",
            next_action="Set FAL_KEY to your Fal key.",
        )
    async with conn.transaction():
        endpoints = await _endpoints(conn, settings)
    client = FalPrices(settings.fal_key, tls_context(settings.ssl_cert_file), settings.egress_proxy)
    try:
        fetched = client.ask(endpoints)
    finally:
        client.close()
    async with conn.transaction():
        for endpoint, price in fetched.prices.items():
            await keep_model_price(
                conn,
                provider=PROVIDER,
                endpoint=endpoint,
                unit=price.unit,
                unit_price_usd=price.unit_price,
                source=price.source,
            )
    return RenewedPrices(fetched.prices, fetched.refused)


async def _endpoints(conn: Connection, settings: Settings) -> list[str]:
    """Fal's models that may be paid for: those in use first, at most 500."""
    defaults = request_defaults(settings)
    wanted = dict.fromkeys([defaults.models[PROVIDER]])
    for project in await list_projects(conn):
        stored = await load_document(conn, project.id)
        try:
            document = read_document(stored.master_json, order=stored.scene_order)
        except UsageError:  # told by `run` and `status`; the other projects' models matter here
            continue
        wanted.update(dict.fromkeys(_models_of(document, defaults)))
    table = await load_prices(conn, settings)
    wanted.update(dict.fromkeys(name for provider, name in table.prices if provider == PROVIDER))
    return list(wanted)[:MAX_MODELS]


def _models_of(document: ProjectDocument, defaults: RequestDefaults) -> set[str]:
    models = set()
    for scene in document.scenes:
        try:
            request = resolve_request(
                document, scene, defaults, RequestOverrides(provider=PROVIDER)
            )
        except UsageError:  # the scene is invalid, and nothing is paid for it
            continue
        models.add(request.endpoint)
    return models
