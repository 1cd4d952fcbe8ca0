"""Google Cloud Storage without Google: settings, what is signed, and its S3 endpoint."""

import base64
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from scene_pipeline.errors import ConfigurationError, StorageError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore
from scene_pipeline.storage.gcs_client import build_gcs_access
from scene_pipeline.storage.registry import build_store
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.google_keys import ACCOUNT, service_account
from scene_pipeline_tests.recorded_s3 import Recorder

KEY = "projects/p/scenes/scene_1_20250102T030405Z_0123456789abcdef.png"
PROXY = "http://proxy.example:3128"


def settings(home: Path, **overrides: object) -> Settings:
    values: dict[str, object] = {
        "home": home,
        "storage_url": "gs://frames/films",
        "gcs_service_account_json": service_account(),
        "public_url": "https://films.example",
        "ssl_cert_file": None,
    }
    return load_settings(**(values | overrides))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return build_store(settings(tmp_path))


def test_permanent_addresses_are_those_of_google_a_cdn_or_the_gateway(tmp_path: Path) -> None:
    own = f"https://storage.googleapis.com/frames/films/{KEY}"
    assert build_store(settings(tmp_path)).url(KEY) == own
    cdn = build_store(settings(tmp_path, s3_public_base_url="https://cdn.example/"))
    assert cdn.url(KEY) == f"https://cdn.example/films/{KEY}"
    assert cdn.url(KEY, "public") == own
    gateway = build_store(settings(tmp_path, url_mode="gateway"))
    assert gateway.url(KEY) == f"https://films.example/media/{KEY}"


def test_a_signed_address_is_of_the_fourth_version_and_ends(store: ObjectStore) -> None:
    signed = urlsplit(store.urls([KEY], "signed", expires_seconds=90)[KEY])
    query = parse_qs(signed.query)
    assert (signed.netloc, signed.path) == ("storage.googleapis.com", f"/frames/films/{KEY}")
    assert query["X-Goog-Algorithm"] == ["GOOG4-RSA-SHA256"]
    assert query["X-Goog-Expires"] == ["90"]
    assert query["X-Goog-Credential"][0].startswith(f"{ACCOUNT}/")
    assert "response-content-disposition" not in query
    svg = parse_qs(urlsplit(store.url("assets/images/a.svg", "signed")).query)
    assert svg["response-content-disposition"] == ["attachment"]


def test_an_upload_is_permitted_for_one_key_type_and_size(store: ObjectStore) -> None:
    upload = store.presign_upload(
        "uploads/a.pdf", content_type="application/pdf", max_bytes=1000, expires_seconds=60
    )
    assert (upload.method, upload.max_bytes, upload.is_size_enforced) == ("POST", 1000, True)
    assert upload.url == "https://storage.googleapis.com/frames/"
    policy = json.loads(base64.b64decode(upload.fields["policy"]))
    for condition in (
        {"bucket": "frames"},
        {"key": "films/uploads/a.pdf"},
        {"Content-Type": "application/pdf"},
        {"Content-Disposition": "attachment"},
        ["content-length-range", 1, 1000],
    ):
        assert condition in policy["conditions"]
    lasts = datetime.fromisoformat(policy["expiration"]) - datetime.now(UTC)
    assert 0 < lasts.total_seconds() <= 60


def test_without_a_key_nothing_is_signed_and_it_says_so(tmp_path: Path) -> None:
    store = build_store(
        settings(tmp_path, gcs_service_account_json=None, gcs_endpoint_url="http://127.0.0.1:9")
    )
    with pytest.raises(StorageError) as raised:
        store.url(KEY, "signed")
    assert raised.value.error_code == "url_mode_unsupported"
    with pytest.raises(StorageError) as raised:
        store.presign_upload(KEY, content_type="image/png", max_bytes=1)
    assert raised.value.error_code == "upload_unsupported"
    assert "GCS_SERVICE_ACCOUNT_JSON" in raised.value.next_action


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(service_account())
    access = build_gcs_access(settings(tmp_path, gcs_service_account_json=str(path)))
    assert access.signer is not None
    assert "PRIVATE" not in repr(access)


