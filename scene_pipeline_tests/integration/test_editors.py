"""Editors who save whole documents while frames are written into them: nobody's field is lost."""

import asyncio
import copy
import json
import random
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from scene_pipeline.database.publishing import Publication, publish
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import DocumentError, NotFoundError, UsageError
from scene_pipeline.pipeline.projects.documents import RevisedDocument, read_revision, save_document
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film

EDITORS = 4
PATIENCE = 400
"""Conflicts in a row after which an editor counts as starved."""


def read(studio: Studio) -> RevisedDocument:
    async def work(services: Services) -> RevisedDocument:
        async with services.pool.connection() as conn:
            return await read_revision(conn, "film")

    return studio.do(work)


def save(studio: Studio, document: dict[str, Any], revision: int, key: str = "film") -> int:
    async def work(services: Services) -> int:
        async with services.pool.connection() as conn:
            return await save_document(conn, key, document, revision)

    return studio.do(work)


def test_a_save_over_the_revision_that_was_read_wins(studio: Studio) -> None:
    studio.bring(film(["A lighthouse", "A storm"]))
    before = read(studio)
    document = copy.deepcopy(dict(before.document))
    document["scenes"]["scene_2"]["scene_frame_prompt"] = "A calm"
    document["scenes"]["opening"] = {"scene_frame_prompt": "A door"}

    revision = save(studio, document, before.revision)
    again = save(studio, document, revision)

    assert (revision, again) == (before.revision + 1, revision)
    assert read(studio).document == document
    run = studio.run("scene_2", "opening", "scene_1")
    assert set(run.statuses.values()) == {"generated"}
    rows = studio.sql("SELECT scene_id FROM scene_status ORDER BY position")
    assert [row["scene_id"] for row in rows] == ["scene_1", "scene_2", "opening"]


def test_a_save_over_another_revision_is_told_and_changes_nothing(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    before = read(studio)
    studio.run()  # writes a frame into the document
    after = read(studio)

    with pytest.raises(UsageError, match=f"is at revision {after.revision}, not 1") as caught:
        save(studio, dict(before.document), before.revision)

    assert caught.value.error_code == "revision_conflict"
    assert read(studio) == after


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"scenes": {}}, "no_scenes"),
        ({"scenes": {"a": {"scene_frame_prompt": "x\x00y"}}}, "nul_character"),
        ({"scenes": {"a": {"scene_frame_prompt": "x", "n": float("nan")}}}, "number_invalid"),
    ],
)
def test_an_unusable_document_is_refused(
    document: dict[str, Any], code: str, studio: Studio
) -> None:
    studio.bring(film(["A lighthouse"]))
    before = read(studio)

    with pytest.raises(DocumentError) as caught:
        save(studio, document, before.revision)

    assert caught.value.error_code == code
    assert read(studio) == before


def test_an_unknown_project_is_told(studio: Studio) -> None:
    with pytest.raises(NotFoundError):
        save(studio, json.loads(film(["A lighthouse"])), 1, key="another")


def write_versions(studio: Studio, scenes: int) -> list[Publication]:
    """Recorded versions that wait to be published, one per scene, made by plain SQL."""
    studio.bring(film([f"Scene number {n}" for n in range(scenes)]))
    studio.sql(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed, state,"
        " request_id, storage_status, external_url, submit_count)"
        " SELECT project_id, scene_id, scene_id, 'offline', 'x', scene_prompt, scene_prompt, '{}',"
        " content_hash, 'x', 64, 64, 1, 'recorded', scene_id, 'external', 'https://x', 1"
        " FROM scenes"
    )
    studio.sql(
        "INSERT INTO scene_images (project_id, scene_id, storage_url, storage_status,"
        " generation_id, version, is_current) SELECT project_id, scene_id,"
        " 'https://frames.example/' || scene_id, 'external', id, 1, true FROM generations"
    )
    rows = studio.sql("SELECT id, scene_id, scene_prompt FROM generations")
    return [
        Publication(
            generation_id=row["id"],
            scene_id=row["scene_id"],
            scene_prompt=row["scene_prompt"],
            url=f"https://frames.example/{row['scene_id']}",
            guard="prompt",
        )
        for row in rows
    ]


async def publish_all(url: str, project_id: UUID, publications: list[Publication]) -> int:
    """One publisher; returns how many of its statements changed the document."""
    async with await connect(url) as conn:
        for publication in publications:
            verdicts = await publish(conn, project_id, [publication])
            assert verdicts == ["written"]
            await conn.commit()
    return len(publications)


async def edit(url: str, name: str, edits: int, chance: random.Random) -> int:
    """One editor: reads, changes its own fields of some scene, saves; again after a conflict."""
    async with await connect(url) as conn:
        conflicts = done = 0
        while done < edits:
            revised = await read_revision(conn, "film")
            await conn.commit()
            document = copy.deepcopy(dict(revised.document))
            scene = document["scenes"][chance.choice(sorted(document["scenes"]))]
            scene.setdefault("notes", {}).setdefault(name, []).append(done)
            document.setdefault("editors", {})[name] = done
            try:
                await save_document(conn, "film", document, revised.revision)
            except UsageError as error:
                if error.error_code != "revision_conflict":
                    raise
                conflicts += 1
                assert conflicts < PATIENCE, "an editor starved"
                await asyncio.sleep(chance.uniform(0, 0.01))
            else:
                done, conflicts = done + 1, 0
            await conn.commit()
    return done


async def connect(url: str) -> Connection:
    return await psycopg.AsyncConnection.connect(url, row_factory=dict_row)


@pytest.mark.parametrize(
    ("scenes", "publishers", "edits"),
    [(40, 8, 4), pytest.param(500, 40, 15, marks=pytest.mark.long)],
)
def test_publishers_and_editors_lose_no_field(
    scenes: int, publishers: int, edits: int, studio: Studio
) -> None:
    publications = write_versions(studio, scenes)
    before = read(studio)
    [project] = studio.sql("SELECT id FROM projects")
    chance = random.Random(scenes)  # noqa: S311

    async def work() -> tuple[int, int]:
        written = [
            publish_all(studio.database_url, project["id"], publications[n::publishers])
            for n in range(publishers)
        ]
        saved = [edit(studio.database_url, f"editor{n}", edits, chance) for n in range(EDITORS)]
        results = await asyncio.gather(*written, *saved)
        return sum(results[:publishers]), sum(results[publishers:])

    written, saved = asyncio.run(work())

    after = read(studio)
    assert (written, saved) == (scenes, EDITORS * edits)
    assert after.revision == before.revision + written + saved
    found: dict[str, list[int]] = {}
    for scene_id, scene in after.document["scenes"].items():
        assert scene["scene_start_frame"] == f"https://frames.example/{scene_id}"
        for name, numbers in scene.pop("notes", {}).items():
            found.setdefault(name, []).extend(numbers)
        del scene["scene_start_frame"]
    assert {name: sorted(numbers) for name, numbers in found.items()} == {
        f"editor{n}": list(range(edits)) for n in range(EDITORS)
    }
    expected = {**before.document, "editors": {f"editor{n}": edits - 1 for n in range(EDITORS)}}
    assert after.document == expected
    assert studio.sql("SELECT 1 FROM generations WHERE state <> 'published'") == []
