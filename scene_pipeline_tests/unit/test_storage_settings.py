"""From settings to a store: storage URLs, addresses of objects, trust and the way out."""

import base64
import hashlib
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import certifi
import pytest
import trustme

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.database import DatabaseStore
from scene_pipeline.storage.gcs import GcsStore
from scene_pipeline.storage.keys import content_digest_in, content_type_of
from scene_pipeline.storage.local import LocalStore
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.registry import (
    StorageLocation,
    build_store,
    parse_storage_url,
    store_identity,
)
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import S3Connection, build_s3_client, ca_bundle, proxy_for
from scene_pipeline.storage.s3_sending import S3Sender
from scene_pipeline_tests.google_keys import service_account
from scene_pipeline_tests.recorded_s3 import Recorder

KEY = "projects/p/scenes/scene_1_20250102T030405Z_0123456789abcdef.png"
PROXY = "http://proxy.example:3128"


def settings(tmp_path: Path, **overrides: object) -> Settings:
    values: dict[str, object] = {
        "home": tmp_path / "home",
        "s3_access_key_id": "an-access-key",
        "s3_secret_access_key": "a-secret",
        "s3_region": "eu-west-1",
        "ssl_cert_file": None,
    }
    return load_settings(**(values | overrides))


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://frames", StorageLocation("s3", bucket="frames")),
        ("s3://frames/", StorageLocation("s3", bucket="frames")),
        ("s3://my.bucket-1/films/a", StorageLocation("s3", bucket="my.bucket-1", prefix="films/a")),
        ("file:///data/frames", StorageLocation("local", directory=Path("/data/frames"))),
        ("file:///data/my%20frames", StorageLocation("local", directory=Path("/data/my frames"))),
        ("file://localhost/data", StorageLocation("local", directory=Path("/data"))),
        ("memory://", StorageLocation("memory")),
        ("gs://frames", StorageLocation("gs", bucket="frames")),
        ("gs://frames/films/a/", StorageLocation("gs", bucket="frames", prefix="films/a")),
        ("database://", StorageLocation("database")),
    ],
)
def test_a_storage_url_is_taken_apart(url: str, location: StorageLocation) -> None:
    assert parse_storage_url(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "frames",
        "/data/frames",
        "s3://",
        "s3:///prefix",
        "s3://a",
        "s3://bucket/../other",
        "s3://bucket/a b",
        "s3://key:secret@bucket",
        "s3://bucket?region=x",
        "s3://[bucket",
        "file://frames",
        "file:///",
        "file:frames",
        "file:///a%00b",
        "memory://place",
        "database://host/name",
        "gs://",
        "gs://a",
        "gs://key@bucket",
        "ftp://host/frames",
        "https://frames.s3.amazonaws.com",
    ],
)
def test_a_storage_url_that_says_nothing_useful_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_storage_url(url)
    assert raised.value.error_code == "storage_url_invalid"
    assert raised.value.message.count(".") == 1 or "'.'" in raised.value.message
    assert "s3://bucket" in raised.value.next_action
    assert "secret" not in str(raised.value)


def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    default = build_store(settings(tmp_path))
    assert isinstance(default, LocalStore)
    assert default.directory == tmp_path / "home" / "frames"
    assert default.url(KEY) == f"http://127.0.0.1:8420/frames/{KEY}"
    assert isinstance(build_store(settings(tmp_path, storage_url="memory://")), MemoryStore)
    by_bucket = build_store(settings(tmp_path, s3_bucket="frames"))
    assert isinstance(by_bucket, S3Store)
    assert by_bucket.bucket == "frames"
    by_bucket.close()
    key = service_account()
    at_google = build_store(settings(tmp_path, gcs_bucket="frames", gcs_service_account_json=key))
    assert isinstance(at_google, GcsStore)
    at_google.close()
    url = "postgresql://user:hidden@127.0.0.1:9/frames"
    in_database = build_store(settings(tmp_path, storage_url="database://"), database_url=url)
    assert isinstance(in_database, DatabaseStore)
    assert "hidden" not in in_database.description
    in_database.close()


