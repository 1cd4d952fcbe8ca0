"""Looks for secrets in everything that a program leaves behind."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

SIGNATURES = re.compile(
    r"Authorization|X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId=|[?&]Signature=",
    re.IGNORECASE,
)
"""An authorization header, or the query string of a signed URL."""


@dataclass
class SecretSearch:
    """Values that must be found nowhere, and where they were found."""

    secrets: Mapping[str, str]
    """By the name that a complaint may show."""
    found: list[str] = field(default_factory=list)
    searched: int = 0
    """Characters that were looked through."""

    def text(self, place: str, text: str) -> None:
        self.searched += len(text)
        for name, value in self.secrets.items():
            if value in text:
                self._complain(place, name, text, text.index(value))
        for match in SIGNATURES.finditer(text):
            self._complain(place, match.group(), text, match.start())

    def files(self, directory: Path, *, except_under: Iterable[Path] = ()) -> None:
        for path in directory.rglob("*"):
            is_excepted = any(path.is_relative_to(place) for place in except_under)
            if path.is_file() and not path.is_symlink() and not is_excepted:
                self.text(
                    str(path.relative_to(directory)), path.read_bytes().decode(errors="replace")
                )

    def database(self, url: str) -> None:
        """Every column of every row of every table, as text."""
        with psycopg.connect(url) as conn:
            tables = conn.execute(
                "SELECT table_schema, table_name FROM information_schema.tables"
                " WHERE table_type = 'BASE TABLE'"
                " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for schema, table in tables:
                rows = conn.execute(
                    sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
                )
                for (row,) in rows:
                    self.text(f"table {table}", row)

    def _complain(self, place: str, name: str, text: str, at: int) -> None:
        around = text[max(0, at - 60) : at + 20].replace("\n", " ")
        self.found.append(f"{name} in {place}: ...{around}...")
