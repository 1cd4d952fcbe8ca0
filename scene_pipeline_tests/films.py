"""Films for tests: documents, and a pipeline on real parts to run them through."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg.rows import DictRow, dict_row

from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import (
    FrameOrder,
    SceneOutcome,
    SceneRef,
    StageDone,
    StreamEvent,
)
from scene_pipeline.pipeline.projects.importing import (
    ImportedProject,
    export_project,
    import_document,
)
from scene_pipeline.pipeline.services import Services, open_services
from scene_pipeline.providers.base import ImageProvider
from scene_pipeline.settings import Settings

T = TypeVar("T")


def film(prompts: Mapping[str, str] | Sequence[str], key: str = "film", **members: Any) -> bytes:
    """A master JSON with these scene prompts; a sequence becomes scene_1, scene_2, ..."""
    if not isinstance(prompts, Mapping):
        prompts = {f"scene_{number}": prompt for number, prompt in enumerate(prompts, start=1)}
    document = {
        "project": {"key": key, "title": "A film"},
        "generation": {"image_size": "64x64"},
        **members,
        "scenes": {
            scene_id: {"scene_frame_prompt": prompt, "duration": 4}
            for scene_id, prompt in prompts.items()
        },
    }
    return json.dumps(document, indent=2).encode()


@dataclass
class Run:
    """What one run of the stream told."""

    events: list[StreamEvent] = field(default_factory=list)

    @property
    def outcomes(self) -> dict[str, SceneOutcome]:
        return {e.scene.scene_id: e for e in self.events if isinstance(e, SceneOutcome)}

    @property
    def statuses(self) -> dict[str, str]:
        return {scene_id: outcome.status for scene_id, outcome in self.outcomes.items()}

    def stages(self, scene_id: str) -> list[str]:
        return [
            e.stage
            for e in self.events
            if isinstance(e, StageDone) and e.scene.scene_id == scene_id
        ]


async def hurried_sleep(seconds: float) -> None:
    """Wait a moment, however long it was to be."""
    await asyncio.sleep(min(seconds, 0.005))


@dataclass
class Studio:
    """The pipeline on a real database, driven from synchronous tests."""

    settings: Settings
    database_url: str
    providers: Mapping[str, ImageProvider] = field(default_factory=dict)
    """Used instead of the real ones of these names."""
    hurries: bool = False
    """Whether waits between tries are cut short: time may be faked, as money may."""

    def do(self, work: Callable[[Services], Awaitable[T]]) -> T:
        async def main() -> T:
            async with open_services(
                self.settings, self.database_url, providers=self.providers
            ) as services:
                if self.hurries:
                    services.sleep = hurried_sleep
                return await work(services)

        return asyncio.run(main())

    def bring(self, document: bytes, **options: Any) -> ImportedProject:
        async def work(services: Services) -> ImportedProject:
            async with services.pool.connection() as conn:
                return await import_document(
                    conn,
                    services.settings,
                    document,
                    **{
                        "file_name": "film.json",
                        "origin": "film.json",
                        "project_key": None,
                        "force": False,
                        **options,
                    },
                )

        return self.do(work)

    def export(self, key: str = "film") -> dict[str, Any]:
        async def work(services: Services) -> bytes:
            async with services.pool.connection() as conn:
                return await export_project(conn, key)

        exported: dict[str, Any] = json.loads(self.do(work))
        return exported

    def run(self, *scene_ids: str, key: str = "film", **order: Any) -> Run:
        ids = scene_ids or [
            row["scene_id"]
            for row in self.sql("SELECT scene_id FROM scene_status ORDER BY position")
        ]
        wanted = FrameOrder(
            **{
                "scenes": tuple(SceneRef(key, scene_id) for scene_id in ids),
                "mode": "ensure",
                "token": "",
                "run_id": str(uuid.uuid4()),
                **order,
            }
        )
        record = Run()

        async def work(services: Services) -> None:
            async for event in stream_frames(wanted, services):
                record.events.append(event)

        self.do(work)
        return record

    def sql(self, statement: str, *values: Any) -> list[DictRow]:
        with psycopg.connect(self.database_url, row_factory=dict_row) as conn:
            cursor = conn.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def edit(self, path: Sequence[str], value: Any, key: str = "film") -> None:
        """Change one place of the document as another program would: by plain SQL."""
        self.sql(
            "UPDATE projects SET master_json = jsonb_set(master_json, %s, %s::jsonb)"
            " WHERE key = %s",
            list(path),
            json.dumps(value),
            key,
        )

    def start_frame(self, scene_id: str, key: str = "film") -> str | None:
        [row] = self.sql(
            "SELECT scene_entry(master_json, %s) ->> 'scene_start_frame' AS url FROM projects"
            " WHERE key = %s",
            scene_id,
            key,
        )
        url: str | None = row["url"]
        return url


def assert_invariants(studio: Studio) -> None:
    """What must hold whenever nothing is under way, whatever happened before (I1 to I6)."""
    questions = {
        "a generation was submitted more often than allowed": (
            "SELECT id FROM generations WHERE submit_count > 1 + doubtful_submits"
        ),
        "two rows for one generation": (
            "SELECT generation_id FROM scene_images GROUP BY generation_id, image_index"
            " HAVING count(*) > 1"
        ),
        "versions are not 1..n": (
            "SELECT scene_id FROM scene_images GROUP BY project_id, scene_id"
            " HAVING array_agg(version ORDER BY version)"
            " <> array_agg(row_number ORDER BY row_number)"
        ).replace(
            "FROM scene_images",
            "FROM (SELECT *, (row_number() OVER (PARTITION BY"
            " project_id, scene_id ORDER BY version))::int AS row_number FROM scene_images) i",
        ),
        "not exactly one current version": (
            "SELECT scene_id FROM scene_images WHERE rejection IS NULL"
            " GROUP BY project_id, scene_id HAVING count(*) FILTER (WHERE is_current) <> 1"
        ),
        "the document does not point to the current version": (
            "SELECT i.scene_id FROM scene_images i JOIN projects p ON p.id = i.project_id"
            " JOIN scenes s ON s.project_id = i.project_id AND s.scene_id = i.scene_id"
            " WHERE s.retired_at IS NULL AND i.is_current"
            " AND scene_entry(p.master_json, i.scene_id) ->> 'scene_start_frame'"
            " IS DISTINCT FROM i.storage_url"
        ),
        "an object is not where the rows say": (
            "SELECT i.storage_path FROM scene_images i LEFT JOIN storage_objects o"
            " ON o.key = i.storage_path AND o.state = 'present'"
            " WHERE i.storage_status = 'stored' AND o.key IS NULL"
        ),
        "an asset's object is not where the rows say": (
            "SELECT a.asset_id FROM user_assets a LEFT JOIN storage_objects o"
            " ON o.key = a.storage_key AND o.state = 'present'"
            " WHERE a.deleted_at IS NULL AND o.key IS NULL"
        ),
        "an object is counted otherwise than rows refer to it": (
            "SELECT o.key, o.refcount FROM storage_objects o WHERE o.refcount <>"
            " (SELECT count(*) FROM scene_images i WHERE i.storage_path = o.key)"
            " + (SELECT count(*) FROM user_assets a"
            "    WHERE a.storage_key = o.key AND a.deleted_at IS NULL)"
            " + (SELECT count(*) FROM derivatives d WHERE d.storage_key = o.key)"
            " + (SELECT count(*) FROM storyboards b WHERE b.storage_path = o.key)"
            " + (SELECT count(*) FROM report_files f WHERE f.storage_path = o.key)"
            " + (SELECT count(*) FROM asset_imports u WHERE u.upload_key = o.key"
            "    AND u.state IN ('awaiting_upload', 'pending', 'running'))"
        ),
        "a generation is unfinished": (
            "SELECT id, state FROM generations"
            " WHERE state NOT IN ('published', 'superseded', 'failed', 'abandoned')"
        ),
        "money is still reserved": "SELECT * FROM budgets WHERE reserved_micros <> 0",
        "the budget does not add up": (
            "SELECT b.* FROM budgets b WHERE scope = 'project' AND spent_micros <> ("
            " SELECT coalesce(sum(coalesce(cost_micros, 0) + doubtful_micros), 0)"
            " FROM generations g WHERE g.project_id::text = b.key)"
        ),
    }
    found = {claim: rows for claim, sql in questions.items() if (rows := studio.sql(sql))}
    assert found == {}
