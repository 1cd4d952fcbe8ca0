"""Where the library, its uploads and the register may disagree: read in pages, and the repairs.

What the register counts of an object is the number of rows that refer to it. A count is repaired
with the object's row locked: whoever adds or releases a reference changes the same row in the
transaction of its own, so that what is counted under the lock is what holds.

Belongs here: SQL. Does not belong here: versions of scenes (`database.drift`), what is done about a
disagreement (`pipeline.upkeep.drift_library`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from scene_pipeline.database.derivatives import DerivativeForm
from scene_pipeline.database.imports import EXPECTED_IMPORT
from scene_pipeline.database.rows import Connection

_REFERENCES: LiteralString = (
    "SELECT storage_path AS key FROM scene_images WHERE storage_path {range}"
    " UNION ALL SELECT storage_key FROM user_assets"
    "  WHERE storage_key {range} AND deleted_at IS NULL"
    " UNION ALL SELECT storage_key FROM derivatives WHERE storage_key {range}"
    " UNION ALL SELECT storage_path FROM storyboards WHERE storage_path {range}"
    " UNION ALL SELECT storage_path FROM report_files WHERE storage_path {range}"
    " UNION ALL SELECT upload_key FROM asset_imports"
    f"  WHERE upload_key {{range}} AND {EXPECTED_IMPORT}"
)
"""One row for every reference to an object; with `{range}` to say which objects."""
_OF_PAGE: LiteralString = "BETWEEN %(first)s AND %(last)s"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A page of the register: objects from one key to another, both included."""

    first: str
    last: str

    @property
    def values(self) -> Mapping[str, Any]:
        """As parameters of a statement."""
        return {"first": self.first, "last": self.last}


@dataclass(frozen=True, slots=True)
class MiscountedObject:
    """An object that is counted otherwise than rows refer to it."""

    key: str
    state: str
    refcount: int
    references: int


@dataclass(frozen=True, slots=True)
class LibraryObjectUse:
    """An object that an asset has, or a derivative of a picture is."""

    key: str
    state: str
    sha256: str | None
    size_bytes: int | None
    asset_row: int | None
    """`user_assets.id`; None for a derivative."""
    asset_id: str | None
    url: str | None
    """As the asset's row has it."""
    is_copied: bool
    """Whether it was brought to another store, whose address the row may have by now."""
    source_key: str | None
    """Of a derivative."""
    form: DerivativeForm | None


async def next_page(conn: Connection, after_key: str, limit: int) -> KeyRange | None:
    """The next objects of the register in the order of their keys; None after the last."""
    cursor = await conn.execute(
        "SELECT min(key) AS first, max(key) AS last FROM ("
        "  SELECT key FROM storage_objects WHERE key > %s ORDER BY key LIMIT %s) page",
        (after_key, limit),
    )
    row = await cursor.fetchone()
    return KeyRange(row["first"], row["last"]) if row and row["first"] is not None else None


async def miscounted_objects(conn: Connection, page: KeyRange) -> list[MiscountedObject]:
    """Objects of a page whose count is not the number of rows that refer to them."""
    cursor = await conn.execute(
        "SELECT o.key, o.state, o.refcount, coalesce(c.n, 0)::integer AS references"
        " FROM storage_objects o LEFT JOIN ("
        f"   SELECT key, count(*) AS n FROM ({_REFERENCES.format(range=_OF_PAGE)}) r GROUP BY key"
        f" ) c ON c.key = o.key WHERE o.key {_OF_PAGE} AND o.refcount <> coalesce(c.n, 0)"
        " ORDER BY o.key".encode(),
        page.values,
    )
    return [MiscountedObject(**row) for row in await cursor.fetchall()]


async def library_objects(conn: Connection, page: KeyRange) -> list[LibraryObjectUse]:
    """What assets and derivatives have of a page, in the order of the keys."""
    cursor = await conn.execute(
        "SELECT o.key, o.state, o.sha256, o.size_bytes, u.asset_row, u.asset_id, u.url,"
        " EXISTS (SELECT 1 FROM storage_copies c WHERE c.key = o.key) AS is_copied,"
        " u.source_key, u.form FROM ("
        "   SELECT storage_key, id AS asset_row, asset_id, url, NULL AS source_key, NULL AS form"
        f"   FROM user_assets WHERE storage_key {_OF_PAGE} AND deleted_at IS NULL"
        "   UNION ALL SELECT storage_key, NULL, NULL, NULL, source_key, form"
        f"   FROM derivatives WHERE storage_key {_OF_PAGE}"
        " ) u JOIN storage_objects o ON o.key = u.storage_key ORDER BY o.key, u.asset_row",
        page.values,
    )
    return [LibraryObjectUse(**row) for row in await cursor.fetchall()]


async def recount_object(conn: Connection, seen: MiscountedObject) -> bool:
    """Count an object's references anew; one that nothing needs gets a new period of grace.

    Returns:
        False where it was counted otherwise meanwhile, or the collector has it: nothing is changed.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "SELECT 1 FROM storage_objects WHERE key = %s AND refcount = %s"
            " AND state IN ('intent', 'present') FOR UPDATE",
            (seen.key, seen.refcount),
        )
        if await cursor.fetchone() is None:
            return False
        # In a statement of its own, which sees what was committed until the row was locked.
        await conn.execute(
            "UPDATE storage_objects o SET refcount = c.n,"
            " created_at = CASE c.n WHEN 0 THEN now() ELSE o.created_at END"
            f" FROM (SELECT count(*) AS n FROM ({_REFERENCES.format(range='= %(key)s')}) r) c"
            " WHERE o.key = %(key)s".encode(),
            {"key": seen.key},
        )
    return True


async def keep_announced(conn: Connection, key: str) -> bool:
    """Mark an announced object that the library needs as present; False where it is not so."""
    cursor = await conn.execute(
        "UPDATE storage_objects SET state = 'present' WHERE key = %s AND state = 'intent'"
        " AND refcount > 0 AND sha256 IS NOT NULL",
        (key,),
    )
    return cursor.rowcount == 1
