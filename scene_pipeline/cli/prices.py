"""`prices`: what models cost, since when, and who says so.

Belongs here: showing. Does not belong here: which price wins (`pipeline.prices`).
"""

from typing import TYPE_CHECKING

from scene_pipeline.cli.session import in_database, open_databases
from scene_pipeline.cli.tables import SceneTable
from scene_pipeline.cli.terminal import Terminal, plain
from scene_pipeline.cli.wording import plural
from scene_pipeline.pipeline.facts import dollars
from scene_pipeline.pipeline.prices import RenewedPrices, load_prices, renew_prices
from scene_pipeline.providers.prices import CURRENCY, Price, PriceTable
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

_REFUSED_SHOWN = 20


def show_prices(terminal: Terminal, *, refresh: bool) -> int:
    """Show the prices in force, renewed first where that is asked for; returns the exit code.

    Raises:
        ConfigurationError: The file of prices cannot be used, or there is no key to ask with.
        ProviderError: The price API cannot be asked; nothing was changed.
    """
    settings = load_settings()

    async def read(conn: "Connection") -> tuple[PriceTable, RenewedPrices | None]:
        renewed = await renew_prices(conn, settings) if refresh else None
        return await load_prices(conn, settings), renewed

    with open_databases(settings, terminal) as urls, terminal.waiting("Looking prices up"):
        table, renewed = in_database(urls.application, read)
    entries = sorted(table.prices.items())
    if terminal.is_json:
        document: dict[str, object] = {
            "currency": CURRENCY,
            "prices": [
                {
                    "provider": provider,
                    "model": endpoint,
                    "unit_price_usd": float(price.unit_price),
                    "unit": price.unit,
                    "as_of": price.as_of.isoformat(),
                    "layer": price.layer,
                    "source": price.source,
                }
                for (provider, endpoint), price in entries
            ],
        }
        if renewed is not None:
            document["refreshed"] = sorted(renewed.prices)
            document["refused"] = dict(sorted(renewed.refused.items()))
        terminal.document(document)
        return 0
    rows = SceneTable(terminal, ["model", "provider", "cost", "for a", "as of", "says"])
    for (provider, endpoint), price in entries:
        rows.add(
            endpoint,
            provider,
            dollars(price.unit_price),
            price.unit,
            price.as_of.isoformat(),
            _says(price),
        )
    rows.show()
    terminal.say()
    if renewed is None:
        terminal.say("Prices change; `scene-pipeline prices --refresh` asks Fal.", style="dim")
        return 0
    terminal.say(f"{plural(len(renewed.prices), 'price')} renewed from Fal.", style="bold")
    for endpoint, why in sorted(renewed.refused.items())[:_REFUSED_SHOWN]:
        terminal.say(plain(f"  {endpoint}: {why}; what was known stays."), style="yellow")
    if len(renewed.refused) > _REFUSED_SHOWN:
        terminal.say(f"  and {len(renewed.refused) - _REFUSED_SHOWN} more; --json names them all")
    return 0


def _says(price: Price) -> str:
    return f"your file {price.source}" if price.layer == "file" else price.source
