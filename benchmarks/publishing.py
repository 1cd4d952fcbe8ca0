"""Writing URLs into a document: one statement for many scenes against one statement each.

Prints the ratio (single / batched) of each round. The document has 500 scenes of realistic length;
every round publishes all of them both ways, in turn, on a fresh copy of the project.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from psycopg.types.json import Jsonb

from scene_pipeline.database import embedded
from scene_pipeline.database.migrations import migrate
from scene_pipeline.database.publishing import Publication, publish
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import open_pool

SCENES = 500
ROUNDS = 3
PROMPT = "Wide aerial view of a lonely white lighthouse with a faded red gallery. " * 8


async def make_project(conn: Connection) -> tuple[uuid.UUID, list[Publication]]:
    """A project whose 500 frames are recorded and wait to be published."""
    project_id = uuid.uuid4()
    ids = [f"scene_{number}" for number in range(SCENES)]
    document = {"scenes": {scene_id: {"scene_frame_prompt": PROMPT} for scene_id in ids}}
    await conn.execute(
        "INSERT INTO projects (id, master_json) VALUES (%s, %s)", (project_id, Jsonb(document))
    )
    await conn.execute(
        "INSERT INTO scenes (project_id, scene_id, position, content_hash, planned_revision)"
        " SELECT %s, id, 1, 'x', 1 FROM unnest(%s::text[]) id",
        (project_id, ids),
    )
    await conn.execute(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,"
        " request_id, storage_status, external_url)"
        " SELECT %s, id, %s || id, 'offline', 'x', %s, 'x', '{}', 'x', 'x', 1, 1, 1, 'recorded',"
        " %s || id, 'external', 'https://x.example' FROM unnest(%s::text[]) id",
        (project_id, str(project_id), PROMPT, str(project_id), ids),
    )
    await conn.execute(
        "INSERT INTO scene_images (project_id, scene_id, storage_url, storage_status,"
        " generation_id, version, is_current)"
        " SELECT project_id, scene_id, 'https://frames.example/' || id, 'external', id, 1, true"
        " FROM generations WHERE project_id = %s",
        (project_id,),
    )
    cursor = await conn.execute(
        "SELECT id, scene_id FROM generations WHERE project_id = %s", (project_id,)
    )
    return project_id, [
        Publication(
            generation_id=row["id"],
            scene_id=row["scene_id"],
            scene_prompt=PROMPT,
            url=f"https://frames.example/{row['id']}",
            guard="prompt",
        )
        for row in await cursor.fetchall()
    ]


async def seconds(conn: Connection, batch_size: int) -> float:
    """Publish all scenes of a fresh project in batches of a size."""
    async with conn.transaction():
        project_id, publications = await make_project(conn)
    start = time.perf_counter()
    for first in range(0, SCENES, batch_size):
        results = await publish(conn, project_id, publications[first : first + batch_size])
        if set(results) != {"written"}:
            message = f"not everything was written: {set(results)}"
            raise RuntimeError(message)
    return time.perf_counter() - start


async def main(url: str) -> None:
    """Measure and print."""
    async with open_pool(url) as pool, pool.connection() as conn:
        await conn.set_autocommit(True)
        ratios = [await seconds(conn, 1) / await seconds(conn, SCENES) for _ in range(ROUNDS)]
    spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
    sys.stdout.write(
        f"{SCENES} scenes: one statement is {statistics.median(ratios):.0f} times faster"
        f" than one per scene ({spread} over {ROUNDS} rounds)\n"
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
