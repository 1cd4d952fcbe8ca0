"""The drill on a real database: what it finds, what it leaves, and whom it leaves alone."""

import asyncio
import hashlib
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from scene_pipeline.database.scratch import (
    REMOVED_TABLES,
    ScratchProject,
    claim_scratch,
    list_scratch,
    mark_scratch,
    remove_scratch,
)
from scene_pipeline.database.session import open_pool
from scene_pipeline.database.storyboards import projects_with_stale_storyboards
from scene_pipeline.drill.exercise import drill
from scene_pipeline.drill.removal import Cleaned, clean
from scene_pipeline.drill.scenarios import NAMES, choose
from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.pipeline.projects.overview import ProjectOverview, list_overviews
from scene_pipeline.pipeline.services import Services
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.storage.base import ObjectStore, StoredObject
from scene_pipeline.storage.memory import MemoryStore
from scene_pipeline.storage.registry import build_store
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS
from scene_pipeline_tests.waiting import wait_until

QUICK = choose(["content_policy"])


def all_rows(database_url: str) -> dict[str, list[str]]:
    """Every row of every table of ours, as text."""
    with psycopg.connect(database_url) as conn:
        names = [
            name
            for (name,) in conn.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            )
        ]
        return {
            name: sorted(
                row
                for (row,) in conn.execute(
                    sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
                )
            )
            for name in names
        }


def all_objects(store: ObjectStore) -> dict[str, str]:
    return {
        found.key: hashlib.sha256(store.read(found.key)).hexdigest() for found in store.list("")
    }


def scratch_projects(database_url: str) -> list[ScratchProject]:
    async def read() -> list[ScratchProject]:
        async with open_pool(database_url, max_size=1) as pool, pool.connection() as conn:
            return await list_scratch(conn)

    return asyncio.run(read())


def cleaned(database_url: str, store: ObjectStore) -> Cleaned:
    return asyncio.run(clean(database_url, store))


def test_every_promise_holds_and_only_the_drill_is_removed(studio: Studio) -> None:
    studio.bring(film(["A lighthouse", "A calm sea"]))
    studio.run()
    # What the user has set for real pictures plays no part: not the key, the proxy, nor the caps.
    settings = load_settings(
        home=studio.settings.home,
        fal_key="the-users-own:0123456789abcdef",
        egress_proxy="http://127.0.0.1:9",
        project_cap_usd=Decimal(0),
        day_cap_usd=Decimal(0),
    )
    store = build_store(settings)
    rows, objects = all_rows(studio.database_url), all_objects(store)

    report = drill(settings, studio.database_url, store, choose(()))

    assert report.broken == ()
    assert {verdict.name for verdict in report.verdicts} >= {"sound", *NAMES, "money", "document"}
    assert report.metered == report.recorded
    assert report.metered.requests == len(NAMES)  # the sound one more, the blocked one less
    assert report.removed is not None
    assert report.removed.objects > 0
    assert all_rows(studio.database_url) == rows
    assert all_objects(store) == objects


def test_a_drill_in_a_bucket_leaves_it_as_it_was(
    seaweedfs: SeaweedFS, database_url: str, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(tmp_path / "home", is_https=False)
    store = build_store(settings)
    # The first upload of all leaves the store's own probe for create-only PUTs behind, once.
    data = b"somebody else's"
    digest = hashlib.sha256(data).hexdigest()
    store.put("other/object.txt", data, content_type="text/plain", sha256=digest)
    objects = all_objects(store)

    report = drill(settings, database_url, store, choose(["storage_outage"]))

    assert report.broken == ()
    assert report.removed is not None
    assert report.removed.objects == 2
    assert all_objects(store) == objects


class LyingStore(MemoryStore):
    """Says that everything went well, and keeps other bytes."""

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        changed = data[:-1] + bytes([data[-1] ^ 1])
        digest = hashlib.sha256(changed).hexdigest()
        super().put(key, changed, content_type=content_type, sha256=digest)
        return StoredObject(key, len(data), content_type, sha256)


class ForgetfulStore(MemoryStore):
    """Says that everything went well, and keeps nothing."""

    def put(self, key: str, data: bytes, *, content_type: str, sha256: str) -> StoredObject:
        return StoredObject(key, len(data), content_type, sha256)


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (LyingStore(), "the stored bytes differ from what was recorded"),
        (ForgetfulStore(), "the stored object cannot be read back"),
    ],
    ids=["changes bytes", "keeps nothing"],
)
def test_a_store_that_lies_breaks_a_promise(
    store: MemoryStore, told: str, database_url: str, tmp_path: Path
) -> None:
    rows = all_rows(database_url)

    report = drill(load_settings(home=tmp_path / "home"), database_url, store, QUICK)

    (broken,) = report.broken
    assert broken.name == "sound"
    assert told in broken.happened
    assert all_rows(database_url) == rows
    assert all_objects(store) == {}


