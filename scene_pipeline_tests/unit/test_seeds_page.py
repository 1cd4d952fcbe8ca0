"""docs/seeds.md ticks a row only with a test that is there."""

import re
from pathlib import Path

import pytest

from scene_pipeline_tests.unit.test_guarantees import PACKAGE, TESTS, names_in

PAGE = (PACKAGE.parent / "docs" / "seeds.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| asked for")
]


def test_every_document_has_its_table() -> None:
    assert len(re.findall(r"^## ", PAGE, flags=re.MULTILINE)) == 5
    assert len(ROWS) > 70


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_a_row_is_ticked_by_a_test(row: list[str]) -> None:
    asked, here, shown = row

    assert asked
    assert here
    assert shown.startswith("✓ ")
    named = re.findall(r"`(\w+/test_\w+\.py)::(\w+)`", shown)
    assert named
    for file, test in named:
        path: Path = TESTS / file
        assert path.is_file(), file
        assert test in names_in(path), f"{file}::{test}"
