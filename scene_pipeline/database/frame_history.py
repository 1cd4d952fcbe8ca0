"""What a generation came after: the version before it, and the attempts up to it.

Belongs here: reading it for many generations at once, since a run shows hundreds of frames. Does
not belong here: saying it in words (`pipeline.frame_history`), and whose runs and requests they
were (`history`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from scene_pipeline.database.measures import answer_seconds
from scene_pipeline.database.rows import Connection, GenerationState

HISTORY_LENGTH = 20
"""Attempts that are read of a scene, the newest first."""


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What was asked of the provider, as far as it can differ between two versions."""

    provider: str
    endpoint: str
    prompt: str
    negative_prompt: str | None
    seed: int
    parameters: Mapping[str, Any]
    references: Sequence[str]
    reference_digests: Mapping[str, str]
    """By reference, as far as its bytes were seen."""


@dataclass(frozen=True, slots=True)
class EarlierVersion:
    """The version before a generation's first, with the picture as it is stored.

    One that was set aside never counted, and stands before none, as for the checks.
    """

    version: int
    storage_url: str
    storage_status: Literal["stored", "external", "removed"]
    width: int | None
    height: int | None
    thumbnail: bytes | None = field(repr=False)
    asked: AskedFor


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One generation of a scene."""

    generation_id: UUID
    provider: str
    endpoint: str
    state: GenerationState
    version: int | None
    """The one that it stands for; None where it became none."""
    error_code: str | None
    seconds: float | None
    """From the request to the provider's answer; None where there was none."""
    cost_micros: int
    """Paid, with what submits whose answer was lost may have cost."""
    cost_kind: Literal["estimated", "metered", "free"] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempts:
    """The generations of a scene up to one of them."""

    rows: tuple[AttemptRow, ...]
    """The newest of them, newest first: the one that was asked for."""
    total: int
    """All of them."""


@dataclass(frozen=True, slots=True)
class FrameHistory:
    """Everything that is told beside one generation's version."""

    asked: AskedFor
    generation_seconds: float | None
    """From the request to the provider's answer."""
    storing_seconds: float | None
    """From the answer to the object in our storage; None for a picture that was healed later."""
    publishing_seconds: float | None
    """From the recorded version to the document."""
    previous: EarlierVersion | None
    attempts: tuple[AttemptRow, ...]
    """The scene's newest up to this one, newest first."""
    attempts_total: int
    """All of the scene up to this one."""


async def frame_histories(
    conn: Connection, generation_ids: Sequence[UUID]
) -> dict[UUID, FrameHistory]:
    """Read the histories of many generations, in two statements.

    Args:
        conn: Of the caller.
        generation_ids: At most some hundreds: the pictures of what came before are read as well.

    Returns:
        By generation; an unknown one is left out.
    """
    attempts = await attempts_up_to(conn, generation_ids)
    return {
        generation_id: with_attempts(history, attempts.get(generation_id))
        for generation_id, history in (await earlier_versions(conn, generation_ids)).items()
    }


def with_attempts(history: FrameHistory, attempts: Attempts | None) -> FrameHistory:
    """A history with the attempts that belong to it; None are none."""
    if attempts is None:
        return history
    return replace(history, attempts=attempts.rows, attempts_total=attempts.total)


async def attempts_up_to(conn: Connection, generation_ids: Sequence[UUID]) -> dict[UUID, Attempts]:
    """The attempts that led to generations, by generation; an unknown one is left out."""
    rows: dict[UUID, list[AttemptRow]] = {}
    totals: dict[UUID, int] = {}
    values = {"ids": list(generation_ids), "length": HISTORY_LENGTH}
    cursor = await conn.execute(_ATTEMPTS, values)
    for row in await cursor.fetchall():
        asked_id = row.pop("asked_id")
        totals[asked_id] = row.pop("total")
        rows.setdefault(asked_id, []).append(AttemptRow(**row))
    return {asked_id: Attempts(tuple(found), totals[asked_id]) for asked_id, found in rows.items()}


async def earlier_versions(
    conn: Connection, generation_ids: Sequence[UUID]
) -> dict[UUID, FrameHistory]:
    """The histories of generations without the attempts; an unknown one is left out."""
    cursor = await conn.execute(_HISTORIES, {"ids": list(generation_ids)})
    return {
        row["id"]: FrameHistory(
            asked=_asked(row, ""),
            generation_seconds=row["generation_seconds"],
            storing_seconds=row["storing_seconds"],
            publishing_seconds=row["publishing_seconds"],
            previous=None if row["version"] is None else _earlier(row),
            attempts=(),
            attempts_total=0,
        )
        for row in await cursor.fetchall()
    }