@pytest.fixture
def kept(database_url: str, tmp_path: Path) -> tuple[Settings, ObjectStore, str]:
    """A drill whose project was kept."""
    settings = load_settings(home=tmp_path / "home")
    store = build_store(settings)
    report = drill(settings, database_url, store, QUICK, is_kept=True)
    assert report.removed is None
    return settings, store, report.key


def test_a_kept_drill_is_seen_by_nobody_until_it_is_cleaned(
    kept: tuple[Settings, ObjectStore, str], database_url: str
) -> None:
    settings, store, key = kept
    (project,) = scratch_projects(database_url)
    assert project.key == key
    assert [found.key for found in store.list(project.prefix)]
    assert projects_with_stale_storyboards(database_url, 10) == []

    async def overviews(services: Services) -> list[ProjectOverview]:
        async with services.pool.connection() as conn:
            return list(await list_overviews(conn))

    assert Studio(settings, database_url).do(overviews) == []

    first, second = cleaned(database_url, store), cleaned(database_url, store)

    assert [removed.key for removed in first.removed] == [key]
    assert second == Cleaned((), ())
    assert all_objects(store) == {}
    rows = all_rows(database_url)
    assert not any(rows[table] for table in REMOVED_TABLES)


def is_claimable(database_url: str, key: str) -> bool:
    with claim_scratch(database_url, key) as is_ours:
        return is_ours


def test_cleaning_leaves_a_drill_that_is_still_running_alone(
    kept: tuple[Settings, ObjectStore, str], database_url: str
) -> None:
    _, store, key = kept

    # The server notices the end of the drill's own connection a moment after it.
    wait_until(lambda: is_claimable(database_url, key))
    with claim_scratch(database_url, key) as is_ours:
        during = cleaned(database_url, store)
    after = cleaned(database_url, store)

    assert is_ours
    assert during == Cleaned((), (key,))
    assert [removed.key for removed in after.removed] == [key]


def test_a_project_without_the_mark_is_never_removed(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"], key="drill-0123456789ab"))
    studio.run(key="drill-0123456789ab")
    rows = all_rows(studio.database_url)
    [row] = studio.sql("SELECT id, key, created_at FROM projects")
    posing = ScratchProject(**row)

    async def remove(services: Services) -> None:
        async with services.pool.connection() as conn:
            await remove_scratch(conn, posing)

    async def mark(services: Services) -> None:
        async with services.pool.connection() as conn:
            await mark_scratch(conn, posing.key)

    with pytest.raises(NotFoundError):
        studio.do(remove)
    with pytest.raises(UsageError):
        studio.do(mark)
    assert cleaned(studio.database_url, build_store(studio.settings)) == Cleaned((), ())
    assert all_rows(studio.database_url) == rows


def test_every_table_that_refers_to_a_project_is_removed_from(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        children = {
            name
            for (name,) in conn.execute(
                "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
            )
        }
        naming = {
            name
            for (name,) in conn.execute(
                "SELECT c.table_name FROM information_schema.columns c"
                " JOIN information_schema.tables t USING (table_schema, table_name)"
                " WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
                " AND c.column_name IN ('project_id', 'generation_id')"
            )
        }

    assert children | naming <= REMOVED_TABLES
