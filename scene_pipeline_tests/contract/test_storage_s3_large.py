"""Large files in S3: parts, what they leave behind, and how much memory they take."""

import hashlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.base import KeepsUnfinishedUploads
from scene_pipeline.storage.registry import build_store
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline.storage.s3_sending import PART_BYTES
from scene_pipeline_tests.standins.faulty_s3 import FaultyS3, running_faulty_s3
from scene_pipeline_tests.standins.gcs import running_gcs
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

LARGE = secrets.token_bytes(2 * PART_BYTES + 17)
SHA256 = hashlib.sha256(LARGE).hexdigest()
MEMORY_FILE_BYTES = 64 * 1024 * 1024
MEMORY_GROWTH_BYTES = 32 * 1024 * 1024
"""A part, what the client makes of it to send it, and what an allocator keeps; 0 to 9 MiB were
seen."""


@pytest.fixture
def server() -> Iterator[FaultyS3]:
    with running_faulty_s3() as running:
        yield running


@pytest.fixture
def store(server: FaultyS3, tmp_path: Path) -> Iterator[S3Store]:
    built = faulty_store(server, tmp_path)
    yield built
    built.close()


def faulty_store(server: FaultyS3, home: Path) -> S3Store:
    store = build_store(
        load_settings(
            home=home,
            storage_url="s3://frames",
            s3_endpoint_url=server.url,
            s3_access_key_id="an-access-key",
            s3_secret_access_key="a-secret-access-key",
            ssl_cert_file=None,
        )
    )
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.mp4"
    path.write_bytes(LARGE)
    return path


def new_key() -> str:
    return f"assets/videos/asset_{secrets.token_hex(6)}.mp4"


def put(store: S3Store, path: Path, key: str | None = None) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    store.put_file(key or new_key(), path, content_type="video/mp4", sha256=digest)


def test_each_part_carries_its_digest_and_the_whole_its_own(
    server: FaultyS3, store: S3Store, large: Path
) -> None:
    key = new_key()
    put(store, large, key)
    assert server.objects[f"/frames/{key}"][0] == LARGE
    parts = [
        headers
        for line, headers in zip(server.requests, server.headers, strict=True)
        if line.startswith("PUT") and "partNumber" in line and key in line
    ]
    assert [int(headers["Content-Length"]) for headers in parts] == [PART_BYTES, PART_BYTES, 17]
    assert all(headers["Content-MD5"] for headers in parts)
    begun = next(h for h in server.headers if h.get("x-amz-meta-sha256") == SHA256)
    assert begun["Content-Type"] == "video/mp4"
    assert begun["Cache-Control"] == "public, max-age=31536000, immutable"
    completed = next(
        headers
        for line, headers in zip(server.requests, server.headers, strict=True)
        if line.startswith("POST") and "uploadId" in line and key in line
    )
    assert completed["If-None-Match"] == "*"
    assert not server.uploads


@pytest.mark.parametrize("habit", ["honours", "ignores", "refuses"])
def test_nothing_is_overwritten_by_parts_whatever_the_server_makes_of_create_only(
    server: FaultyS3, store: S3Store, large: Path, habit: str
) -> None:
    server.create_only = habit  # type: ignore[assignment]  # from the list above
    key = new_key()
    put(store, large, key)
    put(store, large, key)
    large.write_bytes(LARGE[::-1])
    with pytest.raises(StorageError) as raised:
        put(store, large, key)
    assert raised.value.error_code == "object_exists"
    assert server.objects[f"/frames/{key}"][0] == LARGE
    # What the server answered with an error was given up, and so were the probes.
    assert not server.uploads


def test_an_upload_that_fails_midway_gives_its_parts_up(
    server: FaultyS3, store: S3Store, large: Path
) -> None:
    server.refused_part = 2
    key = new_key()
    with pytest.raises(StorageError) as raised:
        put(store, large, key)
    assert raised.value.error_code == "storage_unavailable"
    assert raised.value.retryable
    assert not server.uploads
    assert store.head(key) is None
    server.refused_part = 0
    put(store, large, key)


def test_a_part_damaged_on_the_way_is_refused_by_its_digest(
    server: FaultyS3, store: S3Store, large: Path
) -> None:
    store._sender.create_only("parts")
    server.damages_writes = True
    with pytest.raises(StorageError) as raised:
        put(store, large)
    assert (raised.value.error_code, raised.value.retryable) == ("storage_corrupted", True)
    assert not server.uploads


def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    server: FaultyS3, store: S3Store
) -> None:
    pieces = (LARGE[:PART_BYTES], b"other bytes than were announced")
    with pytest.raises(StorageError) as raised:
        store._sender.send_parts(new_key(), pieces, "video/mp4", SHA256, is_conditional=True)
    assert raised.value.error_code == "checksum_mismatch"
    assert not server.uploads
    assert not server.objects


OTHER_WRITER = """
import hashlib, sys
from pathlib import Path
from scene_pipeline.errors import StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.registry import build_store

store = build_store(load_settings(home=Path(sys.argv[1])))
data = b"bytes of the other process"
try:
    store.put(sys.argv[2], data, content_type="image/png", sha256=hashlib.sha256(data).hexdigest())
except StorageError as error:
    print(error.error_code)
else:
    print("stored")
"""


