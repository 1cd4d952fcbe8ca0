"""What `doctor` says about an object store, against real servers."""

import json
import shutil
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import pytest

from scene_pipeline.api.server import bind_address, build_server, listen
from scene_pipeline.findings import Finding
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.bucket_diagnosis import leftovers_rule, public_read_policy
from scene_pipeline.storage.diagnosis import diagnose_storage
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.standins.faulty_s3 import running_faulty_s3
from scene_pipeline_tests.standins.gcs import running_gcs
from scene_pipeline_tests.standins.rclone import Rclone
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS


def plain_settings(home: Path, **overrides: object) -> Settings:
    values: dict[str, object] = {
        "home": home,
        "public_url": "http://127.0.0.1:9",
        "s3_access_key_id": "an-access-key",
        "s3_secret_access_key": "a-secret",
        "ssl_cert_file": None,
    }
    return load_settings(**(values | overrides))


def diagnosed(store: ObjectStore, settings: Settings) -> dict[str, Finding]:
    try:
        findings = diagnose_storage(store, settings)
    finally:
        store.close()
    named = {finding.name: finding for finding in findings}
    assert len(named) == len(findings)
    assert all(finding.is_ok or finding.cure for finding in findings)
    return named


def test_a_sound_local_store_has_nothing_wrong(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path)
    found = diagnosed(build_store(settings), settings)
    assert all(finding.is_ok for finding in found.values())
    assert set(found) == {
        "storage",
        "storage write",
        "storage read",
        "storage content type",
        "storage create-only",
        "storage public address",
        "storage delete",
        "storage disk space",
    }
    assert "scene-pipeline up" in (found["storage public address"].cure or "")
    assert not list((tmp_path / "frames").rglob("*.txt"))


def test_a_running_frame_server_is_noticed(tmp_path: Path) -> None:
    with listen(plain_settings(tmp_path), "127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        settings = plain_settings(tmp_path, public_url=f"http://127.0.0.1:{port}")
        assert bind_address(settings) == ("127.0.0.1", port)
        server = build_server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            found = diagnosed(build_store(settings), settings)
        finally:
            server.should_exit = True
            thread.join(15)
    assert found["storage public address"].cure is None


class _DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


def test_little_disk_space_is_worth_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _DiskUsage(10**9, 10**9, 10**6))
    settings = plain_settings(tmp_path)
    found = diagnosed(build_store(settings), settings)
    assert not found["storage disk space"].is_ok


def test_a_directory_that_cannot_be_written_ends_the_diagnosis_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text("a file where the directory should be")
    settings = plain_settings(tmp_path)
    found = diagnosed(LocalStore(tmp_path / "frames", settings.public_url), settings)
    assert not found["storage write"].is_ok
    assert "storage read" not in found


def test_memory_has_no_address_to_try(tmp_path: Path) -> None:
    found = diagnosed(MemoryStore(), plain_settings(tmp_path))
    assert all(finding.is_ok for finding in found.values())
    assert "storage public address" not in found


@pytest.mark.parametrize("is_https", [False, True])
def test_a_private_bucket_gets_the_policy_that_would_open_it_and_then_is_sound(
    seaweedfs: SeaweedFS, tmp_path: Path, is_https: bool
) -> None:
    bucket = f"diagnosed-{'https' if is_https else 'http'}"
    settings = seaweedfs.settings(tmp_path, is_https=is_https, storage_url=f"s3://{bucket}/films")
    admin = build_s3_client(settings)
    admin.create_bucket(Bucket=bucket)
    private = diagnosed(build_store(settings), settings)
    address = private.pop("storage public address")
    assert all(finding.is_ok for finding in private.values())
    assert not address.is_ok
    assert "403" in address.detail
    policy = public_read_policy(bucket, "films/")
    assert policy in (address.cure or "")

    admin.put_bucket_policy(Bucket=bucket, Policy=policy)
    public = diagnosed(build_store(settings), settings)
    assert all(finding.is_ok for finding in public.values())
    left = admin.list_objects_v2(Bucket=bucket, Prefix="films/doctor/probe-")
    assert left["KeyCount"] == 0
    admin.close()


