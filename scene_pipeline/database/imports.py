"""Imports: rows that stand for one thing each that is to come into the library.

Belongs here: asking for them, reading them, and their states while a run works on them. Does not
belong here: which are due for a run (`import_launches`), and uploads that have not arrived
(`uploads`).

Only the row decides whether there is work: a run takes the lock of the import first
(`import_lock`), then moves the row, each time from the state it expects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString
from uuid import UUID, uuid4

from psycopg.errors import ForeignKeyViolation
from psycopg.types.json import Jsonb

from scene_pipeline.database.events import EventKind, append_event
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.scenes.identity import AssetKind

ImportState = Literal["awaiting_upload", "pending", "running", "done", "failed", "expired"]
OPEN_IMPORT: LiteralString = "state IN ('pending', 'running')"
"""The condition of an import that is still to be carried out, in SQL."""
EXPECTED_IMPORT: LiteralString = "state IN ('awaiting_upload', 'pending', 'running')"
"""The condition of one that a run will or may still be needed for."""
MAX_ASKED = 1000
"""Imports that one call asks for at most."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """An address whose contents are wanted in the library, and what is to be said of them."""

    source_url: str
    kind: AssetKind
    name: str | None = None
    """None: what the address calls it."""
    tags: tuple[str, ...] = ()
    project_id: UUID | None = None
    client_id: str | None = None
    campaign_id: str | None = None
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    replace_asset_id: str | None = None
    """The asset that is to have these bytes from now on, instead of a new one."""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A row of `asset_imports`, with its project's key."""

    id: UUID
    seq: int
    batch_id: UUID
    user_id: str | None
    client_id: str | None
    campaign_id: str | None
    project_id: UUID | None
    project_key: str | None
    kind: AssetKind
    name: str | None
    tags: list[str]
    metadata: Mapping[str, Any]
    replace_asset_id: str | None
    source: Literal["url", "upload"]
    source_url: str | None
    """As it was given while it is open; without its query afterwards."""
    upload_key: str | None
    upload_content_type: str | None
    upload_max_bytes: int | None
    state: ImportState
    due_at: datetime
    attempts: int
    launch_id: UUID | None
    run_id: str | None
    bytes_received: int
    bytes_total: int | None
    asset_id: str | None
    is_duplicate: bool
    error_code: str | None
    error_message: str | None
    error_next_action: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AskedImports:
    """What was asked for together."""

    batch_id: UUID
    imports: tuple[ImportRow, ...]
    """One per request, in their order; the same one twice where an address was given twice, and an
    older one where the same was waiting already."""


# The key by a subquery: a join would read all projects where the statistics mislead.
_KEY: LiteralString = "(SELECT p.key FROM projects p WHERE p.id = i.project_id) AS project_key"
IMPORT_COLUMNS: str = ", ".join(
    _KEY if one.name == "project_key" else f"i.{one.name}" for one in fields(ImportRow)
)
_SAME: LiteralString = (
    # By its digest first, which an index has: an address may be too long for one.
    "i.source = 'url' AND md5(i.source_url) = md5(%(source_url)s)"
    " AND i.source_url = %(source_url)s AND i.kind = %(kind)s"
    " AND i.project_id IS NOT DISTINCT FROM %(project_id)s"
    " AND i.client_id IS NOT DISTINCT FROM %(client_id)s"
    " AND i.campaign_id IS NOT DISTINCT FROM %(campaign_id)s"
    " AND i.user_id IS NOT DISTINCT FROM %(user_id)s"
    " AND i.replace_asset_id IS NOT DISTINCT FROM %(replace_asset_id)s"
)


def import_lock(import_id: UUID) -> str:
    """Name of the lock that whoever works on an import holds."""
    return f"import:{import_id}"


async def ask_for_imports(
    conn: Connection,
    requests: Sequence[ImportRequest],
    *,
    due_in: timedelta = timedelta(0),
    launch_id: UUID | None = None,
) -> AskedImports:
    """Ask for addresses to be imported; what waits in the same place already is not asked twice.

    Args:
        conn: Outside of a transaction.
        requests: At most `MAX_ASKED`.
        due_in: When the sensor is to launch a run for them; a command that carries them out itself
            leaves it time for that.
        launch_id: Of the run that will carry them out, where the caller launches it.

    Raises:
        UsageError: There are more; nothing was asked for.
        NotFoundError: There is no such asset to be replaced, or it is a frame; likewise.
    """
    if len(requests) > MAX_ASKED:
        raise UsageError(
            f"{len(requests)} addresses are too many at once.",
            code="too_many_imports",
            next_action=f"Give at most {MAX_ASKED}.",
        )
    batch_id = uuid4()
    found: list[ImportRow] = []
    async with conn.transaction():
        await hold_back_requests(conn)
        for request in requests:
            values = {
                **{one.name: getattr(request, one.name) for one in fields(request)},
                "tags": list(request.tags),
                "metadata": Jsonb(dict(request.metadata)),
                "batch_id": batch_id,
                "due_in": due_in,
                "launch_id": launch_id,
                "attempts": int(launch_id is not None),
            }
            found.append(await _joined(conn, values) or await _inserted(conn, values))
    return AskedImports(batch_id, tuple(found))