def test_where_create_only_is_ignored_the_loser_finds_out_by_reading_back(
    server: FaultyS3, store: S3Store, tmp_path: Path
) -> None:
    """Two processes, each of which has seen that there is nothing yet."""
    server.create_only = "ignores"
    assert store.create_only() == "ignored"
    server.met_key = "projects/p/scenes/scene_1.png"
    data = b"bytes of this process"
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_WRITER, str(tmp_path), server.met_key],
        env={
            "SCENE_PIPELINE_STORAGE": "s3://frames",
            "S3_ENDPOINT_URL": server.url,
            "S3_ACCESS_KEY_ID": "an-access-key",
            "S3_SECRET_ACCESS_KEY": "a-secret-access-key",
        },
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as other:
        try:
            digest = hashlib.sha256(data).hexdigest()
            store.put(server.met_key, data, content_type="image/png", sha256=digest)
        except StorageError as error:
            ours = error.error_code
        else:
            ours = "stored"
        told = other.communicate(timeout=60)[0].decode().strip()
    assert sorted((ours, told)) == ["object_exists", "stored"]
    assert store.read(server.met_key) == (
        data if ours == "stored" else b"bytes of the other process"
    )


DYING_UPLOAD = """
import sys
from pathlib import Path
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.registry import build_store

def pieces():
    yield b"x" * (8 * 1024 * 1024)
    print("a part is sent", flush=True)
    sys.stdin.read()

store = build_store(load_settings(home=Path(sys.argv[1])))
store._sender.send_parts(sys.argv[2], pieces(), "video/mp4", "0" * 64, is_conditional=True)
"""


def environment(server: SeaweedFS) -> dict[str, str]:
    return {
        "SCENE_PIPELINE_STORAGE": f"s3://{server.bucket}/dying",
        "S3_ENDPOINT_URL": server.http_url,
        "S3_ACCESS_KEY_ID": server.access_key_id,
        "S3_SECRET_ACCESS_KEY": server.secret_access_key,
    }


def test_what_a_killed_upload_leaves_is_given_up_later_and_nothing_of_others(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(tmp_path, storage_url=f"s3://{seaweedfs.bucket}/dying")
    key = new_key()
    with subprocess.Popen(
        [sys.executable, "-c", DYING_UPLOAD, str(tmp_path), key],
        env=environment(seaweedfs),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"a part is sent\n"
        process.kill()
    admin = build_s3_client(settings)
    for name in (f"other/{new_key()}", "dying/work of somebody else.mp4"):
        admin.create_multipart_upload(Bucket=seaweedfs.bucket, Key=name)

    def unfinished() -> list[str]:
        answer = admin.list_multipart_uploads(Bucket=seaweedfs.bucket)
        return sorted(upload["Key"] for upload in answer.get("Uploads", []))

    store = build_store(settings)
    assert isinstance(store, KeepsUnfinishedUploads)
    before = unfinished()
    assert f"dying/{key}" in before
    assert store.abort_unfinished_uploads(older_than=timedelta(days=1)) == 0
    assert store.abort_unfinished_uploads(older_than=timedelta(seconds=-1)) == 1
    assert unfinished() == [name for name in before if name != f"dying/{key}"]
    assert store.abort_unfinished_uploads(older_than=timedelta(seconds=-1)) == 0
    store.close()
    admin.close()


MEASURED = """
import hashlib, resource, sys
from pathlib import Path
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.registry import build_store

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

store = build_store(load_settings(home=Path(sys.argv[1])))
small, large = Path(sys.argv[2]), Path(sys.argv[3])
for path in (small, large):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    store.put_file(f"assets/videos/{path.name}", path, content_type="video/mp4",
                   sha256=digest.hexdigest())
    size = sum(len(chunk) for chunk in store.open(f"assets/videos/{path.name}"))
    assert size == path.stat().st_size
    before = peak() if path is small else before
print(peak() - before)
"""


@pytest.mark.parametrize("make", ["s3", "gcs"])
def test_a_large_file_takes_little_memory(
    request: pytest.FixtureRequest, tmp_path: Path, make: str
) -> None:
    small, large = tmp_path / f"small_{make}.mp4", tmp_path / f"large_{make}.mp4"
    small.write_bytes(LARGE[: PART_BYTES + 1])
    with large.open("wb") as file:
        file.truncate(MEMORY_FILE_BYTES)
    with running_gcs() as gcs:
        if make == "s3":
            given = environment(request.getfixturevalue("seaweedfs"))
        else:
            settings = gcs.settings(tmp_path)
            given = {
                "SCENE_PIPELINE_STORAGE": "gs://frames",
                "GCS_ENDPOINT_URL": gcs.url,
                "GCS_SERVICE_ACCOUNT_JSON": settings.gcs_service_account_json or "",
            }
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(tmp_path), str(small), str(large)],
            env=given,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < MEMORY_GROWTH_BYTES
