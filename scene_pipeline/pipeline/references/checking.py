"""Whether a document's pictures can be sent to a model: asked before anything is paid.

Belongs here: facts against what a model takes. Does not belong here: the facts
(`pipeline.projects.pictures`, `pipeline.references.foreign`), the bytes (`pipeline.keeping`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from scene_pipeline.database import references
from scene_pipeline.database.rows import Connection, Generation
from scene_pipeline.errors import AGAIN, BlockedError
from scene_pipeline.media.reduction import MAX_SIDE_PIXELS
from scene_pipeline.pipeline.keeping.references import REDUCED_CONTENT_TYPE, SettledPicture
from scene_pipeline.pipeline.projects.pictures import NAME_ANOTHER
from scene_pipeline.providers.base import ReferenceLimits
from scene_pipeline.scenes.references import KnownPicture, described, read_name, shown_name

REFERENCE_CHANGED: Final = "reference_changed"
"""Code of a scene whose reference is another picture than it was when its frame was planned."""


def check_pictures(
    named: Sequence[str],
    pictures: Mapping[str, KnownPicture],
    limits: ReferenceLimits,
    endpoint: str,
) -> None:
    """Refuse what cannot be sent to this model.

    Args:
        named: The pictures, as the document names them.
        pictures: What is known of them; one that nothing is known of is passed over.
        limits: What the model takes.
        endpoint: The model, for messages.

    Raises:
        BlockedError: codes "references_unsupported", "reference_missing", "reference_animated",
            "reference_refused", "reference_unreachable", "reference_too_large" or
            "reference_too_small": the first thing that stands in the way.
    """
    if len(named) > limits.max_count:
        raise too_many(len(named), limits, endpoint)
    for name in named:
        picture = pictures.get(name)
        if picture is None:
            continue
        if picture.problem is not None:
            problem = picture.problem
            raise BlockedError(
                problem.message, code=problem.code, next_action=problem.next_action, retryable=True
            )
        _check_shape(name, picture, limits, endpoint)


def too_many(count: int, limits: ReferenceLimits, endpoint: str) -> BlockedError:
    """The refusal of more pictures than a model takes."""
    are_named = f"{count} are named" if count > 1 else "one is named"
    if not limits.max_count:
        return BlockedError(
            f"{endpoint} takes no reference pictures, and {are_named}.",
            code="references_unsupported",
            next_action="Name a model that takes reference pictures, or leave them out.",
        )
    return BlockedError(
        f"{endpoint} takes {limits.max_count} reference"
        f" picture{'s' if limits.max_count > 1 else ''}, and {are_named}.",
        code="references_unsupported",
        next_action="Name fewer reference pictures, or a model that takes as many.",
    )


def required(endpoint: str) -> BlockedError:
    """The refusal of a model that makes nothing without a picture to go by."""
    return BlockedError(
        f"{endpoint} makes pictures from a reference picture, and none is named.",
        code="reference_required",
        next_action="Name one under `references` in the document, or another model.",
    )


def _check_shape(name: str, picture: KnownPicture, limits: ReferenceLimits, endpoint: str) -> None:
    sides = [side for side in (picture.width, picture.height) if side is not None]
    shown = described(name, picture.label)
    if sides and min(sides) < limits.min_side:
        raise BlockedError(
            f"Reference {shown} is {picture.width} x {picture.height}; {endpoint} takes pictures"
            f" from {limits.min_side} pixels a side.",
            code="reference_too_small",
            next_action="Name a larger picture.",
        )
    can_be_reduced = REDUCED_CONTENT_TYPE in limits.content_types
    if picture.content_type not in limits.content_types and not can_be_reduced:
        raise BlockedError(
            f"Reference {shown} is {picture.content_type}, which {endpoint} does not take.",
            code="reference_refused",
            next_action=NAME_ANOTHER,
        )
    # What is too large is made smaller, down to this many pixels and no further.
    most = limits.max_side or max(sides, default=0)
    if sides and min(max(sides), MAX_SIDE_PIXELS if can_be_reduced else max(sides)) > most:
        raise BlockedError(
            f"Reference {shown} is {picture.width} x {picture.height}; {endpoint} takes pictures"
            f" up to {most} pixels a side.",
            code="reference_too_large",
            next_action="Name a smaller picture.",
        )


async def settled_pictures(
    conn: Connection, generation: Generation, limits: ReferenceLimits
) -> list[SettledPicture]:
    """What a generation's document references are, checked, for the ledger's `reference_images`.

    Raises:
        BlockedError: As `check_pictures`, and "reference_changed" where one is not the picture that
            the scene's content was planned with.
    """
    named: Sequence[str] = generation.content.get("references") or ()
    if not named:
        return []
    known = await references.known_pictures(conn, generation.project_id)
    pictures = {name: known[name].picture for name in named if name in known}
    check_pictures(named, pictures, limits, generation.endpoint)
    for name in named:
        if name not in pictures or pictures[name].sha256 is None:
            raise BlockedError(
                f"Reference {shown_name(name)} was not looked at yet; nothing was paid.",
                code="reference_unreachable",
                next_action=f"Run {AGAIN}: every run looks at the pictures that are named first.",
                retryable=True,
            )
    await refuse_changed(conn, generation)
    return [_settled(name, pictures[name]) for name in named]


async def refuse_changed(conn: Connection, generation: Generation) -> None:
    """Refuse to go on where a reference is another picture than the scene was planned with.

    Raises:
        BlockedError: code "reference_changed".
    """
    digests = generation.content.get("reference_digests") or {}
    named: Sequence[str] = generation.content.get("references") or ()
    if not named or "references" in generation.parameters:
        return
    now = await references.digests_now(conn, generation.project_id, named)
    for name in named:
        if now.get(name) != digests.get(name):
            raise BlockedError(
                f"Reference {shown_name(name)} changed meanwhile; nothing was paid.",
                code=REFERENCE_CHANGED,
                next_action=f"Make a frame with the picture of today with {AGAIN}.",
                retryable=True,
            )


def _settled(name: str, picture: KnownPicture) -> SettledPicture:
    is_foreign = picture.storage_key is None
    return {
        "reference": name,
        "source": described(name, picture.label),
        "url": name if is_foreign and read_name(name).kind == "address" else None,
        "storage_key": picture.storage_key,
        "sha256": picture.sha256,
        "content_type": picture.content_type,
        "width": picture.width,
        "height": picture.height,
        "size_bytes": picture.size_bytes,
        "etag": picture.etag,
        "last_modified": picture.last_modified,
    }
