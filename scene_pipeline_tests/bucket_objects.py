"""Small objects for tests of buckets, and what a store says when it is refused one."""

import hashlib
import secrets

import pytest

from scene_pipeline.errors import StorageError
from scene_pipeline.storage.base import ObjectStore

DATA = b"a picture"


def put(store: ObjectStore, key: str, data: bytes = DATA, content_type: str = "image/png") -> None:
    store.put(key, data, content_type=content_type, sha256=hashlib.sha256(data).hexdigest())


def new_key(extension: str = "png") -> str:
    return f"projects/p/scenes/scene_{secrets.token_hex(6)}.{extension}"


def refused(store: ObjectStore) -> StorageError:
    with pytest.raises(StorageError) as raised:
        put(store, new_key())
    return raised.value
