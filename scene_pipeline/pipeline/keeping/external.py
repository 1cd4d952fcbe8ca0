"""The provider's address in place of ours, while the object store is down.

Belongs here: when an address may stand in for a stored frame, and how that is told. Does not belong
here: bringing the picture home afterwards (`pipeline.upkeep.heal`).
"""

from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.orders import Failure

STORAGE_EXTERNAL: Final = "storage_external"
"""Code under which a frame that is at the provider only is told."""

NO_OUTAGE = frozenset({"object_exists"})
"""Refusals that no waiting cures: other bytes stand under our key, which is an alarm."""


def external_address(url: str | None, error: StorageError) -> str:
    """The address that may stand in for a frame that could not be stored.

    An address with a query, a user or a fragment is refused: a query may be a signature, and what
    is in a document is read by everybody. Such a scene waits at the provider instead and is stored
    by a later run.

    Args:
        url: Where the provider has the picture; None where it has no address.
        error: How the store failed, after all its retries.

    Raises:
        StorageError: `error` itself; or code "storage_failed", retryable, for an address that must
            not be shown.
    """
    if url is None or error.error_code in NO_OUTAGE:
        raise error
    parts = urlsplit(url)
    if "?" in url or "#" in url or "@" in parts.netloc:
        message = (
            f"{error.message} The provider's own address cannot stand in for it: it may be signed."
        )
        raise StorageError(
            message, code="storage_failed", next_action=error.next_action, retryable=True
        ) from error
    return url


def external_note(scene_id: str, provider: str, expires_at: datetime | None) -> Failure:
    """What a person is told about a frame that is at the provider only."""
    if expires_at is None:
        until = "for nobody knows how long"
    else:
        until = f"at least until {expires_at:%Y-%m-%d %H:%M} UTC"
    return Failure(
        code=STORAGE_EXTERNAL,
        message=f"The object store failed, so scene {scene_id} points to {provider}'s own address,"
        f" which works {until}.",
        next_action="Mend the store (`scene-pipeline doctor`), then run `scene-pipeline heal`; the"
        " document is corrected by it.",
    )
