"""Bounds of number: how much of one thing may be under way at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from scene_pipeline.api.errors import busy


class Places:
    """A number of places; who finds none free is asked to come again. For one loop's thread.

    Args:
        limit: How many there are.
        what: What takes them: "uploads".
    """

    def __init__(self, limit: int, what: str) -> None:
        self._free = limit
        self._what = what

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place as long as the block lasts.

        Raises:
            ScenePipelineError: code "busy".
        """
        if self._free == 0:
            raise busy(self._what)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
