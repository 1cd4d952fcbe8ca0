"""What the local store does on the disk beyond the common contract."""

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.local import INCOMING, LEFTOVER_AGE_SECONDS, LocalStore

KEY = "projects/p/scenes/scene_1_20250102T030405Z_0123456789abcdef.png"
DATA = b"a picture"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "frames"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root, "http://127.0.0.1:8420/")


def put(store: LocalStore, key: str = KEY, data: bytes = DATA) -> None:
    store.put(key, data, content_type="image/png", sha256=hashlib.sha256(data).hexdigest())


def unfinished(root: Path) -> list[str]:
    return [path.name for path in (root / INCOMING).glob("*.part")]


def test_a_key_is_a_path_below_the_directory_and_the_address_shows_it(
    store: LocalStore, root: Path
) -> None:
    put(store)
    assert (root / KEY).read_bytes() == DATA
    assert store.url(KEY) == f"http://127.0.0.1:8420/frames/{KEY}"
    assert store.locate(KEY) == root / KEY


def test_nothing_unfinished_stays_behind(store: LocalStore, root: Path) -> None:
    put(store)
    put(store)
    with pytest.raises(StorageError):
        put(store, data=b"other")
    assert unfinished(root) == []


def test_a_stored_file_may_be_read_by_others(store: LocalStore, root: Path) -> None:
    before = os.umask(0o022)
    try:
        put(store)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / KEY).stat().st_mode) == 0o644


def test_unfinished_files_are_no_objects_and_are_removed_when_a_day_old(
    store: LocalStore, root: Path
) -> None:
    incoming = root / INCOMING
    incoming.mkdir(parents=True)
    old, young = incoming / "old.part", incoming / "young.part"
    old.write_bytes(b"half a pic")
    young.write_bytes(b"half a pic")
    long_ago = time.time() - LEFTOVER_AGE_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    put(store)
    assert [found.key for found in store.list("")] == [KEY]
    assert unfinished(root) == ["young.part"]


def test_a_full_disk_is_told_and_leaves_nothing(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError) as raised:
            put(store)
    assert raised.value.error_code == "storage_full"
    assert "full" in raised.value.message
    assert not (root / KEY).exists()
    assert unfinished(root) == []
    put(store)
    assert store.read(KEY) == DATA


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_directory_without_permission_is_told(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(StorageError) as raised:
        put(store)
    assert raised.value.error_code == "storage_denied"
    assert not raised.value.retryable


def test_a_file_system_without_hard_links_still_never_overwrites(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    put(store)
    put(store)
    with pytest.raises(StorageError) as raised:
        put(store, data=b"other")
    assert raised.value.error_code == "object_exists"
    assert store.read(KEY) == DATA
    assert unfinished(root) == []


def test_a_link_that_leads_out_is_not_followed(
    store: LocalStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    root.mkdir()
    (root / "projects").symlink_to(outside)
    (root / "linked.png").symlink_to(outside / "secret.png")
    for attempt in (
        lambda: store.read("projects/secret.png"),
        lambda: store.locate("projects/secret.png"),
        lambda: store.delete("projects/secret.png"),
        lambda: put(store, "projects/new.png"),
        lambda: store.read("linked.png"),
        lambda: store.locate("linked.png"),
        lambda: put(store, "linked.png"),
    ):
        with pytest.raises(StorageError):
            attempt()
    assert [path.name for path in outside.iterdir()] == ["secret.png"]
    assert list(store.list("")) == []


def test_a_link_to_the_whole_directory_is_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "frames").symlink_to(tmp_path / "disk")
    store = LocalStore(tmp_path / "frames", "http://127.0.0.1:8420")
    put(store)
    assert store.read(KEY) == DATA


def test_an_object_and_a_folder_of_the_same_name_exclude_each_other(store: LocalStore) -> None:
    put(store, "projects/one.png")
    with pytest.raises(StorageError) as raised:
        put(store, "projects/one.png/below.png")
    assert raised.value.error_code == "key_invalid"
    with pytest.raises(StorageError) as raised:
        store.put("projects", b"", content_type="application/octet-stream", sha256=sha256(b""))
    assert raised.value.error_code == "key_invalid"


def test_a_pipe_in_the_tree_holds_nobody_up(store: LocalStore, root: Path) -> None:
    (root / "projects").mkdir(parents=True)
    os.mkfifo(root / "projects" / "pipe.png")
    assert store.head("projects/pipe.png") is None


def test_damage_on_the_disk_shows_in_the_digest(store: LocalStore, root: Path) -> None:
    put(store)
    (root / KEY).write_bytes(b"A picture")
    found = store.head(KEY)
    assert found is not None
    assert found.sha256 != sha256(DATA)


def test_listing_is_in_key_order_where_folders_and_files_mix(store: LocalStore) -> None:
    keys = ["a-b.png", "a.png", "a/b.png", "a/c/d.png", "ab.png", "b/a.png"]
    for key in reversed(keys):
        put(store, key)
    assert [found.key for found in store.list("")] == sorted(keys) == keys
    assert [found.key for found in store.list("a")] == keys[:5]
    assert [found.key for found in store.list("a/c/")] == ["a/c/d.png"]


def test_reading_makes_no_directory(store: LocalStore, root: Path) -> None:
    assert list(store.list("")) == []
    assert store.head(KEY) is None
    store.delete(KEY)
    assert not root.exists()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_process_killed_before_the_name_is_given_leaves_no_object(
    store: LocalStore, root: Path
) -> None:
    program = (
        "import hashlib, os, signal, sys\n"
        "from pathlib import Path\n"
        "from scene_pipeline.storage.local import LocalStore\n"
        "os.link = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "data = sys.argv[3].encode()\n"
        "LocalStore(Path(sys.argv[1]), 'http://x').put(sys.argv[2], data,\n"
        "    content_type='image/png', sha256=hashlib.sha256(data).hexdigest())\n"
    )
    command = [sys.executable, "-c", program, str(root), KEY, DATA.decode()]
    killed = subprocess.run(command, check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert len(unfinished(root)) == 1
    assert store.head(KEY) is None
    assert list(store.list("")) == []
    put(store)
    assert store.read(KEY) == DATA
