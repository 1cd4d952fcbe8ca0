"""Database URLs: one spelling per driver, made from whatever the user wrote.

Belongs here: text in, text out. Does not belong here: opening a connection (`session`).

Three readers disagree about schemes: libpq and psycopg 3 know `postgresql://` alone, and SQLAlchemy
2.1 takes that bare scheme for psycopg 3, with which Dagster's event log fails (its NOTIFY has
server-side parameters). So each reader is given the spelling that it needs.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, quote

from scene_pipeline.errors import ConfigurationError

SCHEMES = ("postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2")
SHOWN_PARAMETERS = ("host", "port", "dbname", "sslmode")
"""Query parameters that may be shown; every other one may be a secret."""

_FORM = re.compile(
    r"(?P<scheme>[A-Za-z0-9+]+)://(?:(?P<user>[^@/?:]*)(?P<password>:[^@/?]*)?@)?"
    r"(?P<hosts>[^@/?]*)(?P<database>/[^?]*)?(?:\?(?P<query>.*))?"
)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A URL taken apart; every part still percent-encoded as it was."""

    user: str
    password: str
    hosts: str
    database: str
    query: str

    @classmethod
    def of(cls, url: str) -> Self:
        match = _FORM.fullmatch(url.strip())
        if match is None or match["scheme"].lower() not in SCHEMES:
            # The text itself is not repeated: it may hold a password.
            raise ConfigurationError(
                "The database URL is not one of the form postgresql://user:password@host:5432/name.",
                code="database_url_invalid",
                next_action="Correct DATABASE_URL or DAGSTER_DATABASE_URL; special characters of a "
                "password are percent-encoded.",
            )
        return cls(
            *(match[name] or "" for name in ("user", "password", "hosts", "database", "query"))
        )

    def assemble(self, scheme: str) -> str:
        credentials = f"{self.user}{self.password}@" if self.user or self.password else ""
        query = f"?{self.query}" if self.query else ""
        return f"{scheme}://{credentials}{self.hosts}{self.database}{query}"

    def assemble_for_sqlalchemy(self, driver: str) -> str:
        """As `assemble`, but several hosts, `a:1,b:2`, are named as SQLAlchemy expects them."""
        parts = self
        if "," in self.hosts:
            hosts = "&".join(f"host={quote(host, safe=':')}" for host in self.hosts.split(","))
            query = f"{hosts}&{self.query}" if self.query else hosts
            parts = _Parts(self.user, self.password, "", self.database or "/", query)
        return parts.assemble(f"postgresql+{driver}")


def application_url(url: str) -> str:
    """The URL for psycopg 3, `postgresql://...`.

    Raises:
        ConfigurationError: Another scheme, or not a URL.
    """
    return _Parts.of(url).assemble("postgresql")


def alembic_url(url: str) -> str:
    """The URL for SQLAlchemy over psycopg 3, `postgresql+psycopg://...`.

    Raises:
        ConfigurationError: Another scheme, or not a URL.
    """
    return _Parts.of(url).assemble_for_sqlalchemy("psycopg")


def dagster_url(url: str) -> str:
    """The URL for Dagster's storages, `postgresql+psycopg2://...`.

    Raises:
        ConfigurationError: Another scheme, or not a URL.
    """
    return _Parts.of(url).assemble_for_sqlalchemy("psycopg2")


def redacted(url: str) -> str:
    """The URL as it may be shown: without password and without unknown parameters."""
    parts = _Parts.of(url)
    shown = "&".join(
        f"{name}={value}" for name, value in parse_qsl(parts.query) if name in SHOWN_PARAMETERS
    )
    return _Parts(parts.user, "", parts.hosts, parts.database, shown).assemble("postgresql")
