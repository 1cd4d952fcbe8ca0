"""Thumbnails and WebP copies: made when a picture comes in, or when somebody first asks for one.

The original is never touched. A form is made once per stored object, so that a frame and an asset
with the same bytes share it. Whoever asks for one makes the store say whether it is still there: a
form that was lost is made again, as long as its original is there. Another form of a frame says how
the frame was made, as the frame does (SCENE_PIPELINE_EMBED_METADATA).
"""

import hashlib
from typing import get_args

from scene_pipeline.database import derivatives
from scene_pipeline.database.derivatives import DerivativeForm, DerivativeRow, SourceObject
from scene_pipeline.errors import SceneError, StorageError, UsageError
from scene_pipeline.pipeline.library.storing import Payload, store_payload
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import KEY_DIGITS, derived_asset_key

FORMS: tuple[DerivativeForm, ...] = get_args(DerivativeForm)
DERIVABLE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""Types of pictures that other forms are made of; SVG is no picture until somebody draws it."""
_WEBP = "image/webp"


async def derivative_key(services: Services, storage_key: str, form: DerivativeForm) -> str:
    """The storage key of another form of a stored picture, made now where there is none.

    Args:
        services: Of this process.
        storage_key: Of the picture.
        form: A thumbnail of at most 320 pixels, or a WebP of full size. What is WebP already is its
            own.

    Raises:
        UsageError: code "no_derivative": it is no picture, or one that nothing is made of.
        StorageError: It is not in the store, or the store refused.
        ImageError: It cannot be decoded.
    """
    async with services.pool.connection() as conn:
        found = await derivatives.derivative_key(conn, storage_key, form)
        source = await derivatives.source_object(conn, storage_key)
    if found is not None and not await _is_lost(services, found):
        return found
    if source is None:
        raise StorageError(f"{storage_key} is not in the object store.", code="object_missing")
    if source.content_type not in DERIVABLE_TYPES:
        raise UsageError(
            f"No {form} is made of {source.content_type}.",
            code="no_derivative",
            next_action="Take the file itself (`scene-pipeline assets url ID`).",
        )
    if form == "webp" and source.content_type == _WEBP:
        return storage_key
    data = await services.call(services.store.read, storage_key)
    if found is not None:
        async with services.pool.connection() as conn:
            await derivatives.forget_derivative(conn, storage_key, form)
    return await _make(services, storage_key, source, data, form)


async def _is_lost(services: Services, key: str) -> bool:
    try:
        return await services.call(services.store.head, key) is None
    except StorageError:
        return False  # a store that does not answer now has lost nothing


async def derive_all(services: Services, storage_key: str, data: bytes) -> tuple[str, ...]:
    """Make every form of a picture that came in just now, as far as that works.

    Args:
        services: Of this process.
        storage_key: Of the picture.
        data: Its bytes.

    Returns:
        A note for each form that could not be made; it is made when somebody asks for it.
    """
    notes = []
    async with services.pool.connection() as conn:
        source = await derivatives.source_object(conn, storage_key)
    if source is None or source.content_type not in DERIVABLE_TYPES:
        return ()
    for form in FORMS:
        if form == "webp" and source.content_type == _WEBP:
            continue
        try:
            await _make(services, storage_key, source, data, form)
        except SceneError as error:
            notes.append(f"{form}_not_made: {error.message}")
    return tuple(notes)


async def _make(
    services: Services, source_key: str, source: SourceObject, data: bytes, form: DerivativeForm
) -> str:
    embed = services.settings.embed_metadata
    made = await services.call(services.workers.derive, data, form, embed=embed)
    digest = hashlib.sha256(made.data).hexdigest()
    if digest == source.sha256:
        return source_key
    payload = Payload(made.data, made.content_type, len(made.data), digest)
    extension = made.content_type.rpartition("/")[2]
    async with services.pool.connection() as conn:
        shared = await derivatives.shared_key(conn, digest, made.content_type)

    def key_of(digits: int) -> str:
        if shared is not None and digits == KEY_DIGITS:
            return shared
        return derived_asset_key(digest, extension, source.stored_at, digits=digits)

    key = await store_payload(services, payload, key_of, KEY_DIGITS)
    row = DerivativeRow(
        source_key, form, key, made.content_type, made.width, made.height, len(made.data)
    )
    async with services.pool.connection() as conn:
        return await derivatives.record_derivative(conn, row)
