"""Tables of reports: plain rows under columns, and their bytes as CSV and Parquet.

Belongs here: what a table is, and writing it. Does not belong here: what is in one
(`project_report`, `portfolio_report`).

Amounts are whole micro-dollars while they are added up and exact decimals when they are written;
nothing that is money is ever a binary fraction. Equal rows make equal bytes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from scene_pipeline.pipeline.reporting.report_columns import Column

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | Decimal | date | None

# What spreadsheets take for the beginning of a formula.
_FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\n")


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Rows under columns, of plain values: text, whole numbers, seconds, dollars, days."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def records(self) -> list[dict[str, Value]]:
        """Every row by the names of the columns."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def table_of(
    title: str, columns: Sequence[Column], records: Sequence[Mapping[str, Value]]
) -> ReportTable:
    """A table of records that name every column, and perhaps more."""
    rows = tuple(tuple(record[column.name] for column in columns) for record in records)
    return ReportTable(title, tuple(columns), rows)


def csv_bytes(table: ReportTable) -> bytes:
    """Write a table as CSV: UTF-8, a line of headings, dollars with six places.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, as spreadsheets
    themselves mark text; a carriage return becomes a line feed, since a field that holds one is not
    quoted, and what follows would begin a row; every other text stands as it is.
    """
    texts = [
        [_csv_value(column, value) for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    frame = _frame(table, texts)
    target = io.StringIO()
    frame.to_csv(target, index=False, lineterminator="\n")
    return target.getvalue().encode()


def parquet_bytes(table: ReportTable) -> bytes:
    """Write a table as Parquet: texts as they are, dollars as decimal(18, 6)."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # heavy, and no stubs

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "seconds": pa.float64(),
        "usd": pa.decimal128(18, 6),
        "day": pa.date32(),
    }
    schema = pa.schema(
        [
            pa.field(column.name, types[column.kind], metadata={"description": column.meaning})
            for column in table.columns
        ]
    )
    target = io.BytesIO()
    _frame(table, table.rows).to_parquet(
        target, engine="pyarrow", index=False, schema=schema, compression="zstd"
    )
    return target.getvalue()


def _frame(table: ReportTable, rows: Sequence[Sequence[Value]]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  # a third of a second of imports, for tables only

    names = [column.name for column in table.columns]
    return pd.DataFrame([list(row) for row in rows], columns=names, dtype=object)


def _csv_value(column: Column, value: Value) -> str:
    if value is None:
        return ""
    if column.kind == "usd" and isinstance(value, Decimal):
        return f"{value:.6f}"
    if column.kind == "text":
        text = str(value).replace("\0", "")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return f"'{text}" if text.startswith(_FORMULA_BEGINNINGS) else text
    return str(value)
