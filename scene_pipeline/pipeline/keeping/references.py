"""Reference pictures of a request: from what the ledger holds to what a provider is sent.

A picture of ours that the public can fetch goes as its address; any other one as a `data:` URI of
its bytes, made smaller where it is large. Both are made anew from the committed row whenever they
are needed, so that a request that is taken up again sends exactly the same.

Belongs here: bytes and addresses. Does not belong here: which pictures
(`pipeline.making.continuity`).
"""

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from scene_pipeline.database.continuity import picture_address
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import StorageError
from scene_pipeline.media.addresses import is_public_address
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ReferencePicture
from scene_pipeline.scenes.hashes import request_hash
from scene_pipeline.scenes.sizes import ImageSize

MAX_INLINE_BYTES = 4 * 2**20
"""Largest picture that is sent inside a request; a `data:` URI is a third larger than its bytes."""
REDUCED_CONTENT_TYPE = "image/jpeg"
_PRIVATE_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home", ".test", ".invalid")


async def reference_pictures(
    services: Services, generation: Generation
) -> tuple[ReferencePicture, ...]:
    """What is sent along with a generation's request, exactly as its row was settled.

    Raises:
        StorageError: A picture cannot be read from our store.
        ImageError: One is too large and cannot be made smaller.
    """
    pictures = [
        await _picture(services, generation, reference) for reference in generation.reference_images
    ]
    return tuple(pictures)


async def _picture(
    services: Services, generation: Generation, reference: Mapping[str, Any]
) -> ReferencePicture:
    source = reference.get("source")
    if source is None:
        source = f"{reference['scene_id']} version {reference['version']}"
    key, url = await _place(services, generation, reference)
    content_type = str(reference["content_type"])
    # A provider that draws in this process fetches nothing.
    fetches = services.provider(generation.provider).capabilities.returns_urls
    if key and not (fetches and is_reachable(url)):
        data = await services.call(services.store.read, key)
        if len(data) > MAX_INLINE_BYTES:
            data = await services.call(services.workers.reduce, data, max_bytes=MAX_INLINE_BYTES)
            content_type = REDUCED_CONTENT_TYPE
        encoded = base64.b64encode(data).decode("ascii")
        url = f"data:{content_type};base64,{encoded}"
    return ReferencePicture(
        sha256=str(reference["sha256"]), content_type=content_type, url=url, source=str(source)
    )


async def _place(
    services: Services, generation: Generation, reference: Mapping[str, Any]
) -> tuple[str | None, str]:
    """The key of a picture of ours, where it has one by now, and its address.

    A frame that was at its provider only is looked up again: it may have been healed, and the
    provider's address, which may be signed, is in no second row.
    """
    key, url = reference.get("storage_key"), reference.get("url")
    if key is None and url is None:
        async with services.pool.connection() as conn:
            key, url = await picture_address(
                conn, generation.project_id, reference["scene_id"], reference["version"]
            )
    if key is not None:
        return key, services.store.url(key)
    if url is None:
        message = f"Version {reference['version']} of {reference['scene_id']} was removed."
        raise StorageError(message, code="object_missing")
    return None, str(url)


def is_reachable(url: str) -> bool:
    """Whether a provider out there can fetch this address, as far as the address itself tells."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_ENDINGS)
    return is_public_address(host)


def request_hash_of(generation: Generation, reference_images: Sequence[Mapping[str, Any]]) -> str:
    """The hash of all that is sent for a row, with these reference pictures.

    Without any it is the hash that the row was planned with.
    """
    parameters = generation.parameters
    named = parameters.get("references")
    return request_hash(
        provider=generation.provider,
        endpoint=generation.endpoint,
        prompt=generation.prompt,
        negative_prompt=generation.negative_prompt,
        references=generation.content.get("references", []) if named is None else named,
        size=ImageSize(generation.width, generation.height),
        seed=generation.seed,
        steps=parameters.get("steps"),
        guidance=parameters.get("guidance"),
        output_format=parameters.get("output_format") or "jpeg",
        arguments=parameters.get("arguments") or {},
        image_count=generation.image_count,
        reference_digests=[str(sent["sha256"]) for sent in reference_images],
    )