def test_a_store_in_the_database_needs_to_be_told_which(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_store(settings(tmp_path, storage_url="database://", database_url=None))
    assert raised.value.error_code == "storage_needs_database"
    assert "DATABASE_URL" in raised.value.next_action


@pytest.mark.parametrize(
    ("overrides", "identity"),
    [
        ({"s3_bucket": "frames"}, "s3://frames at https://s3.amazonaws.com"),
        (
            {
                "storage_url": "s3://frames/films/",
                "s3_endpoint_url": "https://s3.eu-west-1.amazonaws.com",
            },
            "s3://frames/films at https://s3.amazonaws.com",
        ),
        (
            {"s3_bucket": "frames", "s3_endpoint_url": "http://Storage.example:9000/"},
            "s3://frames at http://storage.example:9000",
        ),
        (
            {"s3_bucket": "frames", "s3_region": "cn-north-1"},
            "s3://frames at https://s3.amazonaws.com.cn",
        ),
        ({"gcs_bucket": "frames"}, "gs://frames at https://storage.googleapis.com"),
        (
            {"storage_url": "gs://frames/a", "gcs_endpoint_url": "http://127.0.0.1:9/"},
            "gs://frames/a at http://127.0.0.1:9",
        ),
        ({"storage_url": "file:///data/x/../frames"}, "file:///data/frames"),
        ({"storage_url": "database://"}, "database://"),
        ({"storage_url": "memory://"}, "memory://"),
    ],
)
def test_a_store_is_known_by_its_place_without_credentials(
    tmp_path: Path, overrides: dict[str, object], identity: str
) -> None:
    assert store_identity(settings(tmp_path, **overrides)) == identity


@pytest.mark.parametrize(
    ("overrides", "address"),
    [
        ({}, f"https://frames.s3.eu-west-1.amazonaws.com/{KEY}"),
        (
            {"storage_url": "s3://frames/a/b"},
            f"https://frames.s3.eu-west-1.amazonaws.com/a/b/{KEY}",
        ),
        (
            {"storage_url": "s3://my.frames"},
            f"https://s3.eu-west-1.amazonaws.com/my.frames/{KEY}",
        ),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, f"http://127.0.0.1:9/frames/{KEY}"),
        ({"s3_public_base_url": "https://cdn.example/x/"}, f"https://cdn.example/x/{KEY}"),
        (
            {"s3_public_base_url": "https://cdn.example", "storage_url": "s3://frames/films"},
            f"https://cdn.example/films/{KEY}",
        ),
    ],
)
def test_the_address_of_an_object_in_s3(
    tmp_path: Path, overrides: dict[str, object], address: str
) -> None:
    store = build_store(settings(tmp_path, **({"storage_url": "s3://frames"} | overrides)))
    assert store.url(KEY) == address
    assert store.urls([KEY]) == {KEY: address}
    store.close()


PUBLIC = f"https://frames.s3.eu-west-1.amazonaws.com/films/{KEY}"
CDN = f"https://cdn.example/films/{KEY}"
GATEWAY = f"https://films.example/media/{KEY}"


@pytest.mark.parametrize(
    ("overrides", "permanent"),
    [
        ({}, PUBLIC),
        ({"s3_public_base_url": "https://cdn.example"}, CDN),
        ({"s3_public_base_url": "https://cdn.example", "url_mode": "public"}, PUBLIC),
        ({"s3_public_base_url": "https://cdn.example", "url_mode": "gateway"}, GATEWAY),
        ({"url_mode": "gateway"}, GATEWAY),
    ],
)
def test_the_settings_say_which_address_goes_into_documents(
    tmp_path: Path, overrides: dict[str, object], permanent: str
) -> None:
    base: dict[str, object] = {
        "storage_url": "s3://frames/films",
        "public_url": "https://films.example",
    }
    store = build_store(settings(tmp_path, **(base | overrides)))
    assert store.url(KEY) == permanent
    assert store.url(KEY, "public") == PUBLIC
    assert store.url(KEY, "gateway") == GATEWAY
    store.close()


@pytest.mark.parametrize(
    "storage_url", ["s3://frames", "gs://frames", "file:///data", "database://"]
)
def test_addresses_of_a_cdn_need_one(tmp_path: Path, storage_url: str) -> None:
    given = settings(
        tmp_path,
        storage_url=storage_url,
        url_mode="cdn",
        gcs_service_account_json=service_account(),
        database_url="postgresql://127.0.0.1:9/frames",
    )
    with pytest.raises(ConfigurationError) as raised:
        build_store(given)
    assert raised.value.error_code == "url_mode_unsupported"


