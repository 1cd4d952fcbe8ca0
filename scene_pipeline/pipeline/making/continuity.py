"""Continuity groups: scenes that go on from each other's frames, one after the other.

Scenes that name the same `continuity_group` run in the document's order, each with the frame of the
usable scene before it as a reference picture, where its model takes one. The reference is that
scene's current version at the moment when the request is settled, whether it was made in this run
or long before. It is committed into the ledger before the payment is permitted, and a request that
is taken up again sends what was committed.

What came before is no part of a scene's content: a frame is *not* stale because the frame before it
was replaced. Whoever wants the rest of a group to follow asks for it.

Belongs here: who waits for whom, and what is settled. Does not belong here: bytes and addresses
(`pipeline.keeping.references`).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from scene_pipeline.database import continuity
from scene_pipeline.database.continuity import CONTINUITY_BROKEN, Predecessor
from scene_pipeline.database.locks import is_worked_on
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import AGAIN, BlockedError, quoted
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.references import SettledPicture, request_hash_of
from scene_pipeline.pipeline.making.named_references import look_at_named
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.planning.chains import named_references
from scene_pipeline.pipeline.planning.scene_work import SceneWork
from scene_pipeline.pipeline.references.checking import required, settled_pictures
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageProvider, ReferenceLimits

WAIT_POLL_SECONDS = 1.0
UNCLAIMED_PATIENCE_SECONDS = 30.0
"""How long a scene waits for one before it that another run has planned and nobody works on yet:
the run may be about to, or may be gone."""


async def units_of(services: Services, plan: Sequence[SceneWork]) -> list[tuple[SceneWork, ...]]:
    """What the stream works on side by side: a group's scenes in order, and single scenes.

    Chains come first, since they take longest, and otherwise the plan's order is kept.
    """
    project_ids = {work.project_id for work in plan}
    async with services.pool.connection() as conn:
        places = await continuity.group_places(conn, project_ids)
    chains: dict[object, list[SceneWork]] = {}
    for work in plan:
        place = places.get((work.project_id, work.ref.scene_id))
        unit: object = work.ref if place is None else (work.project_id, place.group)
        chains.setdefault(unit, []).append(work)

    def position(work: SceneWork) -> int:
        place = places.get((work.project_id, work.ref.scene_id))
        return 0 if place is None else place.position

    units = [tuple(sorted(chain, key=position)) for chain in chains.values()]
    return sorted(units, key=len, reverse=True)


async def settle(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Generation:
    """Commit the reference pictures of a planned generation, before anything is paid.

    The caller holds the generation's lock. What was committed earlier holds, unless a picture is
    gone for good, or is another one by now.

    The document's pictures come first, then the frame before it where there is room. Pictures that
    the request names itself take the place of all of them.

    Raises:
        BlockedError: code "continuity_broken": the scene before it has no frame to go on from. Or a
            picture that the document names cannot be sent (`pipeline.references.checking`).
        SceneError: A picture that the request names cannot be sent (`named_references`).
    """
    if named_references(generation):
        # Looked at each time: an address may have another picture by now, and nothing was sent yet.
        looked_at = await look_at_named(context.services, provider, generation)
        return await _commit(context, generation, looked_at)
    limits = provider.reference_limits(generation.endpoint)
    # Also where they were settled before: one may have been deleted or replaced since.
    pictures = await _document_pictures(context, generation, limits)
    if generation.reference_images and await _is_there(context, generation):
        return generation
    before = await _before(context, generation, limits.max_count - len(pictures), voice)
    if before is not None:
        pictures = [*pictures, _reference(before)]
    if limits.is_required and not pictures:
        raise required(generation.endpoint)
    settled = await _commit(context, generation, pictures)
    if before is not None:
        failpoint("after_references")
        await voice.progress("waiting", f"goes on from {before.scene_id} version {before.version}")
    return settled


async def _document_pictures(
    context: RunContext, generation: Generation, limits: ReferenceLimits
) -> list[SettledPicture]:
    """The document's own; none where the request names others, or a fallback goes without."""
    if "references" in generation.parameters:
        return []
    async with context.services.pool.connection() as conn:
        return await settled_pictures(conn, generation, limits)


