"""Tables of reports: exact amounts, harmless cells, equal bytes for equal rows."""

import csv
import io
from datetime import date
from decimal import Decimal
from uuid import uuid4

import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # no stubs
import pytest

from scene_pipeline.database.measures import Money
from scene_pipeline.database.reporting import FailureLine, GenerationLine, ProjectLines, SceneLine
from scene_pipeline.pipeline.reporting.project_report import failure_codes, project_report_of
from scene_pipeline.pipeline.reporting.report_columns import Column
from scene_pipeline.pipeline.reporting.spending import dollars_each
from scene_pipeline.pipeline.reporting.tables import (
    ReportTable,
    Value,
    csv_bytes,
    parquet_bytes,
    table_of,
)

COLUMNS = (
    Column("name", "text", "A name."),
    Column("number", "integer", "A number."),
    Column("seconds", "seconds", "A time."),
    Column("cost_usd", "usd", "An amount."),
    Column("day", "day", "A day."),
)


def table(*rows: tuple[Value, ...]) -> ReportTable:
    return ReportTable("Things", COLUMNS, rows)


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode())))


def test_amounts_are_written_to_the_micro_dollar() -> None:
    amounts = [Decimal("0.000001"), Decimal("0.1") + Decimal("0.2"), Decimal(123456789)]
    rows = [("x", 1, 1.5, amount, date(2026, 11, 20)) for amount in amounts]

    written = cells(csv_bytes(table(*rows)))
    packed = pq.read_table(io.BytesIO(parquet_bytes(table(*rows))))

    assert written[0] == ["name", "number", "seconds", "cost_usd", "day"]
    assert [row[3] for row in written[1:]] == ["0.000001", "0.300000", "123456789.000000"]
    assert written[1][4] == "2026-11-20"
    assert packed.column("cost_usd").to_pylist() == amounts
    assert str(packed.schema.field("cost_usd").type) == "decimal128(18, 6)"
    assert packed.column("day").to_pylist() == [date(2026, 11, 20)] * 3


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_a_spreadsheet_would_compute_is_marked_as_text(beginning: str) -> None:
    hostile = f'{beginning}HYPERLINK("https://evil.example","x")'
    rows = table((hostile, -1, 0.0, Decimal(0), None))

    [_, row] = cells(csv_bytes(rows))
    packed = pd.read_parquet(io.BytesIO(parquet_bytes(rows)))

    # a carriage return is written as a line feed
    assert row == [f"'{hostile}".replace("\r", "\n"), "-1", "0.0", "0.000000", ""]
    assert packed["name"].tolist() == [hostile], "Parquet computes nothing"


@pytest.mark.parametrize("name", ["scene_1", "a,b", 'say "hi"', "two\nlines", "Szene Ä", "a=b"])
def test_every_other_text_stands_as_it_is(name: str) -> None:
    [_, row] = cells(csv_bytes(table((name, 1, 0.0, Decimal(0), None))))

    assert row[0] == name


@pytest.mark.parametrize("line_break", ["\r", "\r\n", "\n"])
def test_no_text_begins_a_row_of_its_own_whatever_takes_a_carriage_return_for_one(
    line_break: str,
) -> None:
    written = csv_bytes(table((f"scene{line_break}=1+1", 1, 0.0, Decimal(0), None)))

    assert b"\r" not in written
    assert len(cells(written)) == 2


def test_equal_rows_make_equal_bytes_and_none_make_a_heading() -> None:
    rows = table(("x", None, None, None, None))

    assert csv_bytes(rows) == csv_bytes(table(("x", None, None, None, None)))
    assert parquet_bytes(rows) == parquet_bytes(table(("x", None, None, None, None)))
    assert csv_bytes(table()) == b"name,number,seconds,cost_usd,day\n"
    assert pq.read_table(io.BytesIO(parquet_bytes(table()))).column_names == [
        column.name for column in COLUMNS
    ]


def test_a_table_takes_its_columns_of_larger_records() -> None:
    made = table_of("Names", COLUMNS[:1], [{"number": 3, "name": "x"}])

    assert made.records() == [{"name": "x"}]


def test_an_amount_for_each_of_nothing_is_unknown() -> None:
    assert dollars_each(Money(10), 0) is None
    assert dollars_each(Money(4, 3, 3), 3) == Decimal("0.000003")


def test_large_amounts_are_added_up_exactly() -> None:
    micros = 2**53 + 1  # the first whole number that a binary fraction cannot hold
    lines = [
        GenerationLine("s", "fal", "dev", 1, 1.0, micros, kind, 1, 1, True, True)
        for kind in ("metered", "estimated", "metered")
    ]
    scene = SceneLine("s", "current", 3, 3, "fal", "dev")

    report = project_report_of(ProjectLines(uuid4(), "film", None, [scene], lines, [], []))

    assert report.totals.money.metered_micros == 2 * micros
    assert report.totals.money.total_micros == 3 * micros + 3
    assert report.totals.money.wasted_micros == 3
    [row] = report.scenes.records()
    assert row["cost_usd"] == Decimal(3 * micros + 3) / 1_000_000


def test_failures_are_told_by_code_the_most_frequent_first() -> None:
    lines = [
        FailureLine("s", "fal", "dev", code, number)
        for code, number in (("b_failed", 1), ("a_failed", 1), ("timeout", 2), ("timeout", 3))
    ]

    assert failure_codes(lines) == "timeout x5, a_failed, b_failed"
    assert failure_codes([]) is None
