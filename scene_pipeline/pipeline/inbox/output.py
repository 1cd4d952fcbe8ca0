"""Documents written back beside the files of the inbox, as NAME.frames.json.

Mode of operation: what is due stands in the database (the document's revision is newer than the one
that was written), so that frames, promotions and repairs bring it about alike. The digest of what
is about to be written is committed first: after a crash the file beside is known to be ours, and a
file that is not ours is never written over.

Belongs here: writing, and telling once that it cannot be done. Does not belong here: what a
document says (`pipeline.projects.importing`).
"""

import hashlib

from scene_pipeline.database.alerts import raise_alert
from scene_pipeline.database.inbox import (
    DueOutput,
    due_outputs,
    intend_output,
    note_output_failure,
    record_output,
)
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.inbox.report import InboxReport
from scene_pipeline.pipeline.inbox.sources import Deadline, InboxSource, output_name
from scene_pipeline.pipeline.projects.importing import export_revision

OUTPUTS_PER_TICK = 100
OUTPUT_SECONDS = 3.0
"""After this no further document is begun."""


class _ForeignOutputError(UsageError):
    """What stands beside the file was not written by us; other files are not concerned."""

    code = "output_exists"


async def write_outputs(conn: Connection, source: InboxSource, report: InboxReport) -> None:
    """Write the documents that changed since they were last written.

    Args:
        conn: Not in a transaction; the caller holds the inbox.
        source: The inbox.
        report: Is added to.

    Raises:
        StorageError: The bucket does not answer.
    """
    deadline = Deadline(OUTPUT_SECONDS)
    async with conn.transaction():
        due = await due_outputs(conn, source.address, OUTPUTS_PER_TICK)
    for number, output in enumerate(due):
        if number and deadline.is_over:
            return
        try:
            await _write(conn, source, output, report)
        except _ForeignOutputError as error:
            await _tell(conn, source, output, error, report, is_everywhere=False)
        except UsageError as error:
            await _tell(conn, source, output, error, report, is_everywhere=True)
            return


async def _write(
    conn: Connection, source: InboxSource, output: DueOutput, report: InboxReport
) -> None:
    async with conn.transaction():
        revision, data = await export_revision(conn, output.project_id)
    sha256 = hashlib.sha256(data).hexdigest()
    name = output_name(output.path)
    present = source.output_digest(name)
    if present not in {None, sha256, *output.own_outputs}:
        raise _ForeignOutputError(
            f"{source.origin(name)} was not written by Scene Pipeline, or was changed since, and"
            " is left as it is.",
            next_action="Move it away, and the document with its frames is written in its place.",
        )
    if present != sha256:
        digests = [sha256] if present is None else [present, sha256]
        async with conn.transaction():
            await intend_output(conn, source.address, output.path, digests)
        source.write_output(name, data, sha256)
        report.written.append(name)
    async with conn.transaction():
        await record_output(conn, source.address, output.path, sha256=sha256, revision=revision)


async def _tell(
    conn: Connection,
    source: InboxSource,
    output: DueOutput,
    error: UsageError,
    report: InboxReport,
    *,
    is_everywhere: bool,
) -> None:
    """Tell once, for as long as it lasts, that a document cannot be written."""
    what = source.address if is_everywhere else source.origin(output.path)
    async with conn.transaction():
        since = await note_output_failure(
            conn, source.address, output.path, is_everywhere=is_everywhere
        )
        is_new = await raise_alert(
            conn,
            fingerprint=f"inbox-output:{what}:{error.error_code}:{since.isoformat()}",
            code=error.error_code,
            message=error.message,
            next_action=error.next_action,
            project_id=None if is_everywhere else output.project_id,
        )
    if is_new:
        report.lines.append(f"{error.error_code}: {error.message} {error.next_action}")
