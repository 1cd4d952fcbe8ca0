"""Reports of 200 projects of 100 scenes: a handful of statements, none of which grows squarely."""

import asyncio
from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from scene_pipeline.database import reporting, reporting_all
from scene_pipeline.database.reporting import ProjectLines, read_project_lines
from scene_pipeline.database.reporting_all import PortfolioSums, read_portfolio_sums
from scene_pipeline_tests.standins.postgres import DatabasePool, PostgresServer

PROJECTS, SCENES = 200, 100
NUMBER = PROJECTS * SCENES
PROJECT_ID = UUID(int=7)
LARGE_TABLES = ("generations", "scene_images", "scenes", "pipeline_events")
_MADE: tuple[LiteralString, ...] = (
    # What notes a change for the storyboard has nothing to do here.
    "SET session_replication_role = replica",
    "INSERT INTO projects (id, key, master_json, planned_revision)"
    " SELECT lpad(n::text, 32, '0')::uuid, 'project_' || n, '{\"scenes\": {}}', 1"
    " FROM generate_series(1, %(projects)s) n",
    "INSERT INTO scenes (project_id, scene_id, position, content_hash, planned_revision)"
    " SELECT p.id, 'scene_' || n, n, 'x', 1 FROM projects p, generate_series(1, %(scenes)s) n",
    "INSERT INTO generations (id, project_id, scene_id, idempotency_key, token, provider, endpoint,"
    " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,"
    " request_id, storage_status, external_url, submit_count, cost_micros, cost_kind,"
    " submitting_at, submitted_at, completed_at)"
    " SELECT md5(n::text)::uuid, project_id, scene_id, n::text, '', 'fal', 'model-' || n % 5,"
    "  'x', 'x', '{}', 'x', 'x', 1, 1, n, 'published', n::text, 'external', 'https://x.example', 1,"
    "  3000, 'metered', now() - make_interval(days => (n % 50)::int), now(), now()"
    " FROM (SELECT *, row_number() OVER () AS n FROM scenes) s",
    "INSERT INTO scene_images (project_id, scene_id, storage_url, storage_status, generation_id,"
    " version, is_current)"
    " SELECT project_id, scene_id, 'https://x.example/' || id, 'external', id, 1, true"
    " FROM generations",
    "INSERT INTO pipeline_events (kind, project_id, scene_id, generation_id, data)"
    " SELECT CASE WHEN k = 1 AND seed % 20 = 0 THEN 'generation_failed'"
    "  ELSE 'generation_progress' END, project_id, scene_id, id, '{\"code\": \"died\"}'"
    " FROM generations, generate_series(1, 2) k",
    "RESET session_replication_role",
    "ANALYZE",
)


@pytest.fixture(scope="module")
def large_url(postgres_server: PostgresServer, database_pool: DatabasePool) -> Iterator[str]:
    name = database_pool.take()
    url = postgres_server.url(name)
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in _MADE:
            filled = statement.replace(" % ", " %% ").encode()
            conn.execute(filled, {"projects": PROJECTS, "scenes": SCENES})
    yield url
    postgres_server.drop(name)


class Counting(AsyncConnection[DictRow]):
    """A connection that counts what is asked of it."""

    statements = 0

    async def execute(self, *values: Any, **options: Any) -> Any:
        self.statements += 1
        return await super().execute(*values, **options)


async def portfolio(url: str) -> tuple[PortfolioSums, int]:
    async with await Counting.connect(url, row_factory=dict_row) as conn:
        return await read_portfolio_sums(conn), conn.statements


async def project(url: str) -> tuple[ProjectLines, int]:
    async with await Counting.connect(url, row_factory=dict_row) as conn:
        return await read_project_lines(conn, "project_7"), conn.statements


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def explained(url: str, statement: LiteralString, **values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(url) as conn:
        [(plan,)] = conn.execute(f"EXPLAIN (ANALYZE, FORMAT json) {statement}", values).fetchall()
    return list(nodes(plan[0]["Plan"]))


def test_the_portfolio_is_six_statements_whatever_its_size(large_url: str) -> None:
    sums, statements = asyncio.run(portfolio(large_url))

    assert statements == 6
    assert len(sums.projects) == PROJECTS
    assert sum(line.money.total_micros for line in sums.projects) == NUMBER * 3000
    assert sum(line.cost_micros for line in sums.days) == NUMBER * 3000
    assert sum(line.failures for line in sums.projects) == NUMBER // 20
    assert [line.model for line in sums.models] == [f"model-{n}" for n in range(5)]


def test_a_project_is_seven_statements_whatever_its_size(large_url: str) -> None:
    lines, statements = asyncio.run(project(large_url))

    assert statements == 7
    assert (len(lines.scenes), len(lines.generations)) == (SCENES, SCENES)


@pytest.mark.parametrize("name", ["_PROJECTS", "_DAYS", "_VERSIONS", "_MODELS"])
def test_no_table_is_read_again_for_every_row_of_another(large_url: str, name: str) -> None:
    found = explained(large_url, getattr(reporting_all, name))

    again = [
        node
        for node in found
        if node["Node Type"] == "Seq Scan"
        and node["Relation Name"] in LARGE_TABLES
        and node["Actual Loops"] > 3  # parallel workers share one scan
    ]
    assert not again
    assert not [node for node in found if node.get("Actual Rows", 0) > 10 * NUMBER]


@pytest.mark.parametrize("name", ["_SCENES", "_GENERATIONS", "_FAILURES", "_WORDS"])
def test_one_project_is_read_by_indexes(large_url: str, name: str) -> None:
    found = explained(large_url, getattr(reporting, name), project=PROJECT_ID)

    assert not [
        node
        for node in found
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE_TABLES
    ]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in found)
    assert read < NUMBER // 2, "what other projects have plays no part"


def test_failures_are_not_looked_for_in_the_whole_feed(large_url: str) -> None:
    found = explained(large_url, reporting_all._PROJECTS)

    read = [node for node in found if node.get("Relation Name") == "pipeline_events"]
    assert [node["Actual Rows"] for node in read] == [NUMBER // 20]
    assert "Rows Removed by Filter" not in read[0]
