"""What the S3 store makes of servers that differ, lie, refuse or fall silent."""

import hashlib
import secrets
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.keys import CONTENT_TYPES
from scene_pipeline.storage.registry import build_store
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.bucket_objects import DATA, new_key, put, refused
from scene_pipeline_tests.standins.faulty_s3 import FaultyS3, Refusal, running_faulty_s3
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

SHA256 = hashlib.sha256(DATA).hexdigest()
SECRET = "a-secret-access-key"


@pytest.fixture
def server() -> Iterator[FaultyS3]:
    with running_faulty_s3() as running:
        yield running


@pytest.fixture
def store(server: FaultyS3, tmp_path: Path) -> Iterator[S3Store]:
    built = s3_store(tmp_path, server.url)
    yield built
    built.close()


def s3_store(home: Path, endpoint_url: str, **overrides: object) -> S3Store:
    values: dict[str, object] = {
        "home": home,
        "storage_url": "s3://frames",
        "s3_endpoint_url": endpoint_url,
        "s3_access_key_id": "an-access-key",
        "s3_secret_access_key": SECRET,
        "ssl_cert_file": None,
    }
    store = build_store(load_settings(**(values | overrides)))
    assert isinstance(store, S3Store)
    return store


def test_a_put_carries_digest_type_and_cache_header_and_no_acl(
    server: FaultyS3, store: S3Store
) -> None:
    put(store, new_key())
    sent = next(h for h in server.headers if h.get("Content-Type") == "image/png")
    assert sent["Content-MD5"] == "EBoOPi9YGIs+L/wQVzFsEw=="
    assert sent["x-amz-meta-sha256"] == SHA256
    assert sent["Cache-Control"] == "public, max-age=31536000, immutable"
    assert sent["If-None-Match"] == "*"
    assert not [name for name in sent if name.lower() == "x-amz-acl"]
    assert "aws-chunked" not in sent.get("Content-Encoding", "")


@pytest.mark.parametrize(
    ("extension", "content_type", "disposition"),
    [
        ("svg", "image/svg+xml", "attachment"),
        ("html", "text/html", "attachment"),
        ("docx", CONTENT_TYPES["docx"], "attachment"),
        ("mp4", "video/mp4", None),
    ],
)
def test_what_could_run_scripts_is_offered_as_a_download(
    server: FaultyS3, store: S3Store, extension: str, content_type: str, disposition: str | None
) -> None:
    key = f"assets/documents/asset_{secrets.token_hex(6)}.{extension}"
    store.put(key, DATA, content_type=content_type, sha256=SHA256)
    sent = next(h for h in server.headers if h.get("Content-Type") == content_type)
    assert sent.get("Content-Disposition") == disposition


def test_acl_and_cache_header_are_sent_when_configured(server: FaultyS3, tmp_path: Path) -> None:
    store = s3_store(
        tmp_path, server.url, s3_upload_acl="public-read", s3_cache_control="public, max-age=60"
    )
    put(store, new_key())
    store.close()
    sent = next(h for h in server.headers if h.get("Content-Type") == "image/png")
    assert sent["x-amz-acl"] == "public-read"
    assert sent["Cache-Control"] == "public, max-age=60"


@pytest.mark.parametrize(
    ("habit", "verdict"),
    [("honours", "honoured"), ("ignores", "ignored"), ("refuses", "refused")],
)
def test_nothing_is_overwritten_whatever_the_server_makes_of_create_only(
    server: FaultyS3, store: S3Store, habit: str, verdict: str
) -> None:
    server.create_only = habit  # type: ignore[assignment]  # from the table above
    key = new_key()
    put(store, key)
    put(store, key)
    with pytest.raises(StorageError) as raised:
        put(store, key, b"other bytes")
    assert raised.value.error_code == "object_exists"
    assert store.read(key) == DATA
    assert store.create_only() == verdict


def test_the_habit_of_the_server_is_asked_once(server: FaultyS3, store: S3Store) -> None:
    for _ in range(3):
        put(store, new_key())
    asked = [line for line in server.requests if "doctor/create-only" in line]
    assert len(asked) == 2


def test_the_same_bytes_count_as_the_same_where_the_server_forgets_metadata(
    server: FaultyS3, store: S3Store
) -> None:
    server.keeps_metadata = False
    key = new_key()
    put(store, key)
    put(store, key)
    with pytest.raises(StorageError) as raised:
        put(store, key, b"other bytes")
    assert raised.value.error_code == "object_exists"


def test_bytes_damaged_on_the_way_in_are_refused_by_their_digest(
    server: FaultyS3, store: S3Store
) -> None:
    store.create_only()
    server.damages_writes = True
    error = refused(store)
    assert error.error_code == "storage_corrupted"
    assert error.retryable


def test_an_object_that_comes_back_damaged_is_removed_so_that_a_repetition_can_succeed(
    server: FaultyS3, store: S3Store
) -> None:
    store.create_only()
    key = new_key()
    server.damages_reads = 2
    with pytest.raises(StorageError) as raised:
        put(store, key)
    assert raised.value.error_code == "storage_corrupted"
    assert raised.value.retryable
    assert store.head(key) is None
    put(store, key)
    assert store.read(key) == DATA