BROKEN_KEY = json.dumps(json.loads(service_account()) | {"private_key": "hidden"})


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"gcs_service_account_json": "{hidden"}, "gcs_credentials_invalid"),
        ({"gcs_service_account_json": '{"type": "hidden"}'}, "gcs_credentials_invalid"),
        ({"gcs_service_account_json": BROKEN_KEY}, "gcs_credentials_invalid"),
        ({"gcs_service_account_json": "absent-hidden.json"}, "gcs_credentials_invalid"),
        ({"gcs_endpoint_url": "storage.example"}, "gcs_endpoint_invalid"),
        ({"gcs_endpoint_url": "https://user:hidden@storage.example"}, "gcs_endpoint_invalid"),
        ({"gcs_endpoint_url": "https://storage.example/storage/v1"}, "gcs_endpoint_invalid"),
        ({"gcs_endpoint_url": "https://storage.example:99999"}, "gcs_endpoint_invalid"),
        ({"ssl_cert_file": Path("absent.pem")}, "ca_file_invalid"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(
    tmp_path: Path, overrides: dict[str, object], code: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_store(settings(tmp_path, **overrides))
    assert raised.value.error_code == code
    assert raised.value.next_action
    assert "hidden" not in str(raised.value)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(ConfigurationError) as raised:
        build_store(settings(tmp_path))
    assert raised.value.error_code == "gcs_extra_missing"
    assert "scene-pipeline[gcs]" in raised.value.next_action


def test_trust_and_the_way_out_are_ours_and_retries_are_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "STORAGE_EMULATOR_HOST", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://elsewhere.example:1")
    own = tmp_path / "own.pem"
    trustme.CA().cert_pem.write_to_path(str(own))
    access = build_gcs_access(settings(tmp_path, egress_proxy=PROXY, ssl_cert_file=own))
    session: Any = access.client._http
    for used in (session, session._auth_request.session):
        assert used.trust_env is False
        assert used.proxies == {"http": PROXY, "https": PROXY}
        assert Path(used.verify).parent == tmp_path / "tls"
        assert used.get_adapter("https://storage.googleapis.com").max_retries.total == 0
    assert access.client.api_endpoint == "https://storage.googleapis.com"
    assert access.is_google
    direct: Any = build_gcs_access(settings(tmp_path)).client._http
    assert direct.proxies == {}


def test_the_s3_endpoint_of_google_gets_what_it_understands(tmp_path: Path) -> None:
    """That endpoint cannot be asked here; this holds what boto3 would send there.

    It speaks S3's XML with HMAC keys, version 4 of the signature, `Content-MD5`, `x-amz-meta-` and
    version 2 of the listing. It knows neither `aws-chunked` bodies nor the newer checksums. Its own
    precondition, `x-goog-if-generation-match`, may not stand beside headers of Amazon's: "Requests
    cannot specify both x-amz and x-goog headers". So create-only writes are probed there and found
    to be ignored or refused, and gs:// is the way to have them.
    """
    given = settings(
        tmp_path,
        storage_url="s3://frames",
        s3_endpoint_url="https://storage.googleapis.com",
        s3_access_key_id="GOOG1EXAMPLE",
        s3_secret_access_key="a-secret",
        s3_region="auto",
    )
    client = build_s3_client(given)
    recorder = Recorder()
    client.meta.events.register("before-send.s3", recorder)
    store = S3Store(client, "frames")
    data = b"a picture"
    store._sender.send(
        KEY, data, "image/png", hashlib.sha256(data).hexdigest(), is_conditional=False
    )
    list(store.list("projects/"))

    put = recorder.headers(recorder.sent[0])
    assert recorder.sent[0].url == f"https://storage.googleapis.com/frames/{KEY}"
    assert put["content-md5"] == base64.b64encode(hashlib.md5(data).digest()).decode()  # noqa: S324
    assert put["x-amz-meta-sha256"] == hashlib.sha256(data).hexdigest()
    assert "/auto/s3/aws4_request" in put["authorization"]
    assert "if-none-match" not in put
    assert "content-encoding" not in put
    assert "x-amz-trailer" not in put
    assert not [name for name in put if name.startswith(("x-goog-", "x-amz-checksum"))]
    listing = parse_qs(urlsplit(recorder.sent[1].url).query)
    assert listing["list-type"] == ["2"]
    assert store.url(KEY) == f"https://storage.googleapis.com/frames/{KEY}"
    assert store._sender._create_only == {}
    store.close()
