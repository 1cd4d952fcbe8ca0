"""References in the hands of people who do not mean well, and of servers that do not keep still."""

import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from scene_pipeline.database.migrations import migrate
from scene_pipeline.database.migrations.runner import DIRECTORY, VERSION_TABLE
from scene_pipeline.errors import ProviderError
from scene_pipeline.pipeline.due.changes import changes
from scene_pipeline.pipeline.due.launches import Wish
from scene_pipeline.pipeline.library.removing import remove_asset
from scene_pipeline.pipeline.references import foreign
from scene_pipeline.pipeline.services import Services
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.scenes.hashes import content_hash
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.scenes.sizes import parse_size
from scene_pipeline_tests.films import Studio, assert_invariants
from scene_pipeline_tests.reference_films import (
    HERO,
    MOOD,
    OTHER_HERO,
    PictureSite,
    add,
    film,
    picture_site,
    reasons,
    reference_studio,
    scene_of,
    states,
)
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.standins.scripted_provider import ScriptedProvider


@pytest.fixture
def site() -> Iterator[PictureSite]:
    with picture_site() as site:
        yield site


@pytest.fixture
def made(
    database_url: str, tmp_path: Path, provider: ScriptedProvider, site: PictureSite
) -> Studio:
    return reference_studio(database_url, tmp_path / "home", provider, site)


def tick(studio: Studio) -> list[Wish]:
    """What the sensor of changes would launch, once everything was left alone long enough."""
    settings = studio.settings.model_copy(update={"auto_refresh_quiet_seconds": 0.0})

    async def work(services: Services) -> list[Wish]:
        async with services.pool.connection() as conn:
            return await changes(conn, settings)

    return studio.do(work)


def remove(studio: Studio, asset_id: str) -> None:
    async def work(services: Services) -> None:
        async with services.pool.connection() as conn:
            await remove_asset(conn, asset_id, force=True)

    studio.do(work)


def forget_digests(studio: Studio) -> None:
    """Make the rows say what they said before reference pictures were looked at (schema 0002)."""
    for table in ("generations", "scenes"):
        for row in studio.sql(f"SELECT ctid::text AS place, content FROM {table}"):  # noqa: S608
            content = {k: v for k, v in row["content"].items() if k != "reference_digests"}
            digest = content_hash(
                expanded_prompt=content["expanded_prompt"],
                negative_prompt=content["negative_prompt"],
                references=content["references"],
                size=parse_size(content["size"]),
                expansion_version=content["expansion_version"],
            )
            change = f"UPDATE {table} SET content = %s::jsonb, content_hash = %s WHERE ctid = %s"  # noqa: S608
            studio.sql(f"{change}::tid", json.dumps(content), digest, row["place"])
    studio.sql("UPDATE generations SET idempotency_key = md5(idempotency_key)")
    studio.sql("DELETE FROM reference_pictures")
    studio.sql("UPDATE projects SET planned_revision = 0")


def copied_to_an_older_schema(studio: Studio, url: str) -> Studio:
    """The same rows in a database of schema 0002, which has never seen a later one."""
    with (
        psycopg.connect(studio.database_url, row_factory=dict_row) as source,
        psycopg.connect(url) as target,
    ):
        for name in ("0001_ledger.sql", "0002_automation.sql"):
            target.execute((DIRECTORY / "versions" / name).read_bytes())
        table = sql.Identifier(VERSION_TABLE)
        target.execute(sql.SQL("CREATE TABLE {} (version_num varchar(32))").format(table))
        target.execute(sql.SQL("INSERT INTO {} VALUES ('0002')").format(table))
        target.execute("SET session_replication_role = replica")
        columns = target.execute(
            "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns"
            " JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND is_generated = 'NEVER' AND table_name <> %s GROUP BY table_name",
            (VERSION_TABLE,),
        ).fetchall()
        numbered = target.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND is_identity = 'YES'"
        ).fetchall()
        for name, column in numbered:
            target.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} RESTART WITH 1000000").format(
                    sql.Identifier(name), sql.Identifier(column)
                )
            )
        for name, names in columns:
            target.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            here = sql.SQL(", ").join(map(sql.Identifier, names))
            rows = source.execute(
                sql.SQL("SELECT to_jsonb(t) AS row FROM (SELECT {} FROM {}) t").format(
                    here, sql.Identifier(name)
                )
            ).fetchall()
            target.cursor().executemany(
                sql.SQL(
                    "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE"
                    " SELECT {1} FROM jsonb_populate_record(NULL::{0}, %s::jsonb)"
                ).format(sql.Identifier(name), here),
                [(json.dumps(row["row"]),) for row in rows],
            )
    return Studio(studio.settings, url, studio.providers)


