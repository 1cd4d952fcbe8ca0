"""Hashes that decide whether two things are the same, and the canonical JSON under them.

Belongs here: what goes into each hash. Does not belong here: where the values come from
(`scenes.requests`) and what a difference means (planning).

Every digest is the lower-case hex sha256 of canonical JSON. What goes into one may never change
silently: stored rows are compared with it, so tests pin the digests.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from scene_pipeline.scenes.sizes import ImageSize


def canonical_json(value: Any) -> str:
    """Write a JSON value so that equal values have equal texts.

    Keys are sorted, there is no white space, characters stand for themselves, and a number is
    written one way however it was spelled: 7, 7.0 and 7e0 are "7", since a trip through jsonb or
    another program's serializer changes the spelling.

    Raises:
        ValueError: NaN or an infinity, which JSON does not have.
    """
    return json.dumps(
        _canonical_numbers(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def content_hash(
    *,
    expanded_prompt: str,
    negative_prompt: str | None,
    references: Sequence[str],
    size: ImageSize,
    expansion_version: int,
    reference_digests: Sequence[str | None] = (),
) -> str:
    """Hash what changes the picture's content; a difference makes a frame stale.

    Args:
        expanded_prompt: Scene, characters and style, as `scenes.prompts` joins them.
        negative_prompt: None and "" are the same.
        references: In the order in which they are used.
        size: Of the frame.
        expansion_version: `scenes.prompts.EXPANSION_VERSION`.
        reference_digests: The sha256 of every reference, in its order; None where its bytes were
            never seen.
    """
    # Left out while none is known, so that the hashes of old rows still hold.
    digests = {"reference_digests": list(reference_digests)} if any(reference_digests) else {}
    return _digest(
        "content",
        {
            **digests,
            "prompt": expanded_prompt,
            "negative_prompt": negative_prompt or None,
            "references": list(references),
            "size": [size.width, size.height],
            "expansion_version": expansion_version,
        },
    )


def request_hash(
    *,
    provider: str,
    endpoint: str,
    prompt: str,
    negative_prompt: str | None,
    references: Sequence[str],
    size: ImageSize,
    seed: int | None,
    steps: int | None,
    guidance: float | None,
    output_format: str,
    arguments: Mapping[str, Any],
    image_count: int = 1,
    reference_digests: Sequence[str] = (),
) -> str:
    """Hash all that is sent; equal hashes mean the same request.

    Args:
        provider: Who is asked.
        endpoint: The provider's name of the model.
        prompt: As sent, with a command's suffix where there is one.
        negative_prompt: None and "" are the same.
        references: As document or command name them, in the order in which they are used.
        size: Of the frame.
        seed: The seed that is sent, whoever chose it; None where none is chosen yet.
        steps: Inference steps; None for the model's own.
        guidance: Guidance scale; None for the model's own.
        output_format: "png" or "jpeg".
        arguments: Further arguments of the model.
        image_count: Pictures that are asked for at once.
        reference_digests: The sha256 of every picture that is sent along, in its order.
    """
    # Left out where they are what they usually are, so that the hashes of old rows still hold.
    unusual: dict[str, Any] = {}
    if image_count != 1:
        unusual["image_count"] = image_count
    if reference_digests:
        unusual["reference_digests"] = list(reference_digests)
    return _digest(
        "request",
        {
            **unusual,
            "provider": provider,
            "endpoint": endpoint,
            "prompt": prompt,
            "negative_prompt": negative_prompt or None,
            "references": list(references),
            "size": [size.width, size.height],
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
            "output_format": output_format,
            "arguments": dict(arguments),
        },
    )


def idempotency_key(
    *,
    project_id: UUID,
    scene_id: str,
    content_hash: str,
    endpoint: str,
    explicit_parameters: Mapping[str, Any],
    token: str,
    candidate_index: int = 0,
) -> str:
    """Name one thing worth paying for; the ledger holds at most one row of each name.

    A seed that the program chose must not be part of it: the seed is derived from this key, so
    that two planners make the same request.

    Args:
        project_id: The project's row.
        scene_id: As the document spells it.
        content_hash: From `content_hash`.
        endpoint: The provider's name of the model.
        explicit_parameters: What document or command asked for by name; defaults are left out.
        token: Names the request: "" for a first frame, else the id of the regeneration request,
            backfill or run that asks for another one.
        candidate_index: Which of several candidates asked for at once, from 0.
    """
    return _digest(
        "generation",
        {
            "project": str(project_id),
            "scene": scene_id,
            "content": content_hash,
            "endpoint": endpoint,
            "parameters": dict(explicit_parameters),
            "token": token,
            "candidate": candidate_index,
        },
    )


def prompt_sha256(prompt: str) -> str:
    """Hash a prompt's UTF-8 bytes as they are, without normalising anything."""
    return hashlib.sha256(prompt.encode("utf-8")).hexdigest()


def _digest(kind: str, value: Mapping[str, Any]) -> str:
    """Hash a value together with its kind, so that hashes of two kinds are never equal."""
    return hashlib.sha256(canonical_json([kind, value]).encode("utf-8")).hexdigest()


def _canonical_numbers(value: Any) -> Any:
    match value:
        case bool():
            return value
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: _canonical_numbers(member) for key, member in value.items()}
        case list() | tuple():
            return [_canonical_numbers(element) for element in value]
        case _:
            return value