async def _before(
    context: RunContext, generation: Generation, room: int, voice: SceneVoice
) -> Predecessor | None:
    """The scene before it in its group, with the frame that is sent along; None where none is."""
    before = await _predecessor(context, generation)
    if before is None:
        return None
    if room < 1:
        takes = "no further" if generation.content.get("references") else "no"
        words = f"{generation.endpoint} takes {takes} reference: {before.scene_id}'s frame is not"
        await voice.progress("waiting", f"{words} sent")
        return None
    before = await _wait_for(context, generation, before, voice)
    if before is not None and before.version is None:
        raise _broken(voice.ref, before.scene_id, "has no frame yet")
    return before


async def _wait_for(
    context: RunContext, generation: Generation, before: Predecessor, voice: SceneVoice
) -> Predecessor | None:
    """Wait while another run works on the scene before; give it as it is then.

    Raises:
        BlockedError: It is still worked on when as much time has passed as for a picture.
    """
    services = context.services
    patience = services.settings.generation_timeout_seconds
    started = time.monotonic()
    found: Predecessor | None = before
    while found is not None and found.open_generation_id is not None:
        async with services.pool.connection() as conn:
            is_held = await is_worked_on(conn, found.open_generation_id)
        is_ours = SceneRef(voice.ref.project_key, found.scene_id) in context.finished
        waited = time.monotonic() - started
        if not is_held and (
            is_ours or found.open_error_code is not None or waited > UNCLAIMED_PATIENCE_SECONDS
        ):
            break  # nobody is about to give it another frame: it is taken as it is
        if waited > patience:
            raise _broken(voice.ref, found.scene_id, "is in another run that does not finish it")
        await voice.progress("waiting", f"another run is working on {found.scene_id}")
        await services.sleep(WAIT_POLL_SECONDS)
        found = await _predecessor(context, generation)
    return found


async def _predecessor(context: RunContext, generation: Generation) -> Predecessor | None:
    async with context.services.pool.connection() as conn:
        return await continuity.predecessor_of(conn, generation.project_id, generation.scene_id)


async def _commit(
    context: RunContext, generation: Generation, references: Sequence[Mapping[str, Any]]
) -> Generation:
    if not references and not generation.reference_images:
        return generation
    async with context.services.pool.connection() as conn:
        return await continuity.settle_references(
            conn, generation, references, request_hash_of(generation, references)
        )


def _reference(before: Predecessor) -> dict[str, Any]:
    return {
        "scene_id": before.scene_id,
        "version": before.version,
        "sha256": before.sha256,
        "storage_key": before.storage_key,  # None while it is at its provider only
        "content_type": before.content_type,
    }


async def _is_there(context: RunContext, generation: Generation) -> bool:
    """Whether what was committed can still be sent; retention may have removed an old version."""
    sent = generation.reference_images
    keys = [one["storage_key"] for one in sent if one["storage_key"]]
    frames = [(one["scene_id"], one["version"]) for one in sent if "scene_id" in one]
    async with context.services.pool.connection() as conn:
        return await continuity.are_present(conn, keys) and await continuity.has_pictures(
            conn, generation.project_id, frames
        )


def _broken(ref: SceneRef, before: str, what: str) -> BlockedError:
    return BlockedError(
        f"Scene {ref.scene_id} goes on from scene {before}, which {what}; nothing was paid.",
        code=CONTINUITY_BROKEN,
        next_action=f"Get a frame for {before} first (`scene-pipeline run {quoted(ref.project_key)}"
        f" --scene {quoted(before)}`), then go on with {AGAIN}; or take {ref.scene_id} out of its"
        " group.",
        retryable=True,
    )
