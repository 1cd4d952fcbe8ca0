"""One suite over both kinds of inbox; then what only a folder or only a bucket can do."""

import hashlib
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from scene_pipeline.errors import StorageError, UsageError
from scene_pipeline.pipeline.inbox.bucket import BucketInbox
from scene_pipeline.pipeline.inbox.folder import FolderInbox
from scene_pipeline.pipeline.inbox.setting import IN_A_TICK, diagnose_inbox, open_inbox
from scene_pipeline.pipeline.inbox.sources import NOT_OURS, Deadline, InboxEntry, InboxSource
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.inboxes import folder_of_nobody, unprivileged
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

Put = Callable[[str, bytes], None]


@pytest.fixture(params=["folder", "bucket-http", "bucket-https"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Settings, InboxSource, Put]]:
    """An inbox as the settings open it, and a way to leave a file there."""
    with ExitStack() as open_parts:
        if request.param == "folder":
            folder = tmp_path / "inbox"
            folder.mkdir()
            settings = load_settings(home=tmp_path / "home", inbox=str(folder))

            def put(name: str, data: bytes) -> None:
                (folder / name).write_bytes(data)

        else:
            server: SeaweedFS = request.getfixturevalue("seaweedfs")
            prefix = f"inbox-{secrets.token_hex(6)}"
            settings = server.settings(
                tmp_path / "home",
                is_https=request.param == "bucket-https",
                inbox=f"s3://{server.bucket}/{prefix}",
            )
            client = open_parts.enter_context(closing(build_s3_client(settings)))

            def put(name: str, data: bytes) -> None:
                client.put_object(Bucket=server.bucket, Key=f"{prefix}/{name}", Body=data)

        source = open_inbox(settings)
        assert source is not None
        open_parts.enter_context(closing(source))
        yield settings, source, put


def entries(source: InboxSource) -> dict[str, InboxEntry]:
    return {entry.path: entry for entry in source.list(Deadline(10)).entries}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_documents_are_listed_by_name_and_nothing_else(
    place: tuple[Settings, InboxSource, Put],
) -> None:
    _, source, put = place
    for name in (
        "film.json",
        "a b.JSON",
        "zoë.json",
        "film.frames.json",
        "film.Frames.JSON",
        ".hidden.json",
        "~$film.json",
        "film.json~",
        "notes.txt",
    ):
        put(name, b"{}")

    listing = source.list(Deadline(10))

    assert [entry.path for entry in listing.entries] == ["a b.JSON", "film.json", "zoë.json"]
    assert listing.is_complete
    assert [entry.obstacle for entry in listing.entries] == [None, None, None]
    assert source.origin("film.json") == f"{source.address}/film.json"


def test_a_document_is_read_as_it_was_listed(place: tuple[Settings, InboxSource, Put]) -> None:
    _, source, put = place
    data = secrets.token_bytes(700_000)
    put("film.json", data)
    [entry] = source.list(Deadline(10)).entries

    assert entry.size_bytes == len(data)
    assert source.read(entry) == data
    assert entries(source)["film.json"].fingerprint == entry.fingerprint


def test_a_document_that_is_another_by_now_is_for_the_next_tick(
    place: tuple[Settings, InboxSource, Put],
) -> None:
    _, source, put = place
    put("film.json", b'{"a": 1}')
    [before] = source.list(Deadline(10)).entries
    put("film.json", b'{"a": 2}')

    assert source.read(before) is None
    assert entries(source)["film.json"].fingerprint != before.fingerprint


def test_a_document_that_is_gone_by_now_is_none(place: tuple[Settings, InboxSource, Put]) -> None:
    _, source, _ = place

    assert source.read(InboxEntry("gone.json", "x", 3, 60.0)) is None


def test_what_was_written_is_found_again_and_written_over(
    place: tuple[Settings, InboxSource, Put],
) -> None:
    _, source, put = place
    assert source.output_digest("film.frames.json") is None

    for data in (b'{"first": 1}', b'{"second": 2}'):
        source.write_output("film.frames.json", data, digest(data))
        assert source.output_digest("film.frames.json") == digest(data)

    put("film.frames.json", b"{}")
    assert source.output_digest("film.frames.json") not in (None, digest(b'{"second": 2}'))
    assert entries(source) == {}


