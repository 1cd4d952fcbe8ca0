"""PDF: a first line with the version, an end that says where the index is."""

import re

from scene_pipeline.media.file_kinds.base import FileView, refused, truncated

_BEGINNING = re.compile(rb"%PDF-[12]\.[0-9]")
# Readers look for the end in the last KiB; programs that save by appending write it several times.
_END_BYTES = 2048


def read(view: FileView) -> str:
    """Check the version and the end.

    Raises:
        FileRefusedError: file_not_allowed, truncated_file.
    """
    if not _BEGINNING.match(view.head):
        raise refused("a PDF file of an unknown version")
    end = view.tail[-_END_BYTES:]
    if b"startxref" not in end or b"%%EOF" not in end:
        raise truncated("its end is missing")
    return "pdf"
