"""Whether readers will see what a library's new addresses lead to, asked before they are written.

An address in a document is a promise to whoever reads the document. So one object of each part of
the library is asked for at the very address that would be written, as anybody would ask: without
credentials, and without following anybody elsewhere.

Belongs here: which objects are asked for, and what an answer means. Does not belong here: asking
(`storage.anonymous`), writing (`pipeline.upkeep.storage_copy_addresses`).
"""

from collections.abc import Generator
from dataclasses import dataclass

from scene_pipeline.database import storage_copies
from scene_pipeline.errors import StorageError
from scene_pipeline.pipeline.facts import failure_of
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.storage_copy_report import CopyReport, CopyTarget
from scene_pipeline.scenes.identity import READABLE_PREFIXES
from scene_pipeline.storage.addresses import MEDIA_PATH
from scene_pipeline.storage.anonymous import AnonymousReader
from scene_pipeline.storage.bucket_diagnosis import opening_cure
from scene_pipeline.storage.gcs import GcsStore
from scene_pipeline.storage.s3 import S3Store
from scene_pipeline.storage.served import FRAMES_PATH

COMPARED_BYTES = 64 * 1024
"""Of an object: enough to tell it from a page that asks for a password."""
_CANDIDATES = 5
"""Objects of a part that are looked for in the store, until one is there."""
_REDIRECTED = 302


def waits_for_switch(target: CopyTarget, url: str) -> bool:
    """Whether nobody answers at an address until the target is the store in use."""
    return url.startswith(f"{target.server_url}{FRAMES_PATH}") and not target.is_configured


@dataclass(frozen=True, slots=True)
class ReaderCheck:
    """Asks the target for what was copied.

    Attributes:
        services: Only the database is used.
        target: The store whose addresses are to be written.
        report: Where it is told what readers do not see.
    """

    services: Services
    target: CopyTarget
    report: CopyReport

    async def admits(self) -> bool:
        """Whether the new addresses may be written.

        What our own server shows is never held back, since it may not be up yet, or show the store
        in use: that is told as `CopyReport.unseen`.
        """
        reader = self.target.reader
        if reader is None:
            return True
        # A bucket's policy may open one and not the other.
        for part in READABLE_PREFIXES:
            key = await self._copied_key(part)
            if key is None:
                continue
            url = self.target.store.url(key)
            if waits_for_switch(self.target, url):
                continue
            if self._is_our_own(url):
                unseen = await self.services.call(self._own_server, reader, key, url)
                self.report.unseen = self.report.unseen or unseen
                continue
            reason = await self.services.call(self._reason_unread, reader, key, url)
            if reason is not None:
                self.report.unreadable = failure_of(self._unreadable(url, reason))
                return False
        return True

    async def _copied_key(self, part: str) -> str | None:
        """One object of this part that was copied and, where any of the first few is, is there."""
        prefix = f"{part}/"
        async with self.services.pool.connection() as conn:
            page = await storage_copies.copied_objects(
                conn, self.target.identity, prefix, _CANDIDATES
            )
        keys = [one.key for one in page if one.key.startswith(prefix)]
        for key in keys:
            if await self.services.call(self._is_there, key):
                return key
        return keys[0] if keys else None

    def _is_there(self, key: str) -> bool:
        try:
            return self.target.store.head(key) is not None
        except StorageError:
            return False

    def _is_our_own(self, url: str) -> bool:
        server = self.target.server_url
        return url.startswith((f"{server}{FRAMES_PATH}", f"{server}{MEDIA_PATH}"))

    def _own_server(self, reader: AnonymousReader, key: str, url: str) -> str | None:
        if not url.startswith(f"{self.target.server_url}{MEDIA_PATH}"):
            return self._reason_unread(reader, key, url)
        answer = reader.status(url)
        if answer == _REDIRECTED:
            return None
        return answer if isinstance(answer, str) else f"it answers with status {answer}"

    def _reason_unread(self, reader: AnonymousReader, key: str, url: str) -> str | None:
        """Why somebody without credentials does not see an object; None where they do."""
        try:
            expected = self._first_bytes(key)
        except StorageError as error:
            return error.message
        seen = reader.read(url, len(expected))
        if isinstance(seen, str):
            return seen
        return None if seen[: len(expected)] == expected else "it shows other bytes"

    def _first_bytes(self, key: str) -> bytes:
        chunks = self.target.store.open(key)
        first = next(chunks, b"")[:COMPARED_BYTES]
        if isinstance(chunks, Generator):
            chunks.close()
        return first

    def _unreadable(self, url: str, reason: str) -> StorageError:
        store = self.target.store
        cure = (
            opening_cure(store)
            if isinstance(store, S3Store | GcsStore)
            else "See that everybody can read there."
        )
        return StorageError(
            f"Readers would not see what documents name: {url} does not show its object: {reason}.",
            code="addresses_unreadable",
            next_action="Where readers can, and only this machine cannot, add --trust-addresses."
            f" {cure}",
        )