def test_a_probe_leaves_nothing_behind(place: tuple[Settings, InboxSource, Put]) -> None:
    settings, source, _ = place
    finding = diagnose_inbox(settings)

    assert finding is not None
    assert finding.is_ok
    assert source.address in finding.detail
    assert entries(source) == {}


def test_a_name_that_no_output_could_have_is_told_and_not_opened(
    place: tuple[Settings, InboxSource, Put],
) -> None:
    _, source, put = place
    put(f"{'n' * 220}.json", b"{}")

    [entry] = source.list(Deadline(10)).entries

    assert entry.obstacle is not None
    assert entry.obstacle.code == "file_name_invalid"


# ------------------------------------------------------------------------------------------ folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def test_what_is_no_plain_file_is_never_opened(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes(b"{}")
    (folder / "link.json").symlink_to(outside)
    (folder / "dangling.json").symlink_to(tmp_path / "nothing")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.json"))
        found = entries(FolderInbox(folder))

        assert set(found) == {
            "link.json",
            "dangling.json",
            "folder.json",
            "pipe.json",
            "socket.json",
        }
        for entry in found.values():
            assert entry.obstacle is not None
            assert entry.obstacle.code == "not_a_file"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_file_that_is_swapped_after_it_was_listed_is_not_followed(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    path = folder / "film.json"
    path.write_bytes(b"{}")
    source = FolderInbox(folder)
    [entry] = source.list(Deadline(10)).entries
    path.unlink()
    if kind == "link":
        (tmp_path / "secret.json").write_bytes(b"{}")
        path.symlink_to(tmp_path / "secret.json")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert source.read(entry) is None


def test_a_change_that_keeps_size_and_time_is_seen(folder: Path) -> None:
    path = folder / "film.json"
    path.write_bytes(b'{"a": 1}')
    os.utime(path, (1_700_000_000, 1_700_000_000))
    before = entries(FolderInbox(folder))["film.json"]
    path.write_bytes(b'{"a": 2}')
    os.utime(path, (1_700_000_000, 1_700_000_000))

    assert entries(FolderInbox(folder))["film.json"].fingerprint != before.fingerprint


def test_a_name_that_is_no_utf8_has_a_form_of_its_own(folder: Path) -> None:
    for name in (b"film-\xff.json", b"line\nbreak.json", b"film-%FF.json"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"{}")

    found = entries(FolderInbox(folder))

    assert set(found) == {"?/film-%FF.json", "?/line%0Abreak.json", "film-%FF.json"}
    assert found["film-%FF.json"].obstacle is None
    for path in ("?/film-%FF.json", "?/line%0Abreak.json"):
        obstacle = found[path].obstacle
        assert obstacle is not None
        assert obstacle.code == "file_name_invalid"
        path.encode("utf-8")


def test_the_age_is_that_of_the_last_change(folder: Path) -> None:
    path = folder / "film.json"
    path.write_bytes(b"{}")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    source = FolderInbox(folder, clock=lambda: 1_700_000_004.0)

    assert entries(source)["film.json"].age_seconds == pytest.approx(4.0)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_stands_under_our_name_and_is_no_file_is_not_ours(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    path = folder / "film.frames.json"
    if kind == "link":
        path.symlink_to(tmp_path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)

    assert FolderInbox(folder).output_digest("film.frames.json") == NOT_OURS


def test_unfinished_files_of_dead_processes_are_cleared_away(folder: Path) -> None:
    old, fresh = folder / ".scene-pipeline-00.part", folder / ".scene-pipeline-01.part"
    other = folder / ".somebody-elses.part"
    for path in (old, fresh, other):
        path.write_bytes(b"{")
    for path in (old, other):
        os.utime(path, (1_700_000_000, 1_700_000_000))

    FolderInbox(folder).list(Deadline(10))

    assert (old.exists(), fresh.exists(), other.exists()) == (False, True, True)


def test_no_time_left_is_no_empty_folder(folder: Path) -> None:
    (folder / "film.json").write_bytes(b"{}")

    listing = FolderInbox(folder).list(Deadline(0))

    assert (listing.entries, listing.is_complete) == ((), False)


def test_permissions_count() -> None:
    with folder_of_nobody() as folder:
        (folder / "film.json").write_bytes(b"{}")
        (folder / "film.json").chmod(0)
        source = FolderInbox(folder)
        [entry] = source.list(Deadline(10)).entries
        with unprivileged():
            with pytest.raises(UsageError) as unreadable:
                source.read(entry)
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
            with pytest.raises(UsageError) as unwritable:
                source.write_output("film.frames.json", b"{}", digest(b"{}"))
            folder.chmod(0)
            with pytest.raises(UsageError) as closed:
                source.list(Deadline(10))
            folder.chmod(0o700)

    assert unreadable.value.error_code == "file_unreadable"
    assert unwritable.value.error_code == "inbox_not_writable"
    assert closed.value.error_code == "inbox_not_readable"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("gs://bucket/inbox", "names no place"),
        ("https://example.com/inbox", "names no place"),
        ("s3://Bad Bucket/x", "names no bucket"),
        ("/nowhere/at/all", "/nowhere/at/all cannot be read: no such file or directory"),
    ],
)
def test_doctor_names_what_is_wrong_with_the_setting(
    setting: str, words: str, tmp_path: Path
) -> None:
    finding = diagnose_inbox(load_settings(home=tmp_path, inbox=setting))

    assert finding is not None
    assert not finding.is_ok
    assert words in finding.detail
    assert finding.cure


