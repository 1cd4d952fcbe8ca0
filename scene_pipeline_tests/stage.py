"""The pipeline opened once, with a scripted provider, for walks of many projects on one database.

Belongs here: driving it, and looking at a project from outside. Does not belong here: what it
should look like (`scene_model`).
"""

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.services import Services, open_services
from scene_pipeline.providers.registry import DEFAULT_MODELS
from scene_pipeline_tests.films import hurried_sleep
from scene_pipeline_tests.scene_facts import Look
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider, scripted_provider

T = TypeVar("T")


class Stage:
    """The pipeline, opened once for many walks, each of which has a project of its own."""

    def __init__(self, services: Services, provider: ScriptedProvider, runner: asyncio.Runner):
        self.services = services
        self.provider = provider
        self._runner = runner

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        async def ask() -> list[dict[str, Any]]:
            async with self.services.pool.connection() as conn:
                cursor = await conn.execute(statement.encode(), values)
                return await cursor.fetchall() if cursor.description else []

        return self.do(ask())

    def set_cap(self, project_id: uuid.UUID, pictures: int) -> None:
        """Leave room for so many more pictures under the project's cap."""
        price = self.services.prices.estimate("fal", DEFAULT_MODELS["fal"], 64, 64)
        self.sql(
            "INSERT INTO budgets AS b (scope, key, period, cap_micros, is_custom)"
            " VALUES ('project', %s, 'all', %s, true) ON CONFLICT (scope, key, period) DO UPDATE"
            " SET is_custom = true,"
            " cap_micros = b.spent_micros + b.reserved_micros + excluded.cap_micros",
            str(project_id),
            pictures * price.amount_micros,
        )

    def lift_cap(self, project_id: uuid.UUID) -> None:
        """Let the settings' cap hold again; nothing was spent beyond the one that held."""
        broken = self.sql(
            "UPDATE budgets SET is_custom = false WHERE scope = 'project' AND key = %s"
            " RETURNING cap_micros, spent_micros + reserved_micros AS used_micros",
            str(project_id),
        )
        for row in broken:
            assert row["used_micros"] <= row["cap_micros"], "I7: the cap was overrun"

    def let_threads_finish(self) -> None:
        """Wait for blocking calls that a cancelled run has left behind."""
        count = self.services.threads._max_workers
        everybody = threading.Barrier(count)
        waiting = [self.services.threads.submit(everybody.wait, 10) for _ in range(count)]
        for future in waiting:
            future.result(20)


@contextmanager
def open_stage(database_url: str, home: Path) -> Iterator[Stage]:
    with scripted_provider() as provider, asyncio.Runner() as runner:
        settings = provider.settings(
            home,
            ambiguous_settle_seconds=0,
            project_cap_usd=Decimal(1000),
            day_cap_usd=Decimal(100_000),
            generation_concurrency=3,
            rejection_reseeds=0,  # the model of these walks knows no ladder
            download_concurrency=2,
            upload_concurrency=2,
        )
        stack = AsyncExitStack()
        opening = open_services(settings, database_url, providers={"fal": provider})
        services = runner.run(stack.enter_async_context(opening))
        services.sleep = hurried_sleep
        try:
            yield Stage(services, provider, runner)
        finally:
            arm(None)
            runner.run(stack.aclose())


def looks_of(
    stage: Stage, project_id: uuid.UUID, scene_ids: Sequence[str], suffix: str
) -> dict[str, Look]:
    """How the scenes look from outside, told as the model tells it."""
    rows = stage.sql(
        "SELECT id, scene_id, scene_prompt, prompt, image_count, token, state, coalesce("
        " content -> 'reference_digests' ->> (content -> 'references' ->> 0), '') AS digest"
        " FROM generations"
        " WHERE project_id = %s",
        project_id,
    )
    versions = stage.sql(
        "SELECT i.scene_id, version, scene_prompt, token, is_current, storage_url,"
        " rejection IS NOT NULL AS is_rejected FROM scene_images i"
        " JOIN generations g ON g.id = generation_id WHERE i.project_id = %s ORDER BY version",
        project_id,
    )
    requests = stage.sql(
        "SELECT scene_id, state FROM regeneration_requests WHERE project_id = %s"
        " AND batch IS NULL ORDER BY id",
        project_id,
    )
    [project] = stage.sql("SELECT master_json FROM projects WHERE id = %s", project_id)
    document = project["master_json"]["scenes"]
    number_of = {(row["scene_id"], row["storage_url"]): row["version"] for row in versions}
    charges = stage.provider.charges
    return {
        scene_id: Look(
            tuple(
                sorted(
                    (
                        row["scene_prompt"],
                        row["digest"],
                        suffix if suffix in row["prompt"] else "",
                        row["image_count"],
                        _plain(row["token"]),
                        row["state"],
                        charges[str(row["id"])],
                    )
                    for row in rows
                    if row["scene_id"] == scene_id
                )
            ),
            tuple(
                (
                    row["version"],
                    row["scene_prompt"],
                    _plain(row["token"]),
                    row["is_current"],
                    row["is_rejected"],
                )
                for row in versions
                if row["scene_id"] == scene_id
            ),
            number_of.get((scene_id, document.get(scene_id, {}).get("scene_start_frame"))),
            tuple(row["state"] for row in requests if row["scene_id"] == scene_id),
        )
        for scene_id in scene_ids
    }


def _plain(token: str) -> str:
    """As the model has it: which picture was taken over is its own affair."""
    return "reuse" if token.startswith("reuse:") else token


INVARIANTS = """
SELECT 'I2: one row per picture' AS broken, generation_id::text AS at FROM scene_images
WHERE project_id = %s GROUP BY generation_id, image_index HAVING count(*) > 1
UNION ALL
SELECT 'I3: one current version', scene_id FROM scene_images
WHERE project_id = %s AND is_current GROUP BY scene_id HAVING count(*) > 1
UNION ALL
SELECT 'I5: every object is referenced, and where the rows say', i.storage_path
FROM scene_images i LEFT JOIN storage_objects o
    ON o.key = i.storage_path AND o.state = 'present'
    AND o.refcount = (SELECT count(*) FROM scene_images n WHERE n.storage_path = o.key)
WHERE i.project_id = %s AND o.key IS NULL
UNION ALL
SELECT 'money is reserved for nothing', r.generation_id::text FROM budget_reservations r
JOIN generations g ON g.id = r.generation_id
WHERE g.project_id = %s AND g.state NOT IN ('submitting', 'submitted')
UNION ALL
SELECT 'the budget does not add up', b.key FROM budgets b
JOIN projects p ON p.id::text = b.key AND p.id = %s
WHERE b.spent_micros <> (SELECT coalesce(sum(coalesce(cost_micros, 0) + doubtful_micros), 0)
                         FROM generations g WHERE g.project_id = p.id)
"""


PERMITTED = """
SELECT id, 1 + (SELECT count(*) FROM pipeline_events e
    WHERE e.generation_id = g.id AND e.kind = 'submit_resolved'
    AND e.data ->> 'verdict' <> 'abandon') AS permitted
FROM generations g WHERE project_id = %s
"""
"""How often each may have been paid for: once, and once more for each decision of a person."""


def assert_invariants(stage: Stage, project_id: uuid.UUID) -> None:
    """What holds after every step, whatever the model says (I1, I2, I3, I5 and the money)."""
    assert stage.sql(INVARIANTS, *[project_id] * 5) == []
    for row in stage.sql(PERMITTED, project_id):
        assert stage.provider.charges[str(row["id"])] <= row["permitted"], "I1: paid for twice"