def test_a_signed_address_is_of_the_fourth_version_and_ends(tmp_path: Path) -> None:
    store = build_store(settings(tmp_path, s3_bucket="frames"))
    signed = urlsplit(store.url(KEY, "signed"))
    week = store.urls([KEY], "signed", expires_seconds=7 * 24 * 3600)[KEY]
    store.close()
    query = parse_qs(signed.query)
    assert signed.path == f"/{KEY}"
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["3600"]
    assert parse_qs(urlsplit(week).query)["X-Amz-Expires"] == ["604800"]


@pytest.mark.parametrize("extension", ["svg", "html", "pdf", "json", "bin"])
def test_a_signed_address_offers_what_could_run_scripts_as_a_download(
    tmp_path: Path, extension: str
) -> None:
    store = build_store(settings(tmp_path, s3_bucket="frames"))
    query = parse_qs(urlsplit(store.url(f"assets/documents/a.{extension}", "signed")).query)
    shown = parse_qs(urlsplit(store.url(KEY, "signed")).query)
    store.close()
    assert query["response-content-disposition"] == ["attachment"]
    assert "response-content-disposition" not in shown


def test_an_upload_to_aws_is_permitted_for_one_key_type_and_size(tmp_path: Path) -> None:
    store = build_store(
        settings(tmp_path, storage_url="s3://frames/films", s3_upload_acl="public-read")
    )
    upload = store.presign_upload(
        "uploads/a.svg", content_type="image/svg+xml", max_bytes=1000, expires_seconds=60
    )
    store.close()
    assert (upload.method, upload.max_bytes, upload.is_size_enforced) == ("POST", 1000, True)
    assert upload.url == "https://frames.s3.eu-west-1.amazonaws.com/"
    policy = json.loads(base64.b64decode(upload.fields["policy"]))
    for condition in (
        {"bucket": "frames"},
        {"key": "films/uploads/a.svg"},
        {"Content-Type": "image/svg+xml"},
        {"Content-Disposition": "attachment"},
        {"acl": "public-read"},
        ["content-length-range", 1, 1000],
    ):
        assert condition in policy["conditions"]
    assert upload.fields["Content-Type"] == "image/svg+xml"
    lasts = datetime.fromisoformat(policy["expiration"]) - datetime.now(UTC)
    assert 0 < lasts.total_seconds() <= 60
    assert "policy" not in repr(upload)


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"s3_secret_access_key": None}, "s3_credentials_incomplete"),
        ({"s3_access_key_id": None}, "s3_credentials_incomplete"),
        ({"s3_endpoint_url": "s3.example"}, "s3_endpoint_invalid"),
        ({"s3_endpoint_url": "ftp://s3.example"}, "s3_endpoint_invalid"),
        ({"s3_endpoint_url": "https://user:hidden@s3.example"}, "s3_endpoint_invalid"),
        ({"s3_endpoint_url": "https://s3.example:99999"}, "s3_endpoint_invalid"),
        ({"s3_public_base_url": "cdn.example"}, "s3_public_base_url_invalid"),
        ({"s3_region": "not a region"}, "s3_settings_invalid"),
        ({"ssl_cert_file": Path("absent.pem")}, "ca_file_invalid"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(
    tmp_path: Path, overrides: dict[str, object], code: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_store(settings(tmp_path, **({"s3_bucket": "frames"} | overrides)))
    assert raised.value.error_code == code
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "mode", "style"),
    [
        (None, "when_supported", "virtual"),
        ("https://s3.eu-west-1.amazonaws.com", "when_supported", "virtual"),
        ("https://minio.example:9000", "when_required", "path"),
        ("https://amazonaws.com.example", "when_required", "path"),
    ],
)
def test_checksums_and_addresses_fit_the_make_of_the_server(
    tmp_path: Path, endpoint: str | None, mode: str, style: str
) -> None:
    client = build_s3_client(settings(tmp_path, s3_endpoint_url=endpoint))
    config: Any = client.meta.config
    client.close()
    assert config.request_checksum_calculation == mode
    assert config.response_checksum_validation == mode
    assert config.s3["addressing_style"] == style


def test_the_environment_of_aws_and_of_proxies_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://elsewhere.example:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.example")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/elsewhere.pem")
    client = build_s3_client(settings(tmp_path))
    assert client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"
    config: Any = client.meta.config
    assert config.proxies == {}
    client.close()


