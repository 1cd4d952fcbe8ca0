"""A library of 20,000 things: every question is answered from an index, page by page."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from scene_pipeline.database.asset_search import (
    Conditions,
    Position,
    assets_statement,
    frames_statement,
)
from scene_pipeline.database.assets import AssetRow
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.library.searching import LibraryPage, LibraryQuery, search
from scene_pipeline_tests.large_library import ASSETS, FRAMES, make_large_library
from scene_pipeline_tests.standins.postgres import DatabasePool, PostgresServer

T = TypeVar("T")
PROJECT = "project_3"
LARGE_TABLES = ("user_assets", "scene_images")
QUERIES = {
    "everything": LibraryQuery(),
    "a word that is everywhere": LibraryQuery(text="lighthouse"),
    "a rare word": LibraryQuery(text="albatross"),
    "two words": LibraryQuery(text="albatros white"),
    "a word of nothing": LibraryQuery(text="zeppelin"),
    "a tag of all": LibraryQuery(tags=("sea",)),
    "a tag of some": LibraryQuery(tags=("tag7",)),
    "two tags": LibraryQuery(tags=("sea", "tag7")),
    "images": LibraryQuery(kind="image"),
    "a rare kind": LibraryQuery(kind="scene_video"),
    "a kind that nothing is of": LibraryQuery(kind="document"),
    "frames": LibraryQuery(kind="frame"),
    "no frames": LibraryQuery(include_frames=False),
    "a project": LibraryQuery(project_key=PROJECT),
    "a client": LibraryQuery(client_id="client_9"),
    "a campaign": LibraryQuery(campaign_id="campaign_9"),
    "a client's campaign": LibraryQuery(client_id="client_9", campaign_id="campaign_9"),
    "a model": LibraryQuery(model="model-3"),
    "a rare model": LibraryQuery(model="rare-model"),
    "a model of nothing": LibraryQuery(model="none"),
    "a seed": LibraryQuery(seed=4444),
    "after a moment": LibraryQuery(created_after=datetime(2026, 1, 7, tzinfo=UTC)),
    "before a moment": LibraryQuery(created_before=datetime(2026, 1, 2, tzinfo=UTC)),
    "a project's word": LibraryQuery(project_key=PROJECT, text="albatross"),
    "a project's images": LibraryQuery(project_key=PROJECT, kind="image"),
    "a project's model": LibraryQuery(project_key=PROJECT, model="model-2"),
}


@dataclass
class LargeLibrary:
    """20,000 things in a database of their own."""

    database_url: str

    def ask(self, query: LibraryQuery) -> LibraryPage:
        async def work(conn: Connection) -> LibraryPage:
            return await search(conn, query)

        return asyncio.run(_connected(self.database_url, work))

    def pages(self, query: LibraryQuery) -> Iterator[LibraryPage]:
        while True:
            page = self.ask(query)
            yield page
            if page.next_cursor is None:
                return
            query = replace(query, cursor=page.next_cursor)

    def plans(self, asked: Conditions, *, in_project: bool) -> list[dict[str, Any]]:
        """How a question is answered: its first page and one in the middle, of both tables."""
        middle = Position(datetime(2026, 1, 4, tzinfo=UTC), "assets", 4000)
        plans = []
        with psycopg.connect(self.database_url) as conn:
            rows = conn.execute("SELECT id FROM projects WHERE key = %s", (PROJECT,)).fetchall()
            conditions = replace(asked, project_id=rows[0][0] if in_project else None)
            for after in (None, middle):
                statements = [assets_statement(conditions, after, 51)]
                if conditions.may_be_frames:
                    statements.append(frames_statement(conditions, after, 51))
                for statement, values in statements:
                    explain = f"EXPLAIN (FORMAT json) {statement}".encode()
                    [(plan,)] = conn.execute(explain, values).fetchall()
                    plans.append(plan[0]["Plan"])
        return plans


async def _connected(database_url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async with await AsyncConnection.connect(
        database_url, row_factory=dict_row, autocommit=True
    ) as conn:
        return await work(conn)


@pytest.fixture(scope="module")
def library(postgres_server: PostgresServer, database_pool: DatabasePool) -> Iterator[LargeLibrary]:
    name = database_pool.take()
    url = postgres_server.url(name)
    asyncio.run(_connected(url, make_large_library))
    yield LargeLibrary(url)
    postgres_server.drop(name)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def reads_all(node: dict[str, Any]) -> bool:
    """Whether a node reads a whole table of the library."""
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE_TABLES


def computes_words(node: dict[str, Any]) -> bool:
    """Whether a node computes the words of one row after the other."""
    return "_words(" in node.get("Filter", "")


CONDITIONS = {
    "nothing": Conditions(),
    "words": Conditions(words="'lighthouse':*"),
    "rare words": Conditions(words="'albatross':*"),
    "no words": Conditions(words="'zeppelin':*"),
    "tags": Conditions(tags=("sea",)),
    "rare tags": Conditions(tags=("tag7",)),
    "kind": Conditions(kind="image"),
    "rare kind": Conditions(kind="scene_video"),
    "client": Conditions(client_id="client_9"),
    "campaign": Conditions(campaign_id="campaign_9"),
    "model": Conditions(model="model-3"),
    "rare model": Conditions(model="rare-model"),
    "no model": Conditions(model="none"),
    "seed": Conditions(seed=4444),
    "after": Conditions(created_after=datetime(2026, 1, 7, tzinfo=UTC)),
    "before": Conditions(created_before=datetime(2026, 1, 2, tzinfo=UTC)),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_no_question_reads_a_whole_table(library: LargeLibrary, name: str) -> None:
    everywhere = library.plans(CONDITIONS[name], in_project=False)
    for plan in (*everywhere, *library.plans(CONDITIONS[name], in_project=True)):
        assert not [node for node in nodes(plan) if reads_all(node)]


@pytest.mark.parametrize("name", ["rare words", "no words"])
def test_rare_words_are_looked_up_and_not_looked_for(library: LargeLibrary, name: str) -> None:
    for plan in library.plans(CONDITIONS[name], in_project=False):
        assert not [node for node in nodes(plan) if computes_words(node)]


@pytest.mark.parametrize("name", QUERIES)
def test_pages_tell_everything_once_and_newest_first(library: LargeLibrary, name: str) -> None:
    query = replace(QUERIES[name], limit=200)
    told: list[AssetRow] = []
    for page in library.pages(query):
        told.extend(page.items)
        if len(told) > 400:
            break
    moments = [item.created_at for item in told]
    assert moments == sorted(moments, reverse=True)
    assert len({item.asset_id for item in told}) == len(told)


def test_every_page_together_is_the_whole_library(library: LargeLibrary) -> None:
    told = [i.asset_id for page in library.pages(LibraryQuery(limit=200)) for i in page.items]
    assert len(told) == len(set(told)) == ASSETS + FRAMES
