"""Tables of reports as Dagster shows them.

Belongs here: turning them into metadata, within bounds. Does not belong here: what is in them
(`pipeline.reporting`).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import dagster as dg

from scene_pipeline.defs.catalogue import table_schema
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


def catalogue_columns(columns: Iterable[Column]) -> list[CatalogueColumn]:
    """Columns of a report's table as the catalogue tells them."""
    return [(column.name, _TYPES[column.kind], column.meaning) for column in columns]


def table_metadata(table: "ReportTable") -> dg.TableMetadataValue:
    """Show the first 100 rows of a table; a last row says how many more there are."""
    records = [
        dg.TableRecord({name: _shown(value) for name, value in record.items()})
        for record in table.records()[:MAX_TABLE_ROWS]
    ]
    hidden = len(table.rows) - len(records)
    if hidden:
        nothing = dict.fromkeys(column.name for column in table.columns)
        more = {table.columns[0].name: f"and {hidden} more: see the files"}
        records.append(dg.TableRecord({**nothing, **more}))
    return dg.MetadataValue.table(records, schema=table_schema(catalogue_columns(table.columns)))


def _shown(value: "Value") -> str | int | float | None:
    """Numbers stay numbers; an amount is rounded by nobody but the browser."""
    match value:
        case None | int() | float():
            return value
        case Decimal():
            return float(value)
        case _:
            text = str(value)
            return (
                text if len(text) <= _MAX_TEXT_LENGTH else f"{text[: _MAX_TEXT_LENGTH - 1]}\u2026"
            )