async def hold_back_requests(conn: Connection) -> None:
    """Let nobody else ask for imports before the caller's transaction has ended.

    Two callers cannot ask for the same address at once then, and a partition that no import needs
    is not needed a moment later.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('asset_imports', 0))")


async def _joined(conn: Connection, values: Mapping[str, object]) -> ImportRow | None:
    """The import of the same that is open: one that waits is tried at once and anew.

    One that a run works on keeps its times; a caller that launches a run is given it all the same,
    for that run may be dead.
    """
    cursor = await conn.execute(
        "UPDATE asset_imports i SET"
        " attempts = CASE i.state WHEN 'pending' THEN %(attempts)s ELSE i.attempts END,"
        " due_at = CASE i.state WHEN 'pending' THEN now() + %(due_in)s ELSE i.due_at END,"
        " launch_id = CASE i.state WHEN 'pending' THEN %(launch_id)s"
        "   ELSE coalesce(%(launch_id)s, i.launch_id) END"
        f" WHERE i.id = (SELECT i.id FROM asset_imports i WHERE i.{OPEN_IMPORT} AND {_SAME}"
        f"   ORDER BY i.seq LIMIT 1) AND i.{OPEN_IMPORT} RETURNING {IMPORT_COLUMNS}",
        values,
    )
    row = await cursor.fetchone()
    return ImportRow(**row) if row else None


async def _inserted(conn: Connection, values: Mapping[str, object]) -> ImportRow:
    try:
        cursor = await conn.execute(
            "INSERT INTO asset_imports AS i (batch_id, user_id, client_id, campaign_id, project_id,"
            " kind, name, tags, metadata, replace_asset_id, source, source_url, due_at, attempts,"
            " launch_id)"
            " VALUES (%(batch_id)s, %(user_id)s, %(client_id)s, %(campaign_id)s, %(project_id)s,"
            " %(kind)s, %(name)s, %(tags)s, %(metadata)s, %(replace_asset_id)s, 'url',"
            " %(source_url)s, now() + %(due_in)s,"
            f" %(attempts)s, %(launch_id)s) RETURNING {IMPORT_COLUMNS}",
            values,
        )
    except ForeignKeyViolation as error:
        if values["replace_asset_id"] is None:
            raise
        raise NotFoundError(
            f"There is no asset {str(values['replace_asset_id'])[:80]!r} of yours to be replaced.",
            code="asset_unknown",
            next_action="Run `scene-pipeline assets list`; frames are not replaced.",
        ) from error
    row = await cursor.fetchone()
    if row is None:  # an INSERT without a conflict clause returns its row
        raise RuntimeError("an import was not written")
    return ImportRow(**row)


async def get_import(conn: Connection, import_id: UUID) -> ImportRow | None:
    """Read one import."""
    cursor = await conn.execute(
        f"SELECT {IMPORT_COLUMNS} FROM asset_imports i WHERE i.id = %s", (import_id,)
    )
    row = await cursor.fetchone()
    return ImportRow(**row) if row else None


async def list_imports(
    conn: Connection, project_id: UUID | None = None, *, limit: int
) -> list[ImportRow]:
    """Imports of a project, or of all and of none, the newest first."""
    condition: LiteralString = "true" if project_id is None else "i.project_id = %(project)s"
    cursor = await conn.execute(
        f"SELECT {IMPORT_COLUMNS} FROM asset_imports i WHERE {condition}"
        " ORDER BY i.seq DESC LIMIT %(limit)s",
        {"project": project_id, "limit": limit},
    )
    return [ImportRow(**row) for row in await cursor.fetchall()]


async def open_imports(
    conn: Connection, project_id: UUID | None, launch_id: UUID | None, limit: int
) -> list[ImportRow]:
    """What a run is to carry out, the oldest first.

    Args:
        conn: Of the caller.
        project_id: Whose partition; None for what belongs to no project.
        launch_id: What the run was launched for; None for everything that is open.
        limit: Most rows.
    """
    cursor = await conn.execute(
        f"SELECT {IMPORT_COLUMNS} FROM asset_imports i WHERE i.{OPEN_IMPORT}"
        " AND i.project_id IS NOT DISTINCT FROM %(project)s"
        " AND (%(launch)s::uuid IS NULL OR i.launch_id = %(launch)s)"
        " ORDER BY i.seq LIMIT %(limit)s",
        {"project": project_id, "launch": launch_id, "limit": limit},
    )
    return [ImportRow(**row) for row in await cursor.fetchall()]


async def append_import_event(
    conn: Connection, row: ImportRow, kind: EventKind, data: Mapping[str, Any]
) -> None:
    """Append an event about an import, inside the caller's transaction."""
    await append_event(
        conn,
        kind,
        project_id=row.project_id,
        import_id=row.id,
        run_id=row.run_id,
        data={"source": row.source, **data},
    )
