"""A page of a library of 20,000 things, half of them generated frames, for every question.

Prints for each question the median time of its first page and of a page in the middle, in
milliseconds and as a ratio to reading as many rows by their primary keys in the same round. The
promise is 100 ms per page on the embedded database.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from scene_pipeline.database import embedded
from scene_pipeline.database.migrations import migrate
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import open_pool
from scene_pipeline.pipeline.library.searching import LibraryQuery, search
from scene_pipeline_tests.large_library import make_large_library

ROUNDS = 9
PAGE = 50
PROMISED_MS = 100.0
QUESTIONS = {
    "everything": LibraryQuery(),
    "text, in everything": LibraryQuery(text="lighthouse"),
    "text, rare": LibraryQuery(text="albatross"),
    "text, two words": LibraryQuery(text="white albatross"),
    "tag, on all": LibraryQuery(tags=("sea",)),
    "tag, on 1 of 100": LibraryQuery(tags=("tag7",)),
    "kind": LibraryQuery(kind="image"),
    "kind, rare": LibraryQuery(kind="scene_video"),
    "kind, frames": LibraryQuery(kind="frame"),
    "project": LibraryQuery(project_key="project_3"),
    "project and text": LibraryQuery(project_key="project_3", text="lighthouse"),
    "client": LibraryQuery(client_id="client_9"),
    "campaign": LibraryQuery(campaign_id="campaign_9"),
    "model": LibraryQuery(model="model-3"),
    "model, rare": LibraryQuery(model="rare-model"),
    "seed": LibraryQuery(seed=4444),
    "date": LibraryQuery(
        created_after=datetime(2026, 1, 3, tzinfo=UTC),
        created_before=datetime(2026, 1, 5, tzinfo=UTC),
    ),
}


async def seconds_of_keys(conn: Connection) -> float:
    """Reading as many rows as a page has by their primary keys, of either table."""
    start = time.perf_counter()
    await conn.execute(
        "SELECT * FROM user_assets WHERE id = ANY(%s)", (list(range(1, 10_000, 10_000 // PAGE)),)
    )
    await conn.execute(
        "SELECT * FROM scene_images WHERE id = ANY(ARRAY("
        " SELECT id FROM scene_images ORDER BY id LIMIT %s))",
        (PAGE,),
    )
    return time.perf_counter() - start


async def seconds_of_page(conn: Connection, query: LibraryQuery) -> float:
    """One page, as every door asks for it."""
    start = time.perf_counter()
    await search(conn, query)
    return time.perf_counter() - start


async def middle_of(conn: Connection, query: LibraryQuery) -> LibraryQuery:
    """The same question ten pages on, or at the last page that there is."""
    for _ in range(10):
        cursor = (await search(conn, query)).next_cursor
        if cursor is None:
            break
        query = replace(query, cursor=cursor)
    return query


async def main(url: str) -> None:
    """Measure and print."""
    async with open_pool(url) as pool, pool.connection() as conn:
        await conn.set_autocommit(True)
        await make_large_library(conn)
        sys.stdout.write(
            f"{'question':<22}{'first page':>14}{'ratio':>8}{'page 11':>12}{'ratio':>8}\n"
        )
        slowest = 0.0
        for name, question in QUESTIONS.items():
            query = replace(question, limit=PAGE)
            later = await middle_of(conn, query)
            rounds = [
                (
                    await seconds_of_keys(conn),
                    await seconds_of_page(conn, query),
                    await seconds_of_page(conn, later),
                )
                for _ in range(ROUNDS)
            ]
            keys, first, middle = (
                statistics.median(column) for column in zip(*rounds, strict=True)
            )
            slowest = max(slowest, first, middle)
            sys.stdout.write(
                f"{name:<22}{first * 1000:>11.1f} ms{first / keys:>8.1f}"
                f"{middle * 1000:>9.1f} ms{middle / keys:>8.1f}\n"
            )
        verdict = "kept" if slowest * 1000 < PROMISED_MS else "BROKEN"
        sys.stdout.write(
            f"slowest median: {slowest * 1000:.1f} ms; {PROMISED_MS:.0f} ms per page: {verdict}\n"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        home.chmod(0o711)  # PostgreSQL, which never runs as root, must be able to pass
        with embedded.attach(home) as server:
            migrate(server.url("scene_pipeline"))
            asyncio.run(main(server.url("scene_pipeline")))
        while embedded.is_running(home):  # it stops a moment after its last user
            time.sleep(0.1)