# ------------------------------------------------------------------------------------------ buckets


def bucket_inbox(server: SeaweedFS, home: Path, prefix: str, **options: float) -> BucketInbox:
    client = build_s3_client(server.settings(home), patience=IN_A_TICK)
    return BucketInbox(client, server.bucket, prefix, **options)


def test_what_lies_deeper_or_beside_the_prefix_is_not_listed(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    prefix = f"inbox-{secrets.token_hex(6)}"
    client = build_s3_client(seaweedfs.settings(tmp_path))
    for key in (f"{prefix}/in.json", f"{prefix}/deeper/no.json", f"{prefix}-2/no.json"):
        client.put_object(Bucket=seaweedfs.bucket, Key=key, Body=b"{}")
    client.close()

    with closing(bucket_inbox(seaweedfs, tmp_path, prefix)) as source:
        assert set(entries(source)) == {"in.json"}


def test_more_objects_than_one_page_holds_are_all_listed(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    prefix = f"inbox-{secrets.token_hex(6)}"
    client = build_s3_client(seaweedfs.settings(tmp_path))

    def put(number: int) -> None:
        key = f"{prefix}/film-{number:04}.json"
        client.put_object(Bucket=seaweedfs.bucket, Key=key, Body=b"{}")

    with closing(client), ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(1_020)))

    with closing(bucket_inbox(seaweedfs, tmp_path, prefix)) as source:
        assert len(entries(source)) == 1_020
        assert not source.list(Deadline(0)).is_complete


def test_an_object_that_takes_too_long_ends_the_tick(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    prefix = f"inbox-{secrets.token_hex(6)}"
    client = build_s3_client(seaweedfs.settings(tmp_path))
    client.put_object(Bucket=seaweedfs.bucket, Key=f"{prefix}/film.json", Body=b"{}")
    client.close()

    with closing(bucket_inbox(seaweedfs, tmp_path, prefix, read_seconds=0.0)) as source:
        [entry] = source.list(Deadline(10)).entries
        with pytest.raises(StorageError) as caught:
            source.read(entry)

    assert caught.value.error_code == "storage_slow"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("s3_secret_access_key", "wrong-secret", "storage_denied"),
        ("s3_endpoint_url", "http://127.0.0.1:1", "storage_unreachable"),
    ],
)
def test_a_bucket_that_refuses_or_is_silent_is_told_quickly_without_secrets(
    seaweedfs: SeaweedFS, tmp_path: Path, name: str, value: str, code: str
) -> None:
    settings = seaweedfs.settings(tmp_path, inbox=f"s3://{seaweedfs.bucket}/inbox")
    settings = settings.model_copy(update={name: value})
    source = open_inbox(settings)
    assert source is not None
    began = time.monotonic()

    with closing(source), pytest.raises(StorageError) as caught:
        source.list(Deadline(10))

    assert time.monotonic() - began < 20
    assert caught.value.error_code == code
    assert "secret" not in caught.value.message.lower()
