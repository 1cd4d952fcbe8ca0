"""One small object written and removed again, before money is spent on what could not be kept.

Belongs here: that question alone. Does not belong here: everything else that `doctor` asks of a
store (`storage.diagnosis`).
"""

import secrets
from hashlib import sha256

from scene_pipeline.scenes.identity import DOCTOR_PREFIX
from scene_pipeline.storage.base import ObjectStore

_CONTENT_TYPE = "text/plain"


def probe_writing(store: ObjectStore) -> None:
    """Write and remove one object.

    Raises:
        StorageError: The store refuses or cannot be reached.
    """
    key = f"{DOCTOR_PREFIX}/run-{secrets.token_hex(8)}.txt"
    data = key.encode("ascii")
    store.put(key, data, content_type=_CONTENT_TYPE, sha256=sha256(data).hexdigest())
    store.delete(key)
