"""Bytes into the store under a key of the library: announced, written, marked as there.

A crash between any two of these steps leaves an object that nothing refers to, which is the
collector's after its period of grace.

Belongs here: what assets and derivatives share. Does not belong here: which rows refer to the
object afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scene_pipeline.database import objects
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.failpoints import failpoint
from scene_pipeline.pipeline.keeping.frame_keys import OBJECT_COLLECTED
from scene_pipeline.pipeline.keeping.uploads import UPLOAD_ATTEMPTS
from scene_pipeline.pipeline.retrying import with_retries
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import MAX_KEY_DIGITS


@dataclass(frozen=True, slots=True)
class Payload:
    """Checked bytes, in memory or in a file."""

    source: bytes | Path = field(repr=False)
    content_type: str
    size_bytes: int
    sha256: str
    """Of the bytes; a file that has others by now is refused by the store."""


async def store_payload(
    services: Services, payload: Payload, key_of: Callable[[int], str], first_digits: int
) -> str:
    """Store bytes under the first key that the collector has not used up.

    Args:
        services: Of this process.
        payload: What to store.
        key_of: The key that shows so many digits of the digest.
        first_digits: How many are shown where no shorter key is used up.

    Returns:
        The key; its object is present, and nothing refers to it yet.

    Raises:
        StorageError: The store refused it for good, or as often as it is asked.
        LedgerError: code "object_collected": every key of these bytes is used up.
    """
    for digits in range(first_digits, MAX_KEY_DIGITS + 1):
        key = key_of(digits)
        try:
            await _store_once(services, key, payload)
        except LedgerError as error:
            if error.error_code != OBJECT_COLLECTED or digits == MAX_KEY_DIGITS:
                raise
        else:
            return key
    raise AssertionError("first_digits must not exceed MAX_KEY_DIGITS")


async def _store_once(services: Services, key: str, payload: Payload) -> None:
    async with services.pool.connection() as conn:
        await objects.register_intent(
            conn,
            key,
            sha256=payload.sha256,
            size_bytes=payload.size_bytes,
            content_type=payload.content_type,
        )
    failpoint("asset_after_intent")
    await write_payload(services, key, payload)
    failpoint("asset_after_upload")
    async with services.pool.connection() as conn:
        await objects.mark_present(conn, key)


async def write_payload(services: Services, key: str, payload: Payload) -> None:
    """Write bytes under a key that the register has; doing it again is harmless.

    Raises:
        StorageError: The store refused it for good, or as often as it is asked.
    """
    await with_retries(
        lambda: services.call(_write, services, key, payload),
        attempts=UPLOAD_ATTEMPTS,
        sleep=services.sleep,
    )


def _write(services: Services, key: str, payload: Payload) -> None:
    facts = {"content_type": payload.content_type, "sha256": payload.sha256}
    if isinstance(payload.source, bytes):
        services.store.put(key, payload.source, **facts)
    else:
        services.store.put_file(key, payload.source, **facts)