def test_one_damaged_answer_does_not_condemn_a_sound_object(
    server: FaultyS3, store: S3Store
) -> None:
    store.create_only()
    key = new_key()
    server.damages_reads = 1
    put(store, key)
    assert not [line for line in server.requests if line.startswith("DELETE")]
    assert store.read(key) == DATA


def test_a_damaged_read_is_told_by_the_digest_kept_with_the_object(
    server: FaultyS3, store: S3Store
) -> None:
    key = new_key()
    put(store, key)
    server.damages_reads = 1
    with pytest.raises(StorageError) as raised:
        store.read(key)
    assert raised.value.error_code == "storage_corrupted"


def test_a_cut_off_answer_is_no_object(server: FaultyS3, store: S3Store) -> None:
    key = new_key()
    put(store, key)
    server.truncates_reads = 10
    with pytest.raises(StorageError) as raised:
        store.read(key)
    assert raised.value.retryable
    assert raised.value.error_code in {"storage_corrupted", "storage_unreachable"}


def test_an_object_changed_behind_the_store_is_told_by_its_size(
    server: FaultyS3, tmp_path: Path
) -> None:
    store = S3Store(
        build_s3_client(
            load_settings(
                home=tmp_path,
                s3_endpoint_url=server.url,
                s3_access_key_id="an-access-key",
                s3_secret_access_key=SECRET,
                ssl_cert_file=None,
            )
        ),
        "frames",
        verification="head",
    )
    key = new_key()
    put(store, key)
    assert not [line for line in server.requests if line.startswith("GET")]
    data, kept = server.objects[f"/frames/{key}"]
    server.objects[f"/frames/{key}"] = (data[:-1], kept)
    with pytest.raises(StorageError) as raised:
        put(store, key)
    store.close()
    assert raised.value.error_code == "object_exists"


@pytest.mark.parametrize(
    ("refusal", "code", "is_retryable"),
    [
        (Refusal(403, "AccessDenied"), "storage_denied", False),
        (Refusal(403, "InvalidAccessKeyId"), "storage_denied", False),
        (Refusal(403, "SignatureDoesNotMatch"), "storage_denied", False),
        (Refusal(403, "RequestTimeTooSkewed"), "storage_clock", False),
        (Refusal(404, "NoSuchBucket"), "bucket_missing", False),
        (Refusal(400, "AuthorizationHeaderMalformed"), "bucket_region", False),
        (Refusal(400, "AccessControlListNotSupported"), "acl_refused", False),
        (Refusal(400, "SomethingNew"), "storage_refused", False),
        (Refusal(409, "ConditionalRequestConflict"), "storage_busy", True),
        (Refusal(429, "TooManyRequests"), "storage_busy", True),
        (Refusal(503, "SlowDown"), "storage_busy", True),
        (Refusal(500, "InternalError"), "storage_unavailable", True),
        (Refusal(507, "XStorageFull"), "storage_full", False),
    ],
)
def test_a_refusal_says_what_it_means_and_nothing_secret(
    server: FaultyS3, store: S3Store, refusal: Refusal, code: str, is_retryable: bool
) -> None:
    store.create_only()
    server.refusal = refusal
    error = refused(store)
    assert (error.error_code, error.retryable) == (code, is_retryable)
    assert "frames" in error.message
    assert refusal.code in error.message
    assert error.next_action
    told = f"{error!r} {error} {error.message} {error.next_action}"
    for unwanted in (SECRET, "AWS4-HMAC", "Signature=", "an-access-key"):
        assert unwanted not in told
    assert SECRET not in "".join(traceback.format_exception(error))


def test_the_time_a_busy_server_asks_for_is_passed_on_within_bounds(
    server: FaultyS3, store: S3Store
) -> None:
    store.create_only()
    server.refusal = Refusal(429, "TooManyRequests", retry_after="7")
    assert refused(store).retry_after_seconds == 7
    server.refusal = Refusal(429, "TooManyRequests", retry_after="86400")
    assert refused(store).retry_after_seconds == 120
    server.refusal = Refusal(429, "TooManyRequests", retry_after="soon")
    assert refused(store).retry_after_seconds is None


def test_a_request_is_repeated_at_most_once_below_the_pipeline(
    server: FaultyS3, store: S3Store
) -> None:
    store.create_only()
    server.requests.clear()
    server.refusal = Refusal(500, "InternalError")
    refused(store)
    assert len(server.requests) == 2


def test_a_server_that_is_not_there_is_worth_a_later_try(tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        store = s3_store(tmp_path, f"http://127.0.0.1:{unheard.getsockname()[1]}")
        error = refused(store)
        store.close()
    assert error.error_code == "storage_unreachable"
    assert error.retryable


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"s3_secret_access_key": "not-the-secret"}, "storage_denied"),
        ({"s3_access_key_id": "nobody"}, "storage_denied"),
        ({"storage_url": "s3://absent"}, "bucket_missing"),
        ({"is_https": True, "ssl_cert_file": None}, "storage_tls"),
    ],
)
def test_refusals_of_a_real_server_are_understood(
    seaweedfs: SeaweedFS, tmp_path: Path, overrides: dict[str, Any], code: str
) -> None:
    store = build_store(seaweedfs.settings(tmp_path, **overrides))
    assert isinstance(store, S3Store)
    error = refused(store)
    store.close()
    assert (error.error_code, error.retryable) == (code, False)