async def publishing_seconds(conn: Connection, generation_ids: Sequence[UUID]) -> dict[UUID, float]:
    """From the recorded version to the document, by generation; only of those that came there."""
    cursor = await conn.execute(
        f"SELECT g.id, {_PUBLISHING_SECONDS} AS seconds FROM generations g WHERE g.id = ANY(%s)",
        (list(generation_ids),),
    )
    rows = await cursor.fetchall()
    return {row["id"]: row["seconds"] for row in rows if row["seconds"] is not None}


def _earlier(row: Mapping[str, Any]) -> EarlierVersion:
    return EarlierVersion(
        version=row["version"],
        storage_url=row["storage_url"],
        storage_status=row["storage_status"],
        width=row["width"],
        height=row["height"],
        thumbnail=row["thumbnail"],
        asked=_asked(row, "before_"),
    )


def _asked(row: Mapping[str, Any], prefix: str) -> AskedFor:
    content, parameters = row[f"{prefix}content"], row[f"{prefix}parameters"]
    return AskedFor(
        provider=row[f"{prefix}provider"],
        endpoint=row[f"{prefix}endpoint"],
        prompt=row[f"{prefix}prompt"],
        negative_prompt=row[f"{prefix}negative_prompt"],
        seed=row[f"{prefix}seed"],
        parameters=parameters,
        # What a command named stands in the place of the document's own.
        references=parameters.get("references", content.get("references")) or (),
        reference_digests=content.get("reference_digests") or {},
    )


_PUBLISHING_SECONDS: LiteralString = (
    "CASE WHEN g.state = 'published'"
    " THEN extract(epoch FROM g.finished_at - g.recorded_at)::float8 END"
)

_HISTORIES = f"""
SELECT g.id, g.provider, g.endpoint, g.prompt, g.negative_prompt, g.seed, g.parameters, g.content,
       {answer_seconds("g")} AS generation_seconds,
       -- A picture that was taken over was stored long ago, and one that was at its provider at
       -- first came home at a time that says nothing of storing.
       CASE WHEN g.reused_image_id IS NULL AND g.external_url IS NULL
            THEN extract(epoch FROM g.stored_at - g.completed_at)::float8 END AS storing_seconds,
       {_PUBLISHING_SECONDS} AS publishing_seconds,
       v.version, v.storage_url, v.storage_status, v.width, v.height, v.thumbnail,
       b.provider AS before_provider, b.endpoint AS before_endpoint, b.prompt AS before_prompt,
       b.negative_prompt AS before_negative_prompt, b.seed AS before_seed,
       b.parameters AS before_parameters, b.content AS before_content
FROM generations g
LEFT JOIN LATERAL (
    SELECT i.* FROM scene_images i
    WHERE i.project_id = g.project_id AND i.scene_id = g.scene_id AND i.rejection IS NULL
        AND i.version <
        (SELECT min(own.version) FROM scene_images own WHERE own.generation_id = g.id)
    ORDER BY i.version DESC LIMIT 1) v ON true
LEFT JOIN generations b ON b.id = v.generation_id
WHERE g.id = ANY(%(ids)s)
"""

_ATTEMPTS = f"""
SELECT g.id AS asked_id, n.total, n.id AS generation_id, n.provider, n.endpoint, n.state,
       i.version, n.error_code,
       {answer_seconds("n")} AS seconds,
       (coalesce(n.cost_micros, 0) + n.doubtful_micros)::bigint AS cost_micros, n.cost_kind,
       n.created_at
FROM generations g
CROSS JOIN LATERAL (
    SELECT a.*, count(*) OVER () AS total FROM generations a
    WHERE a.project_id = g.project_id AND a.scene_id = g.scene_id AND a.seq <= g.seq
    ORDER BY a.seq DESC LIMIT %(length)s) n
LEFT JOIN LATERAL (
    SELECT v.version FROM scene_images v WHERE v.generation_id = n.id
    ORDER BY v.is_current DESC, v.version LIMIT 1) i ON true
WHERE g.id = ANY(%(ids)s)
ORDER BY g.id, n.seq DESC
"""
