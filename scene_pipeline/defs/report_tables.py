"""Tables of reports as Dagster shows them.

Belongs here: turning them into metadata, within bounds, and which of their columns are shown: on a
page of 1,440 pixels the UI cuts off what is wider than 650, and with it every other line of the
page. The files have all columns. Does not belong here: what is in them (`pipeline.reporting`).
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import dagster as dg

from scene_pipeline.defs.catalogue import table_schema
from scene_pipeline.defs.columns import MAX_ACTION_CHARACTERS
from scene_pipeline.defs.columns import Column as CatalogueColumn
from scene_pipeline.defs.upkeep_work import MAX_TABLE_ROWS
from scene_pipeline.pipeline.reporting.report_columns import Column

if TYPE_CHECKING:
    from scene_pipeline.pipeline.reporting.tables import ReportTable, Value

_TYPES: Final = {
    "text": "string",
    "integer": "int64",
    "seconds": "float64",
    "usd": "decimal(18,6)",
    "day": "date",
}
_MAX_TEXT_LENGTH = 200

SCENES_SHOWN: Final = (
    "scene_id", "state", "version", "attempts", "failures", "cost_usd", "wasted_usd"
)  # fmt: skip
MODELS_SHOWN: Final = ("model", "frames", "attempts", "failures", "cost_usd", "wasted_usd")
FAILURES_SHOWN: Final = ("code", "failures", "scenes", "said", "next_action")
PROJECTS_SHOWN: Final = (
    "project", "ready", "not_ready", "failures", "cost_usd", "last_7_days_usd"
)  # fmt: skip
DAYS_SHOWN: Final = ("day", "attempts", "versions", "cost_usd")
"""In the order in which they matter."""


def catalogue_columns(columns: Iterable[Column]) -> list[CatalogueColumn]:
    """Columns of a report's table as the catalogue tells them."""
    return [(column.name, _TYPES[column.kind], column.meaning) for column in columns]


def table_metadata(table: "ReportTable", names: Sequence[str]) -> dg.TableMetadataValue:
    """Show the first 100 rows of a table; a last row says how many more there are.

    Args:
        table: The table.
        names: The columns that are shown, in their order; the first one has room for words.
    """
    records = [
        dg.TableRecord({name: _shown(name, record[name]) for name in names})
        for record in table.records()[:MAX_TABLE_ROWS]
    ]
    hidden = len(table.rows) - len(records)
    if hidden:
        more = {names[0]: f"and {hidden} more: see the files"}
        records.append(dg.TableRecord({**dict.fromkeys(names), **more}))
    by_name = {column.name: column for column in table.columns}
    columns = catalogue_columns(by_name[name] for name in names)
    return dg.MetadataValue.table(records, schema=table_schema(columns))


def _shown(name: str, value: "Value") -> str | int | float | None:
    """Numbers stay numbers; an amount is rounded by nobody but the browser."""
    match value:
        case None | int() | float():
            return value
        case Decimal():
            return float(value)
        case _:
            text = str(value)
            longest = MAX_ACTION_CHARACTERS if name == "next_action" else _MAX_TEXT_LENGTH
            return text if len(text) <= longest else f"{text[: longest - 1]}\u2026"
