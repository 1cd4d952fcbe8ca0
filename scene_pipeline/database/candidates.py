"""Candidates: the further pictures of one paid request, kept until all of it is recorded.

The first picture's facts stand in the generation's own row, the others' in `generation_images`.
Belongs here: those rows. Does not belong here: giving them versions (`versions`), fetching and
storing (`pipeline.making.rehost`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from scene_pipeline.database.objects import mark_present
from scene_pipeline.database.results import mark_stored
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of `generation_images`: one further picture, in the store and checked."""

    image_index: int
    storage_key: str
    image: Mapping[str, Any]
    """Facts of the checked picture, as `Generation.image` holds them."""
    thumbnail: bytes | None = field(repr=False)


async def list_candidates(conn: Connection, generation_id: UUID) -> list[Candidate]:
    """The further pictures that are kept already, in the order of the provider's result."""
    cursor = await conn.execute(
        "SELECT image_index, storage_key, image, thumbnail FROM generation_images"
        " WHERE generation_id = %s ORDER BY image_index",
        (generation_id,),
    )
    return [Candidate(**row) for row in await cursor.fetchall()]


async def keep_candidate(conn: Connection, generation: Generation, candidate: Candidate) -> None:
    """Say that a further picture is in the store, while its generation is still `completed`.

    Doing it again for the same picture is harmless. The collector leaves its object alone as long
    as the generation is not finished.

    Raises:
        LedgerError: The row moved, or the object was collected meanwhile ("object_collected").
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "SELECT 1 FROM generations WHERE id = %s AND state = 'completed' FOR UPDATE",
            (generation.id,),
        )
        if await cursor.fetchone() is None:
            message = f"Generation {generation.id} is no longer completed: another worker moved it."
            raise LedgerError(message, retryable=True)
        await mark_present(conn, candidate.storage_key)
        await conn.execute(
            "INSERT INTO generation_images"
            " (generation_id, image_index, storage_key, image, thumbnail)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                generation.id,
                candidate.image_index,
                candidate.storage_key,
                Jsonb(dict(candidate.image)),
                candidate.thumbnail,
            ),
        )


async def store_candidate_first(
    conn: Connection, generation: Generation, candidate: Candidate
) -> Generation:
    """A kept candidate takes the place of a first picture that cannot be had: `-> stored`.

    Raises:
        LedgerError: As `results.mark_stored`.
    """
    async with conn.transaction():
        await conn.execute(
            "DELETE FROM generation_images WHERE generation_id = %s AND image_index = %s",
            (generation.id, candidate.image_index),
        )
        return await mark_stored(
            conn,
            generation,
            storage_key=candidate.storage_key,
            image=candidate.image,
            thumbnail=candidate.thumbnail,
        )
