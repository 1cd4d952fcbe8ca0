"""What a bucket's refusals mean to a reader, whichever service it is at.

Belongs here: one sentence and one code per meaning, and how they become an error. Does not belong
here: how a service says them (`storage.s3_errors`, `storage.gcs_errors`).
"""

from dataclasses import dataclass

from scene_pipeline.errors import StorageError

MAX_RETRY_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer comes to."""

    code: str
    sentence: str
    """What the bucket does, to be read after its name."""
    cure: str | None = None
    is_retryable: bool = False


MISSING = Meaning("object_missing", "does not hold this object")
EXISTS = Meaning("object_exists", "already holds an object under this key")
MISSING_BUCKET = Meaning(
    "bucket_missing",
    "does not exist",
    "Make the bucket, or correct its name in SCENE_PIPELINE_STORAGE, S3_BUCKET or GCS_BUCKET.",
)
FULL = Meaning(
    "storage_full",
    "has no space left",
    "Make room there, then take up again what stopped: `scene-pipeline doctor` shows it.",
)
BUSY = Meaning("storage_busy", "asks to slow down", is_retryable=True)
BROKEN = Meaning("storage_unavailable", "has a fault of its own", is_retryable=True)
DAMAGED = Meaning("storage_corrupted", "received other bytes than were sent", is_retryable=True)
UNTRUSTED = Meaning(
    "storage_tls",
    "shows a certificate that is not trusted",
    "Name the server's CA in SSL_CERT_FILE.",
)
UNSUPPORTED = Meaning("storage_unsupported", "does not know what was asked")
REFUSED = Meaning("storage_refused", "refuses the request")
FAILED = Meaning("storage_failed", "could not be asked")


def seconds_to_wait(retry_after: str) -> float | None:
    """What a `Retry-After` header says, within bounds; None where it is no number."""
    return min(float(retry_after), MAX_RETRY_AFTER_SECONDS) if retry_after.isdigit() else None


def told(
    meaning: Meaning, place: str, key: str, reason: str, retry_after: float | None = None
) -> StorageError:
    """The error to raise.

    Args:
        meaning: What it comes to.
        place: "S3 bucket frames".
        key: What was asked for.
        reason: The server's own code or the exception's name, and nothing else of its answer: that
            may quote headers and signed addresses.
        retry_after: In seconds, where the server says so.
    """
    return StorageError(
        f"{place} {meaning.sentence} ({reason[:60]}, {key}).",
        code=meaning.code,
        next_action=meaning.cure,
        retryable=meaning.is_retryable,
        retry_after_seconds=retry_after,
    )
