"""Retention: old versions give up their bytes, and nothing that is needed is ever touched."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from scene_pipeline.database import objects
from scene_pipeline.database.giving_up import give_up
from scene_pipeline.database.retention import OldVersion, old_versions
from scene_pipeline.database.retention_verdicts import RetentionRule
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline.pipeline.upkeep.collect_report import CollectReport
from scene_pipeline.pipeline.upkeep.reconcile import reconcile
from scene_pipeline.pipeline.upkeep.retain import RetainReport, retain
from scene_pipeline.scenes.identity import frame_asset_id
from scene_pipeline_tests.films import Studio, assert_invariants, film

STRICT = RetentionRule(keep_versions=1, keep_days=0)


@pytest.fixture
def strict(studio: Studio) -> Studio:
    """Keeps the newest version of each scene only, besides what is needed."""
    return Studio(studio.settings.model_copy(update=asdict(STRICT)), studio.database_url)


def retention(studio: Studio, *, apply: bool = True, limit: int = 10_000) -> RetainReport:
    return studio.do(lambda services: retain(services, apply=apply, limit=limit))


def sweep(studio: Studio, *, apply: bool = True) -> CollectReport:
    return studio.do(lambda services: collect(services, apply=apply))


def make_versions(studio: Studio, number: int) -> None:
    for version in range(number):
        studio.run("scene_1", mode="regenerate", token=str(version))


def files(studio: Studio) -> set[str]:
    root = studio.settings.home_directory / "frames"
    return {str(path.relative_to(root)) for path in Path(root / "projects").rglob("*.*")}


def statuses(studio: Studio) -> dict[int, str]:
    rows = studio.sql("SELECT version, storage_status FROM scene_images ORDER BY version")
    return {row["version"]: row["storage_status"] for row in rows}


def path_of(studio: Studio, version: int) -> str:
    [row] = studio.sql("SELECT storage_path FROM scene_images WHERE version = %s", version)
    return str(row["storage_path"])


async def until_somebody_waits(conn: Connection) -> None:
    """Until another connection to this database waits for a lock."""
    async with asyncio.timeout(10):
        question = (
            "SELECT pg_stat_clear_snapshot(), count(*) FILTER (WHERE wait_event_type = 'Lock') AS n"
            " FROM pg_stat_activity WHERE datname = current_database()"
        )
        while not (await (await conn.execute(question)).fetchall())[0]["n"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_by_default_nothing_young_or_recent_goes(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"]))
    make_versions(studio, 3)

    assert retention(studio).versions.objects == 0

    assert set(statuses(studio).values()) == {"stored"}


def test_a_dry_run_tells_versions_and_bytes_and_changes_nothing(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 3)
    [row] = strict.sql("SELECT sum(file_size) AS n FROM scene_images WHERE NOT is_current")

    report = sweep(strict, apply=False)

    assert (report.old_versions.objects, report.old_versions.size_bytes) == (2, row["n"])
    assert statuses(strict) == {1: "stored", 2: "stored", 3: "stored"}
    assert_invariants(strict)


def test_an_old_version_becomes_a_tombstone_and_its_bytes_go_after_the_grace(
    strict: Studio,
) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 3)
    current = path_of(strict, 3)
    before = files(strict)
    cost = strict.sql("SELECT count(*), sum(cost_micros) FROM generations")

    given_up = sweep(strict)

    assert given_up.old_versions.objects == 2
    assert statuses(strict) == {1: "removed", 2: "removed", 3: "stored"}
    assert files(strict) == before  # a day to notice a mistake
    assert given_up.leftovers.objects == 0

    strict.sql("UPDATE storage_objects SET created_at = created_at - interval '2 days'")
    collected = sweep(strict)

    assert (collected.old_versions.objects, collected.deleted.objects) == (0, 2)
    assert files(strict) == {current}
    assert strict.sql("SELECT count(*), sum(cost_micros) FROM generations") == cost
    assert strict.sql(
        "SELECT count(*) AS n FROM pipeline_events WHERE kind = 'version_removed'"
    ) == [{"n": 2}]
    assert strict.run().statuses == {"scene_1": "kept"}
    report = strict.do(lambda services: reconcile(services, apply=True))
    assert report.drifts == ()
    assert_invariants(strict)


def test_a_new_version_after_retention_gets_a_new_number(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)
    retention(strict)

    strict.run("scene_1", mode="regenerate", token="next")

    assert statuses(strict) == {1: "removed", 2: "stored", 3: "stored"}
    assert_invariants(strict)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scene_images SET storage_status = 'stored', removed_at = NULL WHERE version = 1",
        "UPDATE scene_images SET is_current = true WHERE version = 1",
        "UPDATE scene_images SET storage_status = 'removed', removed_at = now(),"
        " storage_path = NULL WHERE version = 2",
        "DELETE FROM scene_images WHERE version = 1",
    ],
    ids=["revived", "promoted", "removed_by_hand", "deleted"],
)
def test_the_table_itself_keeps_tombstones_and_versions(strict: Studio, statement: str) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)
    retention(strict)
    strict.sql("UPDATE scene_images SET is_current = false WHERE version = 2")

    with pytest.raises(psycopg.errors.IntegrityError):
        strict.sql(statement)


def test_a_locked_scene_keeps_all_its_versions(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 3)
    strict.sql("UPDATE scenes SET locked = true")

    assert retention(strict).versions.objects == 0


def test_what_any_document_names_is_kept(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 4)
    strict.bring(film(["Another film"], key="other"), file_name="other.json", origin="other.json")
    strict.edit(["notes"], f"see https://cdn.example.org/x/{path_of(strict, 1)}?v=2")
    strict.edit(["mood"], {"board": [f"http://there/{path_of(strict, 2)}."]}, key="other")

    retention(strict)

    assert statuses(strict) == {1: "stored", 2: "stored", 3: "removed", 4: "stored"}


def test_a_frame_that_is_not_published_yet_keeps_what_the_document_still_shows(
    strict: Studio,
) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)
    crashing = strict.settings.model_copy(update={"failpoint": "before_publish:raise"})
    Studio(crashing, strict.database_url).run("scene_1", mode="regenerate", token="new")
    shown = strict.start_frame("scene_1")

    retention(strict)

    assert statuses(strict) == {1: "removed", 2: "stored", 3: "stored"}
    assert shown is not None
    assert shown.endswith(path_of(strict, 2))


def test_a_call_is_bounded_and_the_next_one_goes_on(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 4)

    reports = [retention(strict, limit=2), retention(strict, limit=2)]

    assert [(r.versions.objects, r.is_complete) for r in reports] == [(2, False), (1, True)]


def test_an_object_that_is_counted_too_low_is_left_for_reconcile(strict: Studio) -> None:
    """A shared object whose count is wrong must not be collected under its other scene."""
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)
    strict.sql("UPDATE storage_objects SET refcount = 0 WHERE key = %s", path_of(strict, 1))

    assert retention(strict).versions.objects == 0
    strict.do(lambda services: reconcile(services, apply=True))
    assert retention(strict).versions.objects == 1


def test_a_promotion_at_the_same_instant_wins_or_finds_a_tombstone(strict: Studio) -> None:
    """Retention found version 1; it is promoted before the transaction that would give it up."""
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)

    async def race(services: Services) -> int:
        async with services.pool.connection() as finder, services.pool.connection() as promoter:
            [row] = await (await finder.execute("SELECT id FROM projects")).fetchall()
            found = await old_versions(finder, [row["id"]], STRICT)
            await finder.commit()
            await promoter.execute("UPDATE scene_images SET is_current = false WHERE version = 2")
            await promoter.execute("UPDATE scene_images SET is_current = true WHERE version = 1")
            giving_up = asyncio.create_task(give_up(finder, row["id"], found, STRICT))
            await until_somebody_waits(promoter)
            await promoter.commit()
            return (await giving_up).versions.objects

    assert strict.do(race) == 0
    assert statuses(strict) == {1: "stored", 2: "stored"}


def test_an_edit_that_names_an_old_version_wins(strict: Studio) -> None:
    """An editor holds the project's row, about to bring version 1 back by its URL."""
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)
    path = path_of(strict, 1)

    async def race(services: Services) -> int:
        async with services.pool.connection() as finder, services.pool.connection() as editor:
            [row] = await (await finder.execute("SELECT id FROM projects")).fetchall()
            found = await old_versions(finder, [row["id"]], STRICT)
            await finder.commit()
            await editor.execute(
                "UPDATE projects SET master_json ="
                " jsonb_set(master_json, '{notes}', to_jsonb(%s::text))",
                (f"http://here/{path}",),
            )
            giving_up = asyncio.create_task(give_up(finder, row["id"], found, STRICT))
            await until_somebody_waits(editor)
            await editor.commit()
            return (await giving_up).versions.objects

    assert strict.do(race) == 0


