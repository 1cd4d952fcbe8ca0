"""What `doctor` asks of a bucket, beyond what it asks of every store.

Belongs here: signed addresses, uploads from outside, leftovers of uploads, and what opens a bucket
to readers. Does not belong here: the promises of every store (`storage.diagnosis`).
"""

import json
from collections.abc import Iterator

from scene_pipeline.errors import StorageError
from scene_pipeline.findings import Finding
from scene_pipeline.scenes.identity import DOCTOR_PREFIX, READABLE_PREFIXES
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.gcs import GcsStore
from scene_pipeline.storage.s3 import S3Store

_READABLE = (*READABLE_PREFIXES, DOCTOR_PREFIX)
LEFTOVER_DAYS = 2
"""After which a bucket may give up the parts of an upload; ours take hours at most."""


def bucket_findings(
    store: S3Store | GcsStore, reader: AnonymousReader, key: str, data: bytes
) -> Iterator[Finding]:
    """Try what only a bucket promises, on an object that is there.

    Args:
        store: Whose bucket.
        reader: Asks as anybody would.
        key: Of the object.
        data: What it holds.
    """
    yield _signed_address(store, reader, key, data)
    if isinstance(store, S3Store):
        yield _uploads(store)
        yield _leftovers(store)


def public_read_policy(bucket: str, prefix: str) -> str:
    """The bucket policy that lets everybody read the objects, as JSON; uploads stay closed."""
    statement = {
        "Sid": "PublicReadOfFrames",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": [f"arn:aws:s3:::{bucket}/{prefix}{part}/*" for part in _READABLE],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def leftovers_rule(prefix: str) -> str:
    """The lifecycle rule by which a bucket gives up uploads that were never finished, as JSON."""
    rule = {
        "ID": "AbortUnfinishedUploads",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": LEFTOVER_DAYS},
    }
    return json.dumps({"Rules": [rule]}, indent=2)


def opening_cure(store: S3Store | GcsStore) -> str:
    """What lets the readers of documents see what is in a bucket."""
    gateway = "or set SCENE_PIPELINE_URL_MODE=gateway to keep it private"
    if isinstance(store, GcsStore):
        return (
            "Set S3_PUBLIC_BASE_URL to an address that shows the bucket, let everybody read it "
            f"(role roles/storage.objectViewer for allUsers on gs://{store.bucket}), {gateway}."
        )
    policy = public_read_policy(store.bucket, store.prefix)
    return (
        f"Set S3_PUBLIC_BASE_URL to an address that shows the bucket, {gateway}, or let everybody "
        f"read it by this bucket policy (and allow public policies for the bucket):\n{policy}"
    )


def _signed_address(
    store: S3Store | GcsStore, reader: AnonymousReader, key: str, data: bytes
) -> Finding:
    try:
        seen = reader.read(store.url(key, "signed"), len(data))
    except StorageError as error:
        # Only private buckets, uploads and pictures to go by need them.
        is_ok = store.permanent_mode != "gateway"
        return Finding("storage signed address", is_ok, error.message, error.next_action)
    if seen == data:
        return Finding("storage signed address", True, "Whoever holds a signed address can read.")
    what = seen if isinstance(seen, str) else "it shows other bytes"
    return Finding(
        "storage signed address",
        False,
        f"A signed address does not show its object: {what}.",
        "Let no proxy before the server change the host's name, and check both clocks.",
    )


def _uploads(store: S3Store) -> Finding:
    try:
        habit = store.upload_habit()
    except StorageError as error:
        return Finding("storage uploads", False, error.message, error.next_action)
    told = {
        "enforced": ("Uploads from outside are held to their type and size.", None),
        "unenforced": (
            "This server does not hold uploads to their size.",
            "What is too large is refused and removed when the upload is completed.",
        ),
        "none": (
            "This server takes no forms: uploads are PUTs, not held to their size.",
            "What is too large is refused and removed when the upload is completed.",
        ),
    }
    detail, cure = told[habit]
    return Finding("storage uploads", True, detail, cure)


def _leftovers(store: S3Store) -> Finding:
    name = "storage unfinished uploads"
    advice = (
        "`scene-pipeline collect --apply` removes them; this lifecycle rule of the bucket does so "
        f"by itself:\n{leftovers_rule(store.prefix)}"
    )
    try:
        if store.removes_unfinished_uploads():
            return Finding(name, True, "The bucket gives up unfinished uploads by itself.")
    except StorageError:
        # Many servers have no lifecycle rules, and credentials need no right to read them.
        return Finding(name, True, "The bucket does not tell whether a rule removes them.", advice)
    return Finding(name, True, "Unfinished uploads of large files stay in the bucket.", advice)
