"""What a tick costs follows what changed, not how many projects there are."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg.rows import dict_row

from scene_pipeline.defs.launch_requests import LAUNCHES_PER_TICK
from scene_pipeline.defs.sensors import SENSORS
from scene_pipeline.defs.sensors.scene_changes import scene_changes
from scene_pipeline_tests.defs.ticks import Daemon
from scene_pipeline_tests.films import Studio, film

PROJECTS = 10_000
SCENES = 3
"""Of each project; plans and counts are the same with fifty."""
CHANGED = 50
STATEMENTS_PER_CHANGE = 20
LARGE = {
    "projects",
    "scenes",
    "generations",
    "scene_images",
    "regeneration_requests",
    "asset_imports",
    "alerts",
}
_ROWS = """
INSERT INTO projects (id, key, master_json, revision, planned_revision)
    SELECT md5(n::text)::uuid, 'p' || n, %(document)s::jsonb, 1, 1
    FROM generate_series(1, %(projects)s) n;
INSERT INTO scenes (project_id, scene_id, position, scene_prompt, content_hash, planned_revision)
    SELECT id, 'scene_' || s, s, 'Dawn', 'hash', 1
    FROM projects, generate_series(1, %(scenes)s) s;
INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint, scene_prompt,
        prompt, content, content_hash, request_hash, width, height, seed, state, request_id,
        storage_key)
    SELECT project_id, scene_id, project_id || scene_id, 'offline', 'landscape', 'Dawn', 'Dawn',
        '{}', 'hash', 'hash' || scene_id, 1, 1, 1, 'published', project_id || scene_id,
        'projects/' || project_id || scene_id FROM scenes;
INSERT INTO scene_images (project_id, scene_id, storage_path, storage_url, file_size, content_type,
        sha256, generation_id, version, is_current)
    SELECT project_id, scene_id, storage_key, 'http://frames/' || storage_key, 1, 'image/png',
        repeat('a', 64), id, 1, true FROM generations;
INSERT INTO storyboards (project_id, fingerprint, storage_path, storage_url, sha256, file_size,
        width, height) SELECT id, 'old', 'sheets/' || key, 'http://frames', 'x', 1, 1, 1
    FROM projects;
INSERT INTO regeneration_requests (project_id, scene_id, state, finished_at)
    SELECT project_id, scene_id, 'done', now() FROM scenes;
INSERT INTO asset_imports (kind, source, source_url, state, error_code)
    SELECT 'image', 'url', 'https://files.example/' || n, 'failed', 'link_expired'
    FROM generate_series(1, %(projects)s) n;
INSERT INTO alerts (fingerprint, code, message, next_action, settled_at, outcome)
    SELECT 'old:' || n, 'code', 'message', 'action', now(), 'logged'
    FROM generate_series(1, %(projects)s) n;
"""


@pytest.fixture
def many(studio: Studio) -> Studio:
    """Ten thousand projects at rest."""
    document = film(["Dawn"] * SCENES).decode()
    values = {"document": document, "projects": PROJECTS, "scenes": SCENES}
    with psycopg.ClientCursor(psycopg.connect(studio.database_url, autocommit=True)) as cursor:
        cursor.execute("SET session_replication_role = replica")  # rows alone: nothing follows
        cursor.execute(_ROWS.encode(), values)
        cursor.execute("VACUUM ANALYZE")
        cursor.connection.close()
    return studio


Statement = tuple[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Statement]]:
    """Every statement that goes to a database by psycopg 3, which is to say: by us."""
    statements: list[Statement] = []
    execute, execute_async = psycopg.Cursor.execute, psycopg.AsyncCursor.execute

    def note(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        statements.append((_text(query), params))
        return execute(self, query, params, **options)

    async def note_async(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        statements.append((_text(query), params))
        return await execute_async(self, query, params, **options)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", note)
        patch.setattr(psycopg.AsyncCursor, "execute", note_async)
        yield statements


def _text(query: Any) -> str:
    return query.decode() if isinstance(query, bytes) else str(query)


def scanned(studio: Studio, statements: Sequence[Statement]) -> set[str]:
    """The tables that statements would read from their first row to their last."""
    found: set[str] = set()
    with psycopg.connect(studio.database_url, row_factory=dict_row) as conn:
        for query, params in statements:
            if not query.lstrip().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
                continue
            row = conn.execute(f"EXPLAIN (FORMAT JSON) {query}".encode(), params).fetchone()
            assert row is not None
            found |= _scanned(row["QUERY PLAN"][0]["Plan"])
    return found


def _scanned(plan: dict[str, Any]) -> set[str]:
    own = {plan["Relation Name"]} if plan["Node Type"].endswith("Seq Scan") else set()
    return own.union(*(_scanned(part) for part in plan.get("Plans", ())))


def test_with_ten_thousand_projects_a_tick_costs_what_changed(
    daemon: Daemon, many: Studio, asked: list[Statement]
) -> None:
    for sensor in SENSORS:
        context = dg.build_sensor_context(
            instance=daemon.instance, resources={"pipeline": daemon.runtime}
        )
        assert isinstance(sensor(context), dg.SkipReason), sensor.name
    at_rest = list(asked)
    assert len(at_rest) > len(SENSORS)
    assert not scanned(many, at_rest) & LARGE

    many.sql(
        "UPDATE projects SET master_json = jsonb_set(master_json, '{scenes,scene_new}',"
        ' \'{"scene_frame_prompt": "Dusk"}\')'
        " WHERE key IN (SELECT 'p' || n FROM generate_series(1, %s) n)",
        CHANGED,
    )
    asked.clear()
    requests = daemon.tick(scene_changes)

    changed = list(asked)
    assert len(requests) == LAUNCHES_PER_TICK
    assert len(changed) < CHANGED * STATEMENTS_PER_CHANGE
    assert not scanned(many, changed) & LARGE
    planned = many.sql("SELECT 1 FROM scenes WHERE scene_id = 'scene_new'")
    assert len(planned) == CHANGED