def test_a_shared_object_lives_until_its_last_version_goes(strict: Studio) -> None:
    strict.bring(film(["A lighthouse", "A storm"]))
    make_versions(strict, 2)
    shared = path_of(strict, 1)
    history = History(strict)
    history.add("scene_2", path=shared, version=1, is_current=True)

    async def count(services: Services) -> None:
        async with services.pool.connection() as conn:
            await objects.add_reference(conn, shared)

    strict.do(count)
    retention(strict)
    strict.sql("UPDATE storage_objects SET created_at = created_at - interval '2 days'")

    assert sweep(strict).deleted.objects == 0
    assert shared in files(strict)
    assert strict.sql("SELECT refcount FROM storage_objects WHERE key = %s", shared) == [
        {"refcount": 1}
    ]


@dataclass
class Made:
    """A version as a random history has it."""

    id: UUID
    scene_id: str
    version: int
    path: str
    days: float
    is_current: bool
    state: str
    is_external: bool


class History:
    """Writes versions as rows alone: thousands of them in no time."""

    def __init__(self, studio: Studio, key: str = "film") -> None:
        self._studio = studio
        [row] = studio.sql("SELECT id FROM projects WHERE key = %s", key)
        self.project_id: UUID = row["id"]
        self.made: list[Made] = []

    def new_object(self) -> str:
        path = f"projects/{self.project_id}/scenes/s_20200101T000000Z_{uuid4().hex[:16]}.png"
        self._studio.sql(
            "INSERT INTO storage_objects (key, state, sha256, size_bytes, content_type)"
            " VALUES (%s, 'present', repeat('a', 64), 7, 'image/png')",
            path,
        )
        return path

    def add(
        self,
        scene_id: str,
        *,
        path: str,
        version: int,
        days: float = 0,
        is_current: bool = False,
        state: str = "superseded",
        is_external: bool = False,
    ) -> Made:
        status = "external" if is_external else "stored"
        [generation] = self._studio.sql(
            "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
            " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed,"
            " state, request_id, storage_key, storage_status, external_url) VALUES (%s, %s, %s,"
            " 'offline', 'm', 'p', 'p', '{}', 'h', 'h', 64, 64, 1, %s, %s, %s, %s, 'https://e/x')"
            " RETURNING id",
            self.project_id,
            scene_id,
            uuid4().hex,
            state,
            uuid4().hex,
            None if is_external else path,
            status,
        )
        [image] = self._studio.sql(
            "INSERT INTO scene_images (project_id, scene_id, storage_path, storage_url,"
            " storage_status, file_size, content_type, sha256, generated_at, generation_id,"
            " version, is_current) VALUES (%s, %s, %s, %s, %s, 7, 'image/png', repeat('a', 64),"
            " now() - make_interval(secs => %s), %s, %s, %s) RETURNING id",
            self.project_id,
            scene_id,
            None if is_external else path,
            f"http://here/{path}",
            status,
            days * 86_400,
            generation["id"],
            version,
            is_current,
        )
        made = Made(image["id"], scene_id, version, path, days, is_current, state, is_external)
        self.made.append(made)
        return made


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_lose_exactly_what_nothing_needs(seed: int, studio: Studio) -> None:
    chance = random.Random(seed)  # noqa: S311  # a history, not a secret
    rule = RetentionRule(chance.choice([1, 2, 3]), chance.choice([0.0, 30.0]))
    studio = Studio(studio.settings.model_copy(update=asdict(rule)), studio.database_url)
    scene_ids = [f"scene_{number}" for number in range(1, 5)]
    studio.bring(film([f"Prompt of {scene_id}" for scene_id in scene_ids]))
    studio.bring(film(["Elsewhere"], key="other"), file_name="o.json", origin="o.json")
    history = History(studio)
    locked = set(chance.sample(scene_ids, chance.choice([0, 1])))
    studio.sql("UPDATE scenes SET locked = true WHERE scene_id = ANY(%s)", list(locked))
    for scene_id in scene_ids:
        number = chance.randint(0, 8)
        current = chance.randint(1, number) if number and chance.random() < 0.9 else None
        for version in range(1, number + 1):
            shares = history.made and chance.random() < 0.15
            history.add(
                scene_id,
                path=chance.choice(history.made).path if shares else history.new_object(),
                version=version,
                days=chance.choice([0.5, 29.0, 31.0, 400.0]),
                is_current=version == current,
                state="published" if version == current else "superseded",
                is_external=not shares and chance.random() < 0.1,
            )
    named = {one.path for one in history.made if chance.random() < 0.1}
    named_elsewhere = {one.path for one in history.made if chance.random() < 0.05}
    needed = {one.path for one in history.made if chance.random() < 0.05}
    studio.edit(["notes"], [f"http://here/{path}" for path in sorted(named)])
    studio.edit(["notes"], [f"http://here/{path}" for path in sorted(named_elsewhere)], key="other")
    [other] = studio.sql("SELECT id FROM projects WHERE key = 'other'")
    studio.sql(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed,"
        " reference_images) VALUES (%s, 'scene_1', 'open', 'offline', 'm', 'p', 'p', '{}', 'h',"
        " 'h', 64, 64, 1, %s::jsonb)",
        other["id"],
        json.dumps([{"scene_id": "scene_1", "storage_key": path} for path in sorted(needed)]),
    )
    counts = Counter(one.path for one in history.made if not one.is_external)
    for path, number in counts.items():
        studio.sql("UPDATE storage_objects SET refcount = %s WHERE key = %s", number, path)

    expected = set()
    for scene_id in scene_ids:
        line = sorted(
            (one for one in history.made if one.scene_id == scene_id), key=lambda one: -one.version
        )
        expected |= {
            one.id
            for one in line[rule.keep_versions :]
            if not one.is_current
            and not one.is_external
            and scene_id not in locked
            and one.days > rule.keep_days
            and one.path not in named | named_elsewhere | needed
        }

    dry = retention(studio, apply=False)
    report = retention(studio)

    gone = {
        row["id"]
        for row in studio.sql("SELECT id FROM scene_images WHERE storage_status = 'removed'")
    }
    assert gone == expected
    assert dry.versions == report.versions
    assert report.versions.objects == len(expected)
    left = Counter(
        one.path for one in history.made if not one.is_external and one.id not in expected
    )
    for row in studio.sql("SELECT key, refcount FROM storage_objects"):
        assert row["refcount"] == left[row["key"]]
    assert retention(studio).versions.objects == 0


