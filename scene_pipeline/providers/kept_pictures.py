"""Pictures that came with the answer to a request, until the pipeline reads them.

Belongs here: a bounded place in memory. Does not belong here: what is done where one is gone; that
is for the adapter, which knows what it cost.
"""

import threading
from collections import OrderedDict


class KeptPictures:
    """Pictures by generation, the oldest given up where they become too many; thread safe.

    Args:
        max_bytes: Of all of them together; the newest is kept whatever its size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, bytes] = OrderedDict()

    def put(self, generation_id: str, data: bytes) -> None:
        """Keep one."""
        with self._lock:
            self._pictures[generation_id] = data
            self._pictures.move_to_end(generation_id)
            total = sum(map(len, self._pictures.values()))
            while total > self._max_bytes and len(self._pictures) > 1:
                total -= len(self._pictures.popitem(last=False)[1])

    def get(self, generation_id: str) -> bytes | None:
        """The picture of a generation, where it is still there."""
        with self._lock:
            return self._pictures.get(generation_id)

    def clear(self) -> None:
        """Give all of them up."""
        with self._lock:
            self._pictures.clear()
