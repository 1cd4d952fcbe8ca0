"""Asks current URLs whether they still serve their bytes, some at a time, all of them in turn.

A URL in a document is a promise for good, and nothing else ever looks at one again: a bucket's
policy may change, a CDN may forget, a disk may lose files. Each sweep has a budget of requests.

Belongs here: which versions are asked, and the numbers. Does not belong here: asking
(`pipeline.checking.addresses`), repairing (`pipeline.upkeep.reconcile`, `heal`).
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from scene_pipeline.database.asked_addresses import CurrentAddress, due_addresses, save_unasked
from scene_pipeline.database.frame_checks import (
    VerdictRow,
    kept_verdicts,
    save_verdicts,
    timely_verdicts,
)
from scene_pipeline.pipeline.checking.addresses import AddressReader, Answer
from scene_pipeline.pipeline.checking.frames import verdict_row
from scene_pipeline.pipeline.checking.verdicts import address_verdict
from scene_pipeline.pipeline.checks import CheckName, CheckVerdict
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.services import Services

ASKED: CheckName = "url_serves_the_stored_bytes"
PAGE = 50
"""Verdicts that are told and kept together: what a killed sweep has found counts."""


@dataclass
class SweepReport:
    """What a sweep found of the addresses that were still current when the answers were there."""

    passed: int = 0
    wrong: list[tuple[SceneRef, CheckVerdict]] = field(default_factory=list)
    """URLs that answer, and not with their bytes."""
    unreachable: list[tuple[SceneRef, CheckVerdict]] = field(default_factory=list)
    """URLs of which nothing is known, with the reason."""
    left_out: int = 0
    """URLs of the frame server of this machine, which does not run."""

    @property
    def checked(self) -> int:
        """How many came to a verdict."""
        return self.passed + len(self.wrong) + len(self.unreachable)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is said of one address."""

    ref: SceneRef
    verdict: CheckVerdict
    row: VerdictRow
    answer: Answer


async def sweep_truth(
    services: Services, limit: int, report: SweepReport, *, run_id: str | None = None
) -> AsyncGenerator[list[tuple[SceneRef, CheckVerdict]], None]:
    """Ask the URLs of current versions that were not asked for longest.

    Frames of archived projects are among them, since their URLs are promised as well; those of
    drills are not.

    Args:
        services: Of this process.
        limit: The most requests.
        report: Is filled as the sweep goes on.
        run_id: Dagster's id of the run.

    Yields:
        Of some URLs at a time the verdicts that are not those of the last time, and all that
        failed. They are kept when the next ones are asked for, so that a sweep that is killed
        before they were told leaves them to the next one.
    """
    async with services.pool.connection() as conn:
        due = await due_addresses(conn, ASKED, limit)
    reader = AddressReader(services, asyncio.Semaphore(services.settings.download_concurrency))
    with closing(reader):
        for start in range(0, len(due), PAGE):
            found, unasked = await _ask_page(reader, due[start : start + PAGE])
            async with services.pool.connection() as conn:
                timely = await timely_verdicts(conn, [one.row for one in found])
                known = await kept_verdicts(conn, ASKED, [one.row for one in found])
            found = [one for one in found if one.row in timely]
            rows = [one.row for one in found]
            _count(report, found, unasked)
            yield [
                (one.ref, one.verdict)
                for one in found
                if not one.verdict.passed or one.row not in known
            ]
            async with services.pool.connection() as conn:
                await save_verdicts(conn, rows, run_id=run_id)
                await save_unasked(conn, unasked)


async def _ask_page(
    reader: AddressReader, page: Sequence[CurrentAddress]
) -> tuple[list[_Found], list[CurrentAddress]]:
    """What was found, and the addresses of which nobody could be asked."""
    answers = await asyncio.gather(
        *(reader.ask(one.url, one.sha256, one.size_bytes) for one in page)
    )
    found: list[_Found] = []
    unasked: list[CurrentAddress] = []
    for one, answer in zip(page, answers, strict=True):
        ref = SceneRef(one.project_key, one.scene_id)
        verdict = address_verdict(ref, one.version, answer)
        if verdict is None:
            unasked.append(one)
        else:
            row = verdict_row(one.project_id, ref, verdict, one.url)
            found.append(_Found(ref, verdict, row, answer))
    return found, unasked


def _count(report: SweepReport, found: Sequence[_Found], unasked: Sequence[CurrentAddress]) -> None:
    report.left_out += len(unasked)
    for one in found:
        if one.verdict.passed:
            report.passed += 1
        elif one.answer.kind == "wrong":
            report.wrong.append((one.ref, one.verdict))
        else:
            report.unreachable.append((one.ref, one.verdict))
