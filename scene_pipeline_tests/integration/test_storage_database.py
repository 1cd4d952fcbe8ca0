"""What the database store does in a real PostgreSQL beyond the common contract."""

import hashlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.settings import load_settings
from scene_pipeline.storage import database
from scene_pipeline.storage.database import DatabaseStore
from scene_pipeline.storage.opening import opened_store

KEY = "projects/p/scenes/scene_1.png"
LARGE = secrets.token_bytes(3 * 1024 * 1024 + 5)


@pytest.fixture
def store(database_url: str) -> Iterator[DatabaseStore]:
    built = DatabaseStore(database_url, "http://127.0.0.1:8420")
    yield built
    built.close()


def put(store: DatabaseStore, data: bytes, key: str = KEY) -> None:
    store.put(key, data, content_type="image/png", sha256=hashlib.sha256(data).hexdigest())


def execute(database_url: str, query: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(query.encode())


def test_a_part_is_read_without_the_whole(store: DatabaseStore, database_url: str) -> None:
    put(store, LARGE)
    assert b"".join(store.part(KEY, 1_000_000, 600_000)) == LARGE[1_000_000:1_600_000]
    assert b"".join(store.part(KEY, len(LARGE) - 3, 100)) == LARGE[-3:]
    with psycopg.connect(database_url) as conn:
        found = conn.execute(
            "SELECT attstorage FROM pg_attribute WHERE attname = 'data'"
            " AND attrelid = 'asset_blobs'::regclass"
        ).fetchone()
    assert found == ("e",)


def test_large_files_follow_each_other_on_one_connection(
    store: DatabaseStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    digest = hashlib.sha256(LARGE).hexdigest()
    for number in range(3):
        key = f"projects/p/{number}.png"
        store.put_file(key, path, content_type="image/png", sha256=digest)
        assert b"".join(store.open(key)) == LARGE


def test_a_file_above_the_bound_is_refused_by_its_size_alone(
    store: DatabaseStore, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(256 * 1024**2 + 1)
    with pytest.raises(StorageError) as raised:
        store.put_file(KEY, path, content_type="image/png", sha256="0" * 64)
    assert raised.value.error_code == "object_too_large"


def test_damage_in_the_table_is_told_at_the_end(store: DatabaseStore, database_url: str) -> None:
    put(store, LARGE)
    execute(
        database_url, "UPDATE asset_blobs SET data = set_byte(data, 5, 255 - get_byte(data, 5))"
    )
    chunks = store.open(KEY)
    next(chunks)
    for attempt in (lambda: list(chunks), lambda: store.read(KEY)):
        with pytest.raises(StorageError) as raised:
            attempt()
        assert raised.value.error_code == "storage_corrupted"


def test_an_object_that_goes_while_it_is_read_is_told(store: DatabaseStore) -> None:
    put(store, LARGE)
    chunks = store.open(KEY)
    next(chunks)
    store.delete(KEY)
    put(store, LARGE)
    with pytest.raises(StorageError) as raised:
        next(chunks)
    assert raised.value.error_code == "object_missing"


def test_a_list_goes_on_over_many_pages_in_key_order(
    store: DatabaseStore, database_url: str
) -> None:
    execute(
        database_url,
        "INSERT INTO asset_blobs (key, data, content_type, size_bytes, sha256)"
        " SELECT 'projects/p/a' || n || '.png', '', 'image/png', 0, repeat('0', 64)"
        " FROM generate_series(1, 2500) n",
    )
    put(store, b"x", "projects/p/b.png")
    put(store, b"x", "projects/p/aa_.png")
    keys = [facts.key for facts in store.list("projects/p/a")]
    assert len(keys) == 2501
    assert keys == sorted(keys)
    # What stands for anything in a pattern stands for itself in a prefix.
    assert [facts.key for facts in store.list("projects/p/aa_")] == ["projects/p/aa_.png"]
    assert list(store.list("projects/p/a_")) == []


def test_connections_that_died_are_replaced_and_cost_nothing(
    store: DatabaseStore, database_url: str
) -> None:
    put(store, LARGE)
    chunks = store.open(KEY)
    first = next(chunks)
    execute(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert first + b"".join(chunks) == LARGE


def test_a_server_that_is_down_may_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.5)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        store = DatabaseStore(f"postgresql://me:hidden@127.0.0.1:{port}/db", "http://x")
        with pytest.raises(StorageError) as raised:
            store.head(KEY)
        store.close()
    assert raised.value.retryable
    assert "hidden" not in str(raised.value)


def test_a_database_without_the_table_is_told(empty_database_url: str) -> None:
    store = DatabaseStore(empty_database_url, "http://x")
    with pytest.raises(StorageError) as raised:
        store.head(KEY)
    store.close()
    assert raised.value.error_code == "storage_unprepared"
    assert not raised.value.retryable
    assert raised.value.__cause__ is not None


def test_an_upload_leaves_the_table_alone_until_it_is_kept(store: DatabaseStore) -> None:
    thrown_away, kept = store.receive(KEY), store.receive(KEY)
    for piece in (LARGE[:2_000_000], LARGE[2_000_000:]):
        thrown_away.write(piece)
        kept.write(piece)
    thrown_away.discard()
    assert store.head(KEY) is None
    assert kept.keep() == store.head(KEY)
    kept.discard()
    assert store.read(KEY) == LARGE
    with pytest.raises(StorageError) as raised:
        store.receive(KEY)
    assert raised.value.error_code == "object_exists"


def test_a_process_that_has_opened_nothing_reaches_the_store_by_the_settings(
    database_url: str, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path, storage_url="database://", database_url=database_url)
    with opened_store(settings) as store:
        store.put(KEY, b"x", content_type="image/png", sha256=hashlib.sha256(b"x").hexdigest())
    with opened_store(settings) as store:
        assert store.read(KEY) == b"x"