def set_rule(studio: Studio, key: str, versions: int | None, days: float | None) -> None:
    studio.sql(
        "UPDATE projects SET keep_versions = %s, keep_days = %s WHERE key = %s", versions, days, key
    )


def test_a_project_keeps_by_its_own_rule_and_the_others_by_the_installations(
    studio: Studio,
) -> None:
    studio.bring(film(["A lighthouse"]))
    studio.bring(film(["A storm"], key="other"), file_name="other.json", origin="other.json")
    for key in ("film", "other"):
        for token in ("a", "b", "c", "d"):
            studio.run("scene_1", key=key, mode="regenerate", token=token)
    set_rule(studio, "film", 2, 0)

    dry = retention(studio, apply=False)
    report = retention(studio)

    told = {project.rule.project_key: project for project in report.projects}
    assert told["film"].rule.rule == RetentionRule(2, 0)
    assert told["film"].rule.is_own
    assert told["film"].kept == {"current": 1, "newest": 1}
    assert told["film"].given_up.versions.objects == 2
    assert told["other"].rule.rule == RetentionRule(10, 30)
    assert not told["other"].rule.is_own
    assert told["other"].kept == {"current": 1, "newest": 3}
    assert dry.total == report.total
    [row] = studio.sql(
        "SELECT sum(file_size) AS n FROM scene_images WHERE storage_status = 'removed'"
    )
    assert report.total.freed_bytes == row["n"]