def test_a_private_bucket_behind_the_gateway_is_sound_where_signed_addresses_work(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(
        tmp_path, url_mode="gateway", public_url="https://films.example", storage_url="s3://frames"
    )
    found = diagnosed(build_store(settings), settings)
    assert all(finding.is_ok for finding in found.values())
    assert "https://films.example" in found["storage public address"].detail
    assert found["storage signed address"].is_ok


def test_a_rule_that_removes_unfinished_uploads_is_printed_and_then_noticed(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(tmp_path, storage_url="s3://with-rule/films")
    admin = build_s3_client(settings)
    admin.create_bucket(Bucket="with-rule")
    found = diagnosed(build_store(settings), settings)["storage unfinished uploads"]
    rule = leftovers_rule("films/")
    assert rule in (found.cure or "")
    admin.put_bucket_lifecycle_configuration(
        Bucket="with-rule", LifecycleConfiguration=json.loads(rule)
    )
    found = diagnosed(build_store(settings), settings)["storage unfinished uploads"]
    assert found.cure is None
    admin.close()


def test_what_a_server_makes_of_uploads_is_found_out(
    seaweedfs: SeaweedFS, rclone: Rclone, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(tmp_path)
    held = diagnosed(build_store(settings), settings)["storage uploads"]
    assert "held to their type and size" in held.detail
    settings = rclone.settings(tmp_path)
    found = diagnosed(build_store(settings), settings)
    assert "takes no forms" in found["storage uploads"].detail
    assert "ignored" in found["storage create-only"].detail
    assert found["storage signed address"].is_ok
    assert not found["storage public address"].is_ok
    store = build_store(settings)
    assert isinstance(store, S3Store)
    assert store.upload_habit() == "none"
    upload = store.presign_upload("uploads/a.svg", content_type="image/svg+xml", max_bytes=10)
    assert (upload.method, upload.is_size_enforced) == ("PUT", False)
    assert upload.headers == {"Content-Type": "image/svg+xml", "Content-Disposition": "attachment"}
    assert [one.key for one in store.list("doctor/") if "upload" in one.key] == []
    store.close()


def test_a_bucket_at_google_is_diagnosed_too(tmp_path: Path) -> None:
    with running_gcs() as server:
        settings = server.settings(tmp_path)
        found = diagnosed(build_store(settings), settings)
        address = found.pop("storage public address")
        assert all(finding.is_ok for finding in found.values())
        assert found["storage signed address"].cure is None
        assert "403" in address.detail
        assert "allUsers" in (address.cure or "")
        keyless = server.settings(tmp_path, gcs_service_account_json=None)
        assert not diagnosed(build_store(keyless), keyless)["storage write"].is_ok


def test_a_policy_opens_reading_below_the_prefix_and_nothing_else() -> None:
    (statement,) = json.loads(public_read_policy("frames", "films/"))["Statement"]
    assert statement["Action"] == "s3:GetObject"
    assert statement["Resource"] == [
        f"arn:aws:s3:::frames/films/{part}/*"
        for part in ("projects", "assets", "reports", "doctor")
    ]


def test_a_bucket_that_refuses_us_says_why(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    settings = seaweedfs.settings(tmp_path, s3_secret_access_key="not-the-secret")
    found = diagnosed(build_store(settings), settings)
    assert not found["storage write"].is_ok
    assert "S3_SECRET_ACCESS_KEY" in (found["storage write"].cure or "")
    assert "not-the-secret" not in repr(found)


def test_a_server_without_create_only_puts_is_named_as_such(tmp_path: Path) -> None:
    with running_faulty_s3() as server:
        server.create_only = "ignores"
        settings = plain_settings(tmp_path, storage_url="s3://b-1", s3_endpoint_url=server.url)
        found = diagnosed(build_store(settings), settings)
    assert found["storage create-only"].is_ok
    assert "ignored" in found["storage create-only"].detail


def test_a_server_that_damages_what_it_keeps_is_named_as_such(tmp_path: Path) -> None:
    with running_faulty_s3() as server:
        settings = plain_settings(tmp_path, storage_url="s3://b-1", s3_endpoint_url=server.url)
        store = build_store(settings)
        server.damages_reads = 1000
        found = diagnosed(store, settings)
    assert not found["storage write"].is_ok


@contextmanager
def recording_proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that writes down what it is asked for and refuses it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_CONNECT(self) -> None:
            self.do_PUT()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its parent's name)
            """Say nothing."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(
    ("endpoint", "line"),
    [
        ("http://s3.example", "PUT http://s3.example/b-1/doctor/"),
        ("https://s3.example", "CONNECT s3.example:443"),
        (None, "CONNECT b-1.s3.eu-west-1.amazonaws.com:443"),
    ],
)
def test_everything_leaves_through_the_egress_proxy_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str | None, line: str
) -> None:
    with recording_proxy() as (proxy, asked), recording_proxy() as (other, asked_of_other):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, other)
        settings = plain_settings(
            tmp_path,
            storage_url="s3://b-1",
            s3_endpoint_url=endpoint,
            s3_region="eu-west-1",
            egress_proxy=proxy,
        )
        found = diagnosed(build_store(settings), settings)
    assert not found["storage write"].is_ok
    assert asked
    assert all(one.startswith(line) for one in asked)
    assert asked_of_other == []