def test_a_connection_given_by_the_caller_wins_over_the_settings(tmp_path: Path) -> None:
    connection = S3Connection(
        endpoint_url="https://s3.example",
        region_name="x-1",
        access_key_id="another-key",
        secret_access_key="another-secret",
    )
    client = build_s3_client(settings(tmp_path, egress_proxy=PROXY), connection)
    assert client.meta.endpoint_url == "https://s3.example"
    assert client.meta.region_name == "x-1"
    config: Any = client.meta.config
    assert config.proxies == {"http": PROXY, "https": PROXY}
    client.close()
    assert "a-secret" not in repr(S3Connection.from_settings(settings(tmp_path)))


@pytest.mark.parametrize(
    ("url", "trusted", "expected"),
    [
        ("https://s3.example", (), PROXY),
        ("http://127.0.0.1:9000", (), None),
        ("http://[::1]:9000", (), None),
        ("http://localhost:9000", (), None),
        ("https://s3.internal", ("s3.internal",), None),
        ("https://s3.internal:9000", ("s3.internal",), None),
        ("https://s3.internal:9000", ("s3.internal:9000",), None),
        ("https://s3.internal", ("s3.internal:443",), None),
        ("https://s3.internal:9001", ("s3.internal:9000",), PROXY),
        ("https://other.s3.internal", ("s3.internal",), PROXY),
    ],
)
def test_the_proxy_is_used_for_what_lies_behind_it(
    tmp_path: Path, url: str, trusted: tuple[str, ...], expected: str | None
) -> None:
    given = settings(tmp_path, egress_proxy=PROXY, trusted_private_hosts=trusted)
    assert proxy_for(given, url) == expected
    assert proxy_for(settings(tmp_path, trusted_private_hosts=trusted), url) is None


def test_trust_is_certifi_plus_the_private_authority(tmp_path: Path) -> None:
    assert ca_bundle(settings(tmp_path)) == Path(certifi.where())
    own = tmp_path / "own.pem"
    trustme.CA().cert_pem.write_to_path(str(own))
    given = settings(tmp_path, ssl_cert_file=own)
    bundle = ca_bundle(given)
    assert bundle == ca_bundle(given)
    assert bundle.is_relative_to(tmp_path / "home")
    context = ssl.create_default_context(cafile=str(bundle))
    roots = ssl.create_default_context(cafile=certifi.where())
    assert len(context.get_ca_certs()) == len(roots.get_ca_certs()) + 1
    assert list(bundle.parent.iterdir()) == [bundle]


@pytest.mark.parametrize(
    ("key", "content_type", "digest"),
    [
        (KEY, "image/png", "0123456789abcdef"),
        ("projects/p/derivatives/thumbnail_" + "a" * 32 + ".jpeg", "image/jpeg", "a" * 32),
        ("projects/p/sheets/sheet_1.webp", "image/webp", None),
        ("projects/p/page.exe", "application/octet-stream", None),
        ("projects/p/drawing.svg", "image/svg+xml", None),
        ("projects/p_0123456789abcdef.d/x", "application/octet-stream", None),
        ("projects/p/name", "application/octet-stream", None),
    ],
)
def test_what_a_key_tells_of_its_object(key: str, content_type: str, digest: str | None) -> None:
    assert content_type_of(key) == content_type
    assert content_digest_in(key) == digest


def test_the_parts_of_a_file_at_aws_carry_the_checksums_that_were_announced(tmp_path: Path) -> None:
    """AWS refuses parts with a checksum that the beginning, or the completion, does not name."""
    client = build_s3_client(settings(tmp_path))
    recorder = Recorder()
    client.meta.events.register("before-send.s3", recorder)
    sender = S3Sender(client, "frames", "films/", {})
    pieces, data = (b"one", b"two"), b"onetwo"
    digest = hashlib.sha256(data).hexdigest()
    sender.send_parts(KEY, pieces, "image/png", digest, is_conditional=True)
    client.close()
    begun, first, second, completed = recorder.sent
    assert recorder.headers(begun)["x-amz-checksum-algorithm"] == "CRC32"
    for part in (first, second):
        assert recorder.headers(part)["x-amz-trailer"] == "x-amz-checksum-crc32"
        assert recorder.headers(part)["content-md5"]
    assert recorder.headers(completed)["if-none-match"] == "*"
    body: Any = completed.body
    # As the second and the third answer said.
    assert "<ChecksumCRC32>crc2<" in body.decode()
    assert "<ChecksumCRC32>crc3<" in body.decode()