def test_what_a_project_does_not_say_is_the_installations(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 4)

    set_rule(strict, "film", 3, None)
    assert retention(strict, apply=False).versions.objects == 1
    set_rule(strict, "film", None, 1_000_000_000)
    report = retention(strict)

    assert report.versions.objects == 0
    assert report.projects[0].kept == {"current": 1, "young": 3}


def test_a_rule_that_changes_at_the_same_instant_is_kept(strict: Studio) -> None:
    """Somebody is about to keep more: what was found by the older rule is asked again."""
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 2)

    async def race(services: Services) -> int:
        async with services.pool.connection() as finder, services.pool.connection() as owner:
            [row] = await (await finder.execute("SELECT id FROM projects")).fetchall()
            found = await old_versions(finder, [row["id"]], STRICT)
            await finder.commit()
            await owner.execute("UPDATE projects SET keep_versions = 5")
            giving_up = asyncio.create_task(give_up(finder, row["id"], found, STRICT))
            await until_somebody_waits(owner)
            await owner.commit()
            return (await giving_up).versions.objects

    assert strict.do(race) == 0


def test_what_scenes_are_made_after_or_the_library_shares_is_kept(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 6)
    strict.bring(film(["Another film"], key="other"), file_name="other.json", origin="other.json")
    images = {row["version"]: row for row in strict.sql("SELECT * FROM scene_images")}
    strict.sql(
        "INSERT INTO reference_pictures (project_id, reference, storage_key, sha256)"
        " SELECT id, 'a picture', %s, repeat('a', 64) FROM projects WHERE key = 'other'",
        path_of(strict, 1),
    )
    strict.edit(["notes"], f"asset:frm_{images[2]['id'].hex}")
    strict.edit(["notes"], [f"asset:frm_{images[3]['id'].hex}"], key="other")
    strict.sql(
        "INSERT INTO user_assets (asset_id, name, kind, url, storage_key, mime_type, size_bytes,"
        " sha256, source, deleted_at) VALUES ('ast_' || repeat('a', 26), 'n', 'image', 'u', %s,"
        " 'image/jpeg', 1, repeat('a', 64), 'file', NULL), ('ast_' || repeat('b', 26), 'n',"
        " 'image', 'u', %s, 'image/jpeg', 1, repeat('b', 64), 'file', now())",
        path_of(strict, 4),
        path_of(strict, 5),
    )
    strict.sql(
        "UPDATE storage_objects SET refcount = refcount + 1 WHERE key = ANY(%s)",
        [path_of(strict, 4), path_of(strict, 5)],
    )

    dry = retention(strict, apply=False)
    report = retention(strict)

    kept = {version for version, status in statuses(strict).items() if status == "stored"}
    assert kept == {1, 2, 3, 4, 6}
    told = {project.rule.project_key: project for project in report.projects}["film"]
    assert told.kept == {"current": 1, "referenced": 4}
    assert report.total == dry.total
    assert report.total.freed_bytes == 0  # its object is still the library's, until that lets go


