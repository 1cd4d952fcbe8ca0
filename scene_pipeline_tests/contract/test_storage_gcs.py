"""What the store at Google makes of refusals, damage, silence and servers that only stand in."""

import hashlib
import secrets
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.gcs import GcsStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.bucket_objects import DATA, new_key, put, refused
from scene_pipeline_tests.google_keys import service_account
from scene_pipeline_tests.standins.gcs import Gcs, Refusal, running_gcs
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS


@pytest.fixture
def server() -> Iterator[Gcs]:
    with running_gcs() as running:
        yield running


@pytest.fixture
def store(server: Gcs, tmp_path: Path) -> Iterator[GcsStore]:
    built = gcs_store(server, tmp_path)
    yield built
    built.close()


def gcs_store(server: Gcs, home: Path, **overrides: object) -> GcsStore:
    store = build_store(server.settings(home, **overrides))
    assert isinstance(store, GcsStore)
    return store


def test_an_object_is_served_with_its_type_and_kept_in_caches_for_ever(
    server: Gcs, store: GcsStore
) -> None:
    key = new_key()
    put(store, key)
    kept = server.objects[key]
    assert kept["contentType"] == "image/png"
    assert kept["cacheControl"] == "public, max-age=31536000, immutable"
    assert kept["metadata"] == {"sha256": hashlib.sha256(DATA).hexdigest()}
    assert "contentDisposition" not in kept


@pytest.mark.parametrize(
    ("extension", "content_type"),
    [("svg", "image/svg+xml"), ("html", "text/html"), ("pdf", "application/pdf")],
)
def test_what_could_run_scripts_is_offered_as_a_download(
    server: Gcs, store: GcsStore, extension: str, content_type: str
) -> None:
    key = new_key(extension)
    put(store, key, content_type=content_type)
    assert server.objects[key]["contentDisposition"] == "attachment"
    answer = httpx.get(store.url(key, "signed"), trust_env=False)
    assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(("is_ignored", "verdict"), [(False, "honoured"), (True, "ignored")])
def test_nothing_is_overwritten_whatever_the_server_makes_of_create_only(
    server: Gcs, store: GcsStore, is_ignored: bool, verdict: str
) -> None:
    """The emulator ignores preconditions as it comes; ours holds them as Google does."""
    server.ignores_preconditions = is_ignored
    key = new_key()
    put(store, key)
    put(store, key)
    with pytest.raises(StorageError) as raised:
        put(store, key, b"other bytes")
    assert raised.value.error_code == "object_exists"
    assert store.read(key) == DATA
    assert store.create_only() == verdict


def test_the_habit_of_the_server_is_asked_once_and_the_bucket_never(
    server: Gcs, store: GcsStore
) -> None:
    for _ in range(3):
        put(store, new_key())
    uploads = [line for line in server.requests if line.startswith("POST /upload/")]
    assert len(uploads) == 2 + 3
    assert [line for line in server.requests if line.startswith("POST /token")] == ["POST /token"]
    assert not [line for line in server.requests if line.partition("?")[0].endswith("/b/frames")]


def test_a_large_file_goes_in_pieces_and_only_once(
    server: Gcs, store: GcsStore, tmp_path: Path
) -> None:
    path, data = tmp_path / "large", secrets.token_bytes(17 * 1024 * 1024)
    path.write_bytes(data)
    key = new_key("mp4")
    digest = hashlib.sha256(data).hexdigest()
    store.put_file(key, path, content_type="video/mp4", sha256=digest)
    assert len([line for line in server.requests if line.startswith("PUT ")]) == 3
    assert b"".join(store.open(key)) == data
    path.write_bytes(data[::-1])
    digest = hashlib.sha256(data[::-1]).hexdigest()
    with pytest.raises(StorageError) as raised:
        store.put_file(key, path, content_type="video/mp4", sha256=digest)
    assert raised.value.error_code == "object_exists"


def test_damage_is_told_by_the_digests(server: Gcs, store: GcsStore) -> None:
    key = new_key()
    put(store, key)
    server.damages_reads = 2
    reads: tuple[Callable[[], object], ...] = (
        lambda: store.read(key),
        lambda: list(store.open(key)),
    )
    for read in reads:
        with pytest.raises(StorageError) as raised:
            read()
        assert (raised.value.error_code, raised.value.retryable) == ("storage_corrupted", True)
    assert store.read(key) == DATA


