"""What `doctor` asks of the object store: does each promise hold, here, now?

Belongs here: probes with one small object that is removed again, and the cure of what fails. Does
not belong here: how findings are shown.
"""

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from scene_pipeline.errors import StorageError
from scene_pipeline.findings import Finding
from scene_pipeline.scenes.identity import DOCTOR_PREFIX
from scene_pipeline.settings import Settings
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.bucket_diagnosis import bucket_findings, opening_cure
from scene_pipeline.storage.gcs import GcsStore
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.served import ServedStore

LOW_SPACE_BYTES = 1024**3
"""About 500 frames; less than this is worth a word."""


def diagnose_storage(store: ObjectStore, settings: Settings) -> list[Finding]:
    """Write, read and delete one small object, and try the store's other promises on it.

    Returns:
        One finding per promise, in the order they were tried; it ends early where writing fails,
        since nothing else could be told then. Never raises for what the store does.
    """
    findings = [Finding("storage", True, f"Frames go to {store.description}.")]
    key = f"{DOCTOR_PREFIX}/probe-{secrets.token_hex(8)}.txt"
    data = f"Written by scene-pipeline doctor: {key}".encode()
    try:
        _put(store, key, data)
    except StorageError as error:
        findings.append(_failed("storage write", error))
    else:
        findings.append(Finding("storage write", True, f"{len(data)} bytes were written."))
        findings += _probes_of(store, settings, key, data)
        findings.append(_delete(store, key))
    if isinstance(store, LocalStore):
        findings += _disk(store)
    return findings


def _probes_of(store: ObjectStore, settings: Settings, key: str, data: bytes) -> Iterator[Finding]:
    try:
        is_same = store.read(key) == data
    except StorageError as error:
        yield _failed("storage read", error)
    else:
        detail = "The same bytes came back." if is_same else "Other bytes came back."
        cure = None if is_same else "Do not use this store: it changes what it keeps."
        yield Finding("storage read", is_same, detail, cure)
    yield _content_type(store, key)
    yield _overwriting(store, key, data)
    if not isinstance(store, MemoryStore):
        yield _public_read(store, settings, key, data)
    if isinstance(store, S3Store | GcsStore):
        yield from bucket_findings(store, AnonymousReader(settings), key, data)


def _content_type(store: ObjectStore, key: str) -> Finding:
    try:
        found = store.head(key)
    except StorageError as error:
        return _failed("storage content type", error)
    content_type = found.content_type if found is not None else None
    is_kept = (content_type or "").startswith("text/plain")
    return Finding(
        "storage content type",
        is_kept,
        "Types are kept." if is_kept else f"text/plain became {content_type}.",
        None if is_kept else "Use a server that keeps Content-Type, or browsers show no frames.",
    )


def _overwriting(store: ObjectStore, key: str, data: bytes) -> Finding:
    try:
        _put(store, key, data[::-1])
    except StorageError as error:
        if error.error_code != "object_exists":
            return _failed("storage create-only", error)
    else:
        return Finding(
            "storage create-only",
            False,
            "Other bytes under the same key were accepted.",
            "Do not let two programs write to this store.",
        )
    how = store.create_only() if isinstance(store, S3Store | GcsStore) else "honoured"
    if how == "honoured":
        return Finding("storage create-only", True, "An object is never overwritten.")
    return Finding(
        "storage create-only",
        True,
        f"Create-only writes are {how} by this server; objects are looked for before each write.",
        "Nothing must be done while one installation writes to this bucket.",
    )


def _public_read(store: ObjectStore, settings: Settings, key: str, data: bytes) -> Finding:
    url = store.url(key)
    if isinstance(store, S3Store | GcsStore | ServedStore) and store.permanent_mode == "gateway":
        return Finding(
            "storage public address",
            True,
            f"Documents get addresses at {_origin(url)}, which redirect to signed ones.",
            "`scene-pipeline up` redirects; until then the URLs in the documents do not open.",
        )
    seen = AnonymousReader(settings).read(url, len(data))
    if seen == data:
        return Finding("storage public address", True, f"Everybody can read {_origin(url)}.")
    what = seen if isinstance(seen, str) else "it shows other bytes"
    if isinstance(store, S3Store | GcsStore):
        detail = f"{_origin(url)} does not show objects to everybody: {what}."
        return Finding("storage public address", False, detail, opening_cure(store))
    # The frame server is not running most of the time, and that is no fault.
    return Finding(
        "storage public address",
        True,
        f"The frame server does not answer at {_origin(url)} now: {what}.",
        "`scene-pipeline up` starts it; until then the URLs in the documents do not open.",
    )


def _delete(store: ObjectStore, key: str) -> Finding:
    try:
        store.delete(key)
        is_gone = store.head(key) is None
    except StorageError as error:
        return _failed("storage delete", error)
    detail = "The object was deleted." if is_gone else f"{key} is still there after its deletion."
    return Finding("storage delete", is_gone, detail, None if is_gone else "Delete it by hand.")


def _disk(store: LocalStore) -> Iterator[Finding]:
    folder = _existing(store.directory)
    free = shutil.disk_usage(folder).free
    is_enough = free >= LOW_SPACE_BYTES
    yield Finding(
        "storage disk space",
        is_enough,
        f"{free / 1024**3:.1f} GiB are free at {folder}.",
        None if is_enough else "Free some space, or name another place in SCENE_PIPELINE_STORAGE.",
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _put(store: ObjectStore, key: str, data: bytes) -> None:
    store.put(key, data, content_type="text/plain", sha256=hashlib.sha256(data).hexdigest())


def _failed(name: str, error: StorageError) -> Finding:
    return Finding(name, False, error.message, error.next_action)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