def test_the_money_that_versions_had_cost_is_told_by_how_it_is_known(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    make_versions(strict, 4)
    for version, cost, kind in ((1, 3000, "metered"), (2, 500, "estimated"), (3, None, None)):
        strict.sql(
            "UPDATE generations g SET cost_micros = %s, cost_kind = %s FROM scene_images i"
            " WHERE i.generation_id = g.id AND i.version = %s",
            cost,
            kind,
            version,
        )

    dry = retention(strict, apply=False)
    report = retention(strict)

    assert dry.total == report.total
    assert (report.total.metered_micros, report.total.estimated_micros) == (3000, 500)
    assert report.total.cost_micros == 3500


def test_of_a_request_for_several_pictures_each_version_had_cost_its_share(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    history = History(strict)
    first = history.add("scene_1", path=history.new_object(), version=1)
    [made] = strict.sql("SELECT generation_id FROM scene_images WHERE id = %s", first.id)
    strict.sql(
        "UPDATE generations SET cost_micros = 4000, cost_kind = 'metered' WHERE id = %s",
        made["generation_id"],
    )
    strict.sql(
        "INSERT INTO scene_images (project_id, scene_id, storage_path, storage_url, storage_status,"
        " file_size, content_type, sha256, generation_id, image_index, version, is_current)"
        " VALUES (%s, 'scene_1', %s, 'u', 'stored', 7, 'image/png', repeat('a', 64), %s, 1, 2,"
        " true)",
        history.project_id,
        history.new_object(),
        made["generation_id"],
    )
    strict.sql("UPDATE storage_objects SET refcount = 1")

    assert retention(strict).total.metered_micros == 2000


def test_a_shared_object_is_free_with_the_last_version_that_needs_it(strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    history = History(strict)
    shared = history.new_object()
    for version in (1, 2):
        history.add("scene_1", path=shared, version=version)
    history.add("scene_1", path=history.new_object(), version=3, is_current=True)
    strict.sql("UPDATE storage_objects SET refcount = 2 WHERE key = %s", shared)

    dry = retention(strict, apply=False)
    report = retention(strict)

    assert dry.total == report.total
    assert report.versions.size_bytes == 14
    assert report.total.freed_bytes == 7


def add_thumbnail(studio: Studio, source_key: str) -> str:
    """Another form of a picture, as rows alone."""
    key = f"assets/derived/d_{uuid4().hex}.webp"
    studio.sql(
        "INSERT INTO storage_objects (key, state, sha256, size_bytes, content_type, refcount)"
        " VALUES (%s, 'present', repeat('c', 64), 3, 'image/webp', 1)",
        key,
    )
    studio.sql(
        "INSERT INTO derivatives (source_key, form, storage_key, content_type, width, height,"
        " size_bytes) VALUES (%s, 'thumbnail', %s, 'image/webp', 1, 1, 3)",
        source_key,
        key,
    )
    return key


def test_what_another_projects_document_names_since_the_sweep_looked_is_kept(
    strict: Studio,
) -> None:
    """By its address, its id, or another form that was made since; the rest of the chunk goes."""
    strict.bring(film(["A lighthouse"]))
    strict.bring(film(["Another film"], key="other"), file_name="other.json", origin="other.json")
    history = History(strict)
    made = [
        history.add("scene_1", path=history.new_object(), version=version)
        for version in range(1, 6)
    ]
    strict.sql("UPDATE storage_objects SET refcount = 1")

    async def find(services: Services) -> list[OldVersion]:
        async with services.pool.connection() as conn:
            return await old_versions(conn, [history.project_id], STRICT)

    async def finish(services: Services) -> int:
        async with services.pool.connection() as conn:
            given_up = await give_up(conn, history.project_id, found, STRICT)
            return given_up.versions.objects

    found = strict.do(find)
    assert len(found) == 4
    strict.edit(
        ["notes"],
        [
            f"http://here/{made[0].path}?v=1",
            f"asset:{frame_asset_id(made[1].id)}",
            f"http://here/{add_thumbnail(strict, made[2].path)}",
        ],
        key="other",
    )

    assert strict.do(finish) == 1
    assert [status for _, status in sorted(statuses(strict).items())] == [
        *["stored"] * 3,
        "removed",
        "stored",
    ]


@pytest.mark.parametrize("by", ["address", "id", "thumbnail"])
def test_what_unfinished_work_or_a_waiting_request_names_is_kept(by: str, strict: Studio) -> None:
    strict.bring(film(["A lighthouse"]))
    strict.bring(film(["Another film"], key="other"), file_name="other.json", origin="other.json")
    history = History(strict)
    names = []
    for version in range(1, 7):
        made = history.add("scene_1", path=history.new_object(), version=version)
        thumbnail = f"http://here/{add_thumbnail(strict, made.path)}"
        ways = {"address": f"http://here/{made.path}?v=1", "thumbnail": thumbnail}
        names.append(json.dumps({"image": ways.get(by, frame_asset_id(made.id))}))
    strict.sql("UPDATE storage_objects SET refcount = 1")
    strict.sql(
        "INSERT INTO generations (project_id, scene_id, idempotency_key, provider, endpoint,"
        " scene_prompt, prompt, content, content_hash, request_hash, width, height, seed,"
        " parameters) SELECT id, 'scene_1', 'open', 'offline', 'm', 'p', 'p', %s::jsonb, 'h', 'h',"
        " 64, 64, 1, %s::jsonb FROM projects WHERE key = 'other'",
        names[0],
        names[1],
    )
    for overrides, state in zip(names[2:5], ("pending", "claimed", "done"), strict=True):
        strict.sql(
            "INSERT INTO regeneration_requests (project_id, scene_id, overrides, state)"
            " SELECT id, 'scene_1', %s::jsonb, %s FROM projects WHERE key = 'other'",
            overrides,
            state,
        )

    dry = retention(strict, apply=False)
    report = retention(strict)

    assert dry.total == report.total
    kept = {version for version, status in statuses(strict).items() if status == "stored"}
    assert kept == {1, 2, 3, 4, 6}