def test_bytes_damaged_on_the_way_in_are_refused_by_their_digest(
    server: Gcs, store: GcsStore
) -> None:
    store.create_only()
    server.damages_writes = True
    error = refused(store)
    assert (error.error_code, error.retryable) == ("storage_corrupted", True)


@pytest.mark.parametrize(
    ("refusal", "code", "is_retryable"),
    [
        (Refusal(400), "storage_refused", False),
        (Refusal(401), "storage_denied", False),
        (Refusal(403), "storage_denied", False),
        (Refusal(404, "The specified bucket does not exist."), "bucket_missing", False),
        (Refusal(409), "storage_busy", True),
        (Refusal(413), "object_too_large", False),
        (Refusal(429), "storage_busy", True),
        (Refusal(500), "storage_unavailable", True),
        (Refusal(502), "storage_unavailable", True),
        (Refusal(503), "storage_busy", True),
    ],
)
def test_a_refusal_says_what_it_means_and_nothing_secret(
    server: Gcs, store: GcsStore, refusal: Refusal, code: str, is_retryable: bool
) -> None:
    store.create_only()
    server.refusal = refusal
    server.requests.clear()
    error = refused(store)
    assert (error.error_code, error.retryable) == (code, is_retryable)
    assert "frames" in error.message
    assert str(refusal.status) in error.message
    assert error.next_action
    told = f"{error!r} {error} {error.next_action}" + "".join(traceback.format_exception(error))
    assert "PRIVATE KEY" not in told
    assert server.token not in f"{error!r} {error}"
    # Retrying is the pipeline's; a rejected token is renewed first.
    uploads = [line for line in server.requests if line.startswith("POST /upload/")]
    assert len(uploads) <= (3 if refusal.status == 401 else 1)


def test_the_time_a_busy_server_asks_for_is_passed_on_within_bounds(
    server: Gcs, store: GcsStore
) -> None:
    store.create_only()
    server.refusal = Refusal(429, retry_after="7")
    assert refused(store).retry_after_seconds == 7
    server.refusal = Refusal(429, retry_after="86400")
    assert refused(store).retry_after_seconds == 120


def test_an_account_that_nobody_knows_is_told_so(server: Gcs, tmp_path: Path) -> None:
    store = gcs_store(
        server, tmp_path, gcs_service_account_json=service_account(f"{server.url}/refused")
    )
    error = refused(store)
    store.close()
    assert (error.error_code, error.retryable) == ("storage_denied", False)
    assert "GCS_SERVICE_ACCOUNT_JSON" in (error.next_action or "")


def test_without_a_key_the_server_is_asked_anonymously(server: Gcs, tmp_path: Path) -> None:
    store = gcs_store(server, tmp_path, gcs_service_account_json=None)
    assert refused(store).error_code == "storage_credentials"
    store.close()
    assert "POST /token" not in server.requests


@pytest.mark.parametrize("has_key", [True, False])
def test_a_server_that_is_not_there_is_worth_a_later_try(
    server: Gcs, tmp_path: Path, has_key: bool
) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        key = service_account(f"{url}/token") if has_key else None
        store = gcs_store(server, tmp_path, gcs_endpoint_url=url, gcs_service_account_json=key)
        error = refused(store)
        store.close()
    assert error.error_code == "storage_unreachable"
    assert error.retryable


@pytest.mark.parametrize("has_key", [True, False])
def test_a_certificate_that_is_not_trusted_is_told_as_such(
    server: Gcs, seaweedfs: SeaweedFS, tmp_path: Path, has_key: bool
) -> None:
    url = seaweedfs.https_url
    key = service_account(f"{url}/token") if has_key else None
    strange = gcs_store(server, tmp_path, gcs_endpoint_url=url, gcs_service_account_json=key)
    error = refused(strange)
    strange.close()
    assert (error.error_code, error.retryable) == ("storage_tls", False)
    trusted = gcs_store(
        server,
        tmp_path,
        gcs_endpoint_url=url,
        gcs_service_account_json=key,
        ssl_cert_file=seaweedfs.ca_file,
    )
    # No Google answers there, but somebody does.
    assert refused(trusted).error_code != "storage_tls"
    trusted.close()