def test_an_upgrade_makes_nothing_stale_and_buys_nothing(
    provider: ScriptedProvider, made: Studio, site: PictureSite, empty_database_url: str
) -> None:
    mood, other = site.put("/mood.png", MOOD), site.put("/other.png", OTHER_HERO)
    made.bring(film({"one": [mood], "two": [other, mood], "three": []}))
    made.run()
    forget_digests(made)
    old = copied_to_an_older_schema(made, empty_database_url)
    migrate(empty_database_url)
    old.sql("UPDATE projects SET auto_refresh = true")
    kept = dict.fromkeys(("one", "two", "three"), "kept")

    assert tick(old) == []
    assert set(states(old).values()) == {"current"}
    assert old.run().statuses == kept, "the pictures are looked at now"
    assert tick(old) == []
    assert set(states(old).values()) == {"current"}
    assert old.run(refresh_stale=True).statuses == kept
    assert len(provider.accepted) == 3
    site.put("/mood.png", HERO)
    assert old.run().statuses == {"one": "stale", "two": "stale", "three": "kept"}
    assert reasons(old)["one"] == f"edited since: reference {mood} was replaced"
    assert_invariants(old)


def test_what_was_chosen_by_hand_before_an_upgrade_stays_chosen(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    mood = site.put("/mood.png", MOOD)
    made.bring(film({"one": [mood]}))
    made.run()
    made.edit(["scenes", "one", "scene_frame_prompt"], "This is other")
    made.run(refresh_stale=True)
    forget_digests(made)
    made.sql("UPDATE scene_images SET is_current = false")
    made.sql("UPDATE scene_images SET is_current = true WHERE version = 1")
    made.sql("UPDATE scenes SET chosen_content_hash = content_hash")

    assert made.run(refresh_stale=True).statuses == {"one": "kept"}

    assert states(made) == {"one": "current"}
    assert len(provider.accepted) == 2


def test_a_version_from_before_an_upgrade_is_gone_back_to_and_not_bought_again(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    mood = site.put("/mood.png", MOOD)
    made.bring(film({"one": [mood]}))
    made.run()
    made.edit(["scenes", "one", "scene_frame_prompt"], "This is other")
    made.run(refresh_stale=True)
    forget_digests(made)
    made.run()

    made.edit(["scenes", "one", "scene_frame_prompt"], "This is one")
    made.run(refresh_stale=True)

    assert made.sql("SELECT version FROM scene_images WHERE is_current") == [{"version": 1}]
    assert len(provider.accepted) == 2


def test_a_picture_that_changes_all_the_time_is_bought_once_for_each_look(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    camera = site.put("/camera.png", MOOD)
    made.bring(film({"one": [camera]}))
    made.run()
    made.sql("UPDATE projects SET auto_refresh = true")
    launched = 0
    for seed in range(5, 9):
        site.put("/camera.png", scene_file("PNG", seed=seed))
        for wish in tick(made):
            launched += 1
            made.run(refresh_stale=wish.refresh_stale)

    assert launched == 0, "nobody looks by itself"
    assert made.run().statuses == {"one": "stale"}
    for seed in range(9, 13):
        site.put("/camera.png", scene_file("PNG", seed=seed))
        for wish in tick(made):
            launched += 1
            made.run(refresh_stale=wish.refresh_stale)
    assert launched == 1
    assert len(provider.accepted) == 2


class Restless(dict[str, bytes]):
    """Another picture at every request."""

    def get(self, *_: Any) -> bytes:
        return scene_file("PNG", seed=secrets.randbits(30))


def test_a_picture_that_never_keeps_still_is_asked_about_ever_more_rarely(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    site.files = Restless()
    made.bring(film({"one": [f"http://{site.host}/camera.png"]}))
    open_row = "SELECT take_up_attempts FROM generations WHERE state = 'planned'"
    assert made.run().statuses == {"one": "blocked"}

    for attempts in range(1, 4):
        made.sql(
            "UPDATE generations SET take_up_attempts = take_up_attempts + 1,"
            " take_up_at = now() + interval '1 hour' WHERE state = 'planned'"
        )
        assert made.run().statuses == {"one": "blocked"}
        assert made.sql(open_row) == [{"take_up_attempts": attempts}]

    [row] = made.sql(
        "SELECT take_up_at > now() + interval '50 minutes' AS waits, error_code FROM generations"
        " WHERE state = 'planned'"
    )
    assert row == {"waits": True, "error_code": "reference_changed"}
    assert provider.accepted == {}


def test_a_name_of_many_foreign_letters_is_kept_like_any_other(
    provider: ScriptedProvider, made: Studio, site: PictureSite
) -> None:
    letters = "".join(chr(0x4E00 + secrets.randbelow(20_000)) for _ in range(1900))
    made.bring(film({"one": [f"http://{site.host}/mood.png?{letters}"], "two": []}))

    assert made.run().statuses == {"one": "blocked", "two": "generated"}
    assert len(provider.accepted) == 1


def test_a_deleted_asset_hides_no_other_one_of_the_same_object(made: Studio) -> None:
    first = add(made, HERO, "hero.png")
    [row] = made.sql("SELECT storage_key, url FROM user_assets")
    named = {"one": [row["storage_key"]], "two": [row["url"]], "three": [f"asset:{first}"]}
    made.bring(film(named))
    remove(made, first)
    assert set(made.run().statuses.values()) == {"blocked"}

    add(made, HERO, "hero again.png")
    run = made.run()
    assert run.statuses == {"one": "generated", "two": "generated", "three": "blocked"}
    assert run.outcomes["three"].failure is not None
    assert run.outcomes["three"].failure.code == "reference_missing"


def test_a_server_that_keeps_everybody_waiting_is_waited_for_once(
    provider: ScriptedProvider, made: Studio, site: PictureSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "PATIENCE_SECONDS", 0.0)
    site.is_down = True
    made.bring(film({"one": [f"http://{site.host}/{n}.png" for n in range(20)], "two": []}))

    assert made.run().statuses == {"one": "blocked", "two": "generated"}

    assert len(site.asked) <= foreign.ASKED_AT_ONCE
    assert len(provider.accepted) == 1


def test_a_deleted_asset_is_not_sent_although_it_was_settled_before(
    provider: ScriptedProvider, made: Studio
) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"]}))
    poor = made.settings.model_copy(update={"allow_unknown_price": False})
    assert Studio(poor, made.database_url, made.providers).run().statuses == {"one": "blocked"}
    [settled] = made.sql("SELECT jsonb_array_length(reference_images) AS n FROM generations")
    assert settled == {"n": 1}

    remove(made, hero)
    run = made.run()

    assert run.outcomes["one"].failure is not None
    assert run.outcomes["one"].failure.code == "reference_missing"
    assert provider.accepted == {}


def test_a_picture_that_is_deleted_while_its_scene_waits_for_its_turn_is_not_sent(
    provider: ScriptedProvider, made: Studio
) -> None:
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"], "two": [f"asset:{hero}"]}))
    is_removed = threading.Event()

    def remove_once(_request: ImageRequest) -> None:
        if not is_removed.is_set():
            is_removed.set()
            thread = threading.Thread(target=remove, args=(made, hero))
            thread.start()
            thread.join(30)

    provider.before_accepting = remove_once
    slow = made.settings.model_copy(update={"generation_concurrency": 1})

    run = Studio(slow, made.database_url, made.providers).run()

    assert sorted(run.statuses.values()) == ["blocked", "generated"]
    assert len(provider.accepted) == 1


def test_a_picture_that_a_command_names_is_looked_at_again_before_it_is_sent(
    provider: ScriptedProvider, made: Studio, site: PictureSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "scene_pipeline.pipeline.making.named_references.is_reachable", lambda _url: True
    )
    named = site.put("/named.png", MOOD)
    made.bring(film({"one": [], "two": []}))

    def exchange(_request: ImageRequest) -> None:
        site.put("/named.png", OTHER_HERO)

    provider.before_accepting = exchange
    slow = made.settings.model_copy(update={"generation_concurrency": 1})
    order: dict[str, Any] = {
        "mode": "regenerate",
        "token": "again",
        "overrides": RequestOverrides(references=(named,)),
    }

    run = Studio(slow, made.database_url, made.providers).run(**order)

    assert sorted(run.statuses.values()) == ["blocked", "generated"]
    assert len(provider.accepted) == 1
    assert set(made.run(**order).statuses.values()) <= {"generated", "kept"}
    assert len(provider.accepted) == 2
    late = list(provider.accepted.values())[-1]
    [row] = made.sql("SELECT reference_images FROM generations WHERE scene_id = %s", scene_of(late))
    assert [one["sha256"] for one in row["reference_images"]] == [
        picture.sha256 for picture in late.references
    ]


def test_an_upload_that_fails_while_a_lost_request_is_repeated_leaves_it_in_doubt(
    provider: ScriptedProvider, made: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_broken = threading.Event()

    def upload_reference(_self: ScriptedProvider, data: bytes, content_type: str) -> str:
        assert data
        assert content_type
        if is_broken.is_set():
            raise ProviderError("It is full.", retryable=True, charge="not_charged")
        return "https://storage.example/picture"

    monkeypatch.setattr(ScriptedProvider, "upload_reference", upload_reference, raising=False)
    hero = add(made, HERO, "hero.png")
    made.bring(film({"one": [f"asset:{hero}"]}))
    settings = made.settings.model_copy(
        update={
            "fal_use_upload": True,
            "on_ambiguous": "pay_again",
            "ambiguous_wait_minutes": 0,
            "ambiguous_patience_seconds": 0,
        }
    )
    studio = Studio(settings, made.database_url, made.providers, hurries=True)
    provider.set_fault("lost_and_history_down")
    is_broken.set()
    assert studio.run().statuses == {"one": "failed"}, "nothing was sent, nothing is in doubt"
    assert provider.accepted == {}
    is_broken.clear()

    def break_down(_request: ImageRequest) -> None:
        is_broken.set()

    provider.before_accepting = break_down
    studio.run()
    studio.run()

    [row] = made.sql("SELECT state, submit_count FROM generations")
    assert row == {"state": "submitting", "submit_count": 1}
    assert sum(provider.charges.values()) == 1
