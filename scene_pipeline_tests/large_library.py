"""A library of 20,000 things, half of them generated frames, made by a few statements.

Belongs here: rows for tests and benchmarks that ask about size. Does not belong here: how they come
about in earnest (`pipeline.library`, `pipeline.making`).
"""

from scene_pipeline.database.rows import Connection

ASSETS = 10_000
PROJECTS = 10
SCENES_PER_PROJECT = 100
VERSIONS_PER_SCENE = 10
FRAMES = PROJECTS * SCENES_PER_PROJECT * VERSIONS_PER_SCENE

_STATEMENTS = (
    # Documents are small: nothing here reads them.
    "INSERT INTO projects (id, key, master_json, planned_revision)"
    " SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'project_' || n,"
    " jsonb_build_object('scenes', '{}'::jsonb), 1 FROM generate_series(1, %(projects)s) n",
    "INSERT INTO scenes (project_id, scene_id, position, content_hash, planned_revision)"
    " SELECT p.id, 'scene_' || n, n, 'x', 1"
    " FROM projects p, generate_series(1, %(scenes)s) n",
    "CREATE TEMPORARY TABLE numbered AS SELECT s.project_id, s.scene_id, v AS version,"
    " row_number() OVER (ORDER BY v, s.project_id, s.position)::int AS n, gen_random_uuid() AS id"
    " FROM scenes s, generate_series(1, %(versions)s) v",
    "INSERT INTO generations (id, project_id, scene_id, idempotency_key, token, provider, endpoint,"
    " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,"
    " request_id, storage_status, external_url)"
    " SELECT id, project_id, scene_id, id::text, version::text, 'offline',"
    "  CASE WHEN n % 1000 = 7 THEN 'rare-model' ELSE 'model-' || n % 5 END, 'x', 'x', '{}', 'x',"
    " 'x', 1, 1, n, 'published', id::text, 'external', 'https://x.example' FROM numbered",
    "INSERT INTO scene_images (project_id, scene_id, storage_url, storage_status, generation_id,"
    " version, is_current, generation_prompt, generated_at)"
    " SELECT project_id, scene_id, 'https://frames.example/' || id, 'external', id, version,"
    "  version = %(versions)s, 'Wide aerial view of a lonely white lighthouse at dusk, number ' ||"
    "   n || CASE WHEN n % 500 = 0 THEN ', with an albatross' ELSE '' END,"
    "  timestamptz '2026-01-01' + make_interval(mins => n) FROM numbered",
    "DROP TABLE numbered",
    "INSERT INTO storage_objects (key, state, sha256, size_bytes, content_type, refcount)"
    " SELECT 'assets/images/asset_' || n || '.png', 'present',"
    " encode(sha256(n::text::bytea), 'hex'), 1000, 'image/png', 1"
    " FROM generate_series(1, %(assets)s) n",
    "INSERT INTO user_assets (asset_id, kind, name, tags, url, storage_key, mime_type, size_bytes,"
    " sha256, source, project_id, client_id, campaign_id, model, seed, metadata, created_at)"
    " SELECT 'ast_' || lpad(n::text, 26, '0'),"
    "  CASE WHEN n % 1000 = 7 THEN 'scene_video' WHEN n % 10 = 1 THEN 'audio' ELSE 'image' END,"
    "  'picture ' || n || CASE WHEN n % 500 = 0 THEN ' albatross.png' ELSE ' lighthouse.png' END,"
    "  ARRAY['sea', 'tag' || n % 100], 'https://frames.example/' || n,"
    "  'assets/images/asset_' || n || '.png', 'image/png', 1000,"
    "  encode(sha256(n::text::bytea), 'hex'), 'file',"
    "  CASE WHEN n % 2 = 0 THEN ('00000000-0000-4000-8000-' ||"
    "   lpad((n % %(projects)s + 1)::text, 12, '0'))::uuid END,"
    "  CASE WHEN n % 3 = 0 THEN 'client_' || n % 20 END,"
    "  CASE WHEN n % 3 = 0 THEN 'campaign_' || n % 200 END,"
    "  CASE WHEN n % 4 = 0 THEN 'model-' || n % 5 END, CASE WHEN n % 4 = 0 THEN n END,"
    "  jsonb_build_object('note', 'taken at noon'),"
    "  timestamptz '2026-01-01' + make_interval(mins => n)"
    " FROM generate_series(1, %(assets)s) n",
    "ANALYZE",
)


async def make_large_library(conn: Connection) -> None:
    """Fill an empty database; the newest of both sorts are equally old."""
    for statement in _STATEMENTS:
        await conn.execute(
            statement.replace(" % ", " %% ").encode(),
            {
                "projects": PROJECTS,
                "scenes": SCENES_PER_PROJECT,
                "versions": VERSIONS_PER_SCENE,
                "assets": ASSETS,
            },
        )
