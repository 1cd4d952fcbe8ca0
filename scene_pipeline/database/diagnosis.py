"""What `doctor` says about the database.

Belongs here: checks that change nothing, each with its cure. Does not belong here: printing them.
"""

import importlib.util
import secrets
from importlib.metadata import version as installed_version

import psycopg

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.layout import APPLICATION_DATABASE
from scene_pipeline.database.migrations import HEAD_REVISION, schema_version
from scene_pipeline.database.session import check_server, connect
from scene_pipeline.database.urls import dagster_url, redacted
from scene_pipeline.errors import UsageError
from scene_pipeline.findings import Finding
from scene_pipeline.settings import Settings

TESTED_MAJORS = range(15, 19)
_HOLDS_LOCK = (
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND pid = pg_backend_pid() AND objsubid = 1"
    " AND ((classid::bigint << 32) | objid::bigint) = %s) AS is_held"
)


def diagnose_database(settings: Settings) -> list[Finding]:
    """Look at the application's database and Dagster's; the embedded server is started for it.

    Returns:
        At least one finding; later checks are left out where an earlier one makes them pointless.
    """
    findings = _diagnose_dagster(settings)
    try:
        if settings.database_url is not None:
            return [*_diagnose_server(settings.database_url), *findings]
        with embedded.attach(settings.home_directory) as server:
            place = Finding(
                "embedded database",
                is_ok=True,
                detail=_where(settings, server),
            )
            return [*_diagnose_server(server.url(APPLICATION_DATABASE)), place, *findings]
    except UsageError as error:
        return [_failed("database server", error), *findings]


def _diagnose_server(url: str) -> list[Finding]:
    version = check_server(url)
    is_tested = int(version.split(".")[0]) in TESTED_MAJORS
    remark = "" if is_tested else ", newer than any that was tested"
    server = Finding(
        "database server", is_ok=True, detail=f"PostgreSQL {version} at {redacted(url)}{remark}."
    )
    return [server, _diagnose_schema(url), _diagnose_locks(url)]


def _diagnose_schema(url: str) -> Finding:
    try:
        revision = schema_version(url)
    except UsageError as error:
        return _failed("database schema", error)
    except psycopg.Error as error:
        return Finding(
            "database schema",
            is_ok=False,
            detail=f"The schema's version cannot be read: {str(error).splitlines()[0]}.",
            cure="Give the user of DATABASE_URL the right to read and create tables.",
        )
    if revision == HEAD_REVISION:
        detail = f"Schema {revision}, the newest."
    else:
        found = f"Schema {revision}" if revision else "No schema yet"
        detail = f"{found}; the next command that needs it brings it to {HEAD_REVISION}."
    return Finding("database schema", is_ok=True, detail=detail)


def _diagnose_locks(url: str) -> Finding:
    """Tell a transaction pooler, under which two processes could pay for the same frame."""
    key = secrets.randbits(62)
    with connect(url, autocommit=True) as holder, connect(url, autocommit=True) as other:
        holder.execute("SELECT pg_advisory_lock(%s)", [key])
        # A pooler that hands connections out by the transaction gives away the one just used.
        with other.transaction():
            other.execute("SELECT 1")
            row = holder.execute(_HOLDS_LOCK, [key]).fetchone()
        is_held = bool(row and row["is_held"])
        if is_held:
            holder.execute("SELECT pg_advisory_unlock(%s)", [key])
    if is_held:
        return Finding("database locks", is_ok=True, detail="Session advisory locks hold.")
    return Finding(
        "database locks",
        is_ok=False,
        detail="Session advisory locks are lost between statements: a pooler by transaction.",
        cure="Let DATABASE_URL point at the server itself, or at a pooler in session mode.",
    )


def _diagnose_dagster(settings: Settings) -> list[Finding]:
    name = "Dagster's database"
    if importlib.util.find_spec("psycopg2") is None:
        return [
            Finding(
                name,
                is_ok=False,
                detail="psycopg2, by which Dagster reaches PostgreSQL, is not installed.",
                cure="Install psycopg2-binary.",
            )
        ]
    given = settings.dagster_database_url
    if given is None:
        detail = "Dagster is given its URL as postgresql+psycopg2://."
        return [Finding(name, is_ok=True, detail=detail)]
    try:
        wanted = dagster_url(given)
        version = check_server(given)
    except UsageError as error:
        return [_failed(name, error)]
    if not given.strip().startswith(wanted.split("://", maxsplit=1)[0] + "://"):
        return [
            Finding(
                name,
                is_ok=False,
                detail="DAGSTER_DATABASE_URL does not say postgresql+psycopg2://: our own commands "
                "correct that, but Dagster's, with SQLAlchemy "
                f"{installed_version('sqlalchemy')}, take another driver and fail.",
                cure="Let DAGSTER_DATABASE_URL start with postgresql+psycopg2://.",
            )
        ]
    return [Finding(name, is_ok=True, detail=f"PostgreSQL {version} at {redacted(given)}.")]


def _where(settings: Settings, server: embedded.EmbeddedServer) -> str:
    detail = f"Data in {server.location}, programs in {server.programs}"
    if not server.location.is_relative_to(settings.home_directory):
        detail += ", since PostgreSQL's unprivileged user cannot reach the project's directory"
    return f"{detail}."


def _failed(name: str, error: UsageError) -> Finding:
    return Finding(name, is_ok=False, detail=error.message, cure=error.next_action)
