"""Reference pictures of a request: from what the ledger holds to what a provider is sent.

A picture that the public can fetch goes as its address; any other one as a `data:` URI of its
bytes, made smaller where it is large, or is brought to the provider's own storage (FAL_USE_UPLOAD).
All of it is made anew from the committed row whenever it is needed, so that a request that is taken
up again sends exactly the same, and a signed address is never kept. What a foreign server has is
compared with what was settled: another picture is never sent in its place.

Belongs here: bytes and addresses. Does not belong here: which pictures
(`pipeline.making.continuity`).
"""

import base64
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from scene_pipeline.database.continuity import picture_address
from scene_pipeline.database.references import expire_picture
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import AGAIN, BlockedError, FetchError, StorageError
from scene_pipeline.media.addresses import is_public_address
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ReferenceLimits, ReferencePicture, UploadsReferences
from scene_pipeline.scenes.hashes import request_hash
from scene_pipeline.scenes.references import KnownPicture, shown_name
from scene_pipeline.scenes.sizes import ImageSize

MAX_INLINE_BYTES = 4 * 2**20
"""Largest picture that is sent inside a request; a `data:` URI is a third larger than its bytes."""
FETCH_ATTEMPTS = 3
REDUCED_CONTENT_TYPE = "image/jpeg"
_PRIVATE_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home", ".test", ".invalid")


SettledPicture = dict[str, Any]
"""One element of `generations.reference_images`: which bytes are sent, and where they are."""


async def reference_pictures(
    services: Services, generation: Generation
) -> tuple[ReferencePicture, ...]:
    """What is sent along with a generation's request, exactly as its row was settled.

    Raises:
        StorageError: A picture cannot be read from our store.
        ImageError: One is too large and cannot be made smaller.
        BlockedError: A foreign one cannot be had, or is another picture than was settled.
        ProviderError: The provider's own storage refuses one.
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
    provider = services.provider(generation.provider)
    limits = provider.reference_limits(generation.endpoint)
    is_fetched = provider.capabilities.fetches_references and is_reachable(url)
    has_storage = services.settings.fal_use_upload and isinstance(provider, UploadsReferences)
    content_type = str(reference["content_type"])
    is_exact = is_fetched and not has_storage and _fits(reference, limits)
    if key is None and "reference" in reference:
        data = await fetch_settled(services, generation, reference, may_skip=is_exact)
    elif key is None or is_exact:
        data = None
    else:
        data = await _read(services, key, reference["sha256"])
    if data is not None and not is_exact:
        most = min(limits.max_bytes or MAX_INLINE_BYTES, MAX_INLINE_BYTES)
        if len(data) > most or not _fits(reference, limits):
            data = await services.call(services.workers.reduce, data, max_bytes=most)
            content_type = REDUCED_CONTENT_TYPE
        if has_storage and isinstance(provider, UploadsReferences):
            url = await services.call(provider.upload_reference, data, content_type)
        else:
            url = f"data:{content_type};base64,{base64.b64encode(data).decode('ascii')}"
    return ReferencePicture(
        sha256=str(reference["sha256"]), content_type=content_type, url=url, source=str(source)
    )


def _fits(reference: Mapping[str, Any], limits: ReferenceLimits) -> bool:
    """Whether a picture can be sent as it is, as far as its size is known."""
    longest = max(reference.get("width") or 0, reference.get("height") or 0)
    return (
        reference["content_type"] in limits.content_types
        and (limits.max_side is None or longest <= limits.max_side)
        and (limits.max_bytes is None or (reference.get("size_bytes") or 0) <= limits.max_bytes)
    )


async def _read(services: Services, key: str, sha256: str | None) -> bytes:
    """An object of ours; the digest is unknown of a frame that was healed after it was settled."""
    data = await services.call(services.store.read, key)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        message = f"{key} does not hold the bytes that were stored there."
        raise StorageError(message, code="storage_corrupted")
    return data


async def fetch_settled(
    services: Services, generation: Generation, reference: Mapping[str, Any], *, may_skip: bool
) -> bytes | None:
    """Make sure that a foreign server still has the picture that was settled.

    Args:
        services: The process's parts.
        generation: Whose reference it is.
        reference: As it was settled.
        may_skip: Whether its bytes are not needed where its server says that they are the same.

    Returns:
        The bytes; None where they are not needed.

    Raises:
        BlockedError: code "reference_unreachable" or "reference_changed"; nothing was sent.
    """
    name, url = str(reference["reference"]), str(reference["url"])
    known = KnownPicture(
        **{part: reference[part] for part in ("sha256", "size_bytes", "etag", "last_modified")}
    )
    try:
        if may_skip:
            probe = await services.call(services.fetcher.probe, url)
            if known.is_still(probe.etag, probe.last_modified, probe.size_bytes):
                return None
        fetched = await with_retries(
            lambda: services.call(services.fetcher.fetch, url),
            attempts=FETCH_ATTEMPTS,
            sleep=services.sleep,
        )
    except FetchError as error:
        raise BlockedError(
            f"Reference {shown_name(name)} cannot be had: {error.message}",
            code="reference_unreachable",
            next_action=f"See that its server answers, then go on with {AGAIN}.",
            retryable=True,
        ) from error
    if hashlib.sha256(fetched.data).hexdigest() != known.sha256:
        async with services.pool.connection() as conn:
            await expire_picture(conn, generation.project_id, name)
        raise BlockedError(
            f"Reference {shown_name(name)} changed meanwhile; nothing was paid.",
            code="reference_changed",
            next_action=f"Make a frame with the picture of today with {AGAIN}.",
            retryable=True,
        )
    return fetched.data


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
        return key, _address(services, key)
    if url is None:
        message = f"Version {reference['version']} of {reference['scene_id']} was removed."
        raise StorageError(message, code="object_missing")
    return None, str(url)


def _address(services: Services, key: str) -> str:
    """Where a provider can fetch an object of ours; signed ones are made anew for each request."""
    if services.settings.url_mode == "gateway":
        return services.store.url(key, "signed")
    return services.store.url(key)


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
