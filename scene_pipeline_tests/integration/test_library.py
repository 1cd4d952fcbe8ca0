"""The library: what comes in is stored once, found again, and goes only when nobody needs it."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from scene_pipeline.database.asset_uses import AssetUse
from scene_pipeline.database.assets import AssetRow, get_asset
from scene_pipeline.database.rows import Connection
from scene_pipeline.errors import NotFoundError, SceneError, StorageError, UsageError
from scene_pipeline.pipeline.failpoints import ASSET_FAILPOINTS
from scene_pipeline.pipeline.library.adding import AddedAsset, add_file
from scene_pipeline.pipeline.library.deriving import derivative_key
from scene_pipeline.pipeline.library.editing import edit_asset
from scene_pipeline.pipeline.library.removing import remove_asset, require_asset, uses_of
from scene_pipeline.pipeline.library.searching import LibraryPage, LibraryQuery, search
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.identity import KEY_DIGITS, MAX_KEY_DIGITS, derived_asset_key
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.libraries import Library, details
from scene_pipeline_tests.standins.pictures import draw_scene, encode, scene_file

INFINITE_CURSOR = base64.urlsafe_b64encode(
    b'["2026-01-01T00:00:00+00:00", "assets", 1e999]'
).decode()


@pytest.fixture
def library(studio: Studio, tmp_path: Path) -> Library:
    """An empty library."""
    return Library(studio, tmp_path / "files")


def row_of(library: Library, asset_id: str) -> AssetRow:
    row = library.connected(get_asset, asset_id)
    assert row is not None
    return row


def bring_film(library: Library, prompt: str) -> UUID:
    """A project with one scene."""
    library.studio.bring(film([prompt]))
    [row] = library.studio.sql("SELECT id FROM projects")
    project_id: UUID = row["id"]
    return project_id


def due_projects(library: Library) -> list[str]:
    """Projects whose scenes are to be derived again."""
    rows = library.studio.sql("SELECT key FROM projects WHERE revision > planned_revision")
    return [row["key"] for row in rows]


# ------------------------------------------------------------------------------------------ adding


def test_a_picture_is_kept_with_all_that_is_known_of_it(library: Library) -> None:
    data = scene_file("JPEG")
    added = library.add(
        library.file("folder/Hero  shot.jpg", data),
        tags=(" Hero ", "hero", "Night  Scene"),
        client_id="acme",
        metadata={"taken": {"by": "Ada"}},
    )

    row = row_of(library, added.asset_id)
    assert (added.is_new, added.kind, added.mime_type) == (True, "image", "image/jpeg")
    assert (row.name, row.tags) == ("Hero shot.jpg", ("hero", "night scene"))
    assert (row.width, row.height, row.is_animated) == (320, 180, False)
    assert (row.client_id, row.source, row.metadata) == ("acme", "file", {"taken": {"by": "Ada"}})
    assert row.url == added.url
    assert row.url.endswith(str(row.storage_key))
    stored = library.studio.do(lambda s: s.call(s.store.read, str(row.storage_key)))
    assert hashlib.sha256(stored).hexdigest() == row.sha256 == added.sha256
    forms = library.studio.sql("SELECT form FROM derivatives ORDER BY form")
    assert [form["form"] for form in forms] == ["thumbnail", "webp"]
    library.assert_sound()


def test_the_same_file_again_is_the_same_asset_with_the_tags_of_both(library: Library) -> None:
    first = library.add(library.file("one.png"), tags=("a",))
    again = library.add(library.file("two.png"), tags=("b", "a"))

    assert (again.asset_id, again.is_new) == (first.asset_id, False)
    row = row_of(library, first.asset_id)
    assert (row.name, row.tags) == ("one.png", ("a", "b"))
    library.assert_sound()


def test_the_same_bytes_in_another_place_are_stored_once(library: Library) -> None:
    project_id = bring_film(library, "A lighthouse")
    places: list[dict[str, Any]] = [
        {},
        {"project_id": project_id},
        {"client_id": "acme"},
        {"kind": "element_image"},
        {"user_id": "ada"},
    ]
    added = [library.add(library.file(), **place) for place in places]

    assert len({one.asset_id for one in added}) == len({one.url for one in added}) + 4
    [key] = [key for key in library.objects() if key.startswith("assets/images")]
    assert library.objects()[key] == ("present", 5)
    assert len(library.studio.sql("SELECT 1 FROM derivatives")) == 2
    library.assert_sound()


def test_a_frame_that_is_added_as_a_file_shares_its_object_and_keeps_its_origin(
    library: Library,
) -> None:
    studio = library.studio
    studio.bring(film(["A lighthouse"]))
    studio.run()
    [frame] = studio.sql(
        "SELECT storage_path, seed, endpoint FROM scene_images i"
        " JOIN generations g ON g.id = i.generation_id"
    )
    data = studio.do(lambda services: services.call(services.store.read, frame["storage_path"]))

    added = library.add(library.file("downloaded.jpg", data))

    row = row_of(library, added.asset_id)
    assert row.storage_key == frame["storage_path"]
    assert (row.seed, row.model) == (frame["seed"], frame["endpoint"])
    assert library.objects()[frame["storage_path"]] == ("present", 2)
    library.connected(remove_asset, added.asset_id)
    library.sweep()
    assert frame["storage_path"] in library.stored_files()


def test_many_at_once_make_one_asset(library: Library) -> None:
    paths = [library.file(f"{number}.png") for number in range(6)]

    async def work(services: Services) -> list[AddedAsset]:
        adding = (
            add_file(services, path, details(tags=(path.stem,)), asked_at=library.asked_at)
            for path in paths
        )
        return list(await asyncio.gather(*adding))

    added = library.studio.do(work)

    assert len({one.asset_id for one in added}) == 1
    assert sum(one.is_new for one in added) == 1
    assert set(row_of(library, added[0].asset_id).tags) == {str(n) for n in range(6)}
    library.assert_sound()


@pytest.mark.parametrize("place", ASSET_FAILPOINTS)
def test_a_crash_leaves_nothing_but_leftovers_and_the_next_try_succeeds(
    library: Library, place: str
) -> None:
    path, studio = library.file(), library.studio
    crashing = studio.settings.model_copy(update={"failpoint": f"{place}:raise"})
    library.studio = Studio(crashing, studio.database_url)
    with pytest.raises(SceneError, match="Failpoint"):
        library.add(path)
    library.studio = studio
    library.assert_sound()
    is_recorded = place == "asset_after_record"

    added = library.add(path)
    library.sweep()

    assert added.is_new is not is_recorded
    assert len(studio.sql("SELECT 1 FROM user_assets")) == 1
    derived = {key for key in library.stored_files() if "derived" in key}
    assert library.stored_files() - derived == {row_of(library, added.asset_id).storage_key}
    library.assert_sound()


def test_a_key_that_was_collected_is_never_used_again(library: Library) -> None:
    first = library.add(library.file())
    library.connected(remove_asset, first.asset_id)
    library.sweep()
    assert library.stored_files() == {
        key for key, (state, _) in library.objects().items() if state == "present"
    }

    second = library.add(library.file())

    assert second.asset_id != first.asset_id
    assert second.url != first.url
    assert second.url.removesuffix(".png").startswith(first.url.removesuffix(".png"))
    library.assert_sound()


def test_an_animated_picture_is_kept_as_it_is(library: Library) -> None:
    frames = [draw_scene(seed) for seed in (1, 2, 3)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)

    added = library.add(library.file("move.gif", data))

    row = row_of(library, added.asset_id)
    assert (row.is_animated, row.mime_type) == (True, "image/gif")
    assert row.sha256 == hashlib.sha256(data).hexdigest()


def test_what_the_library_does_not_take_is_refused_with_a_reason(library: Library) -> None:
    with pytest.raises(SceneError) as mismatch:
        library.add(library.file("clip.mp4"), kind="video")
    with pytest.raises(SceneError) as page:
        library.add(library.file("page.png", b"<html><body>no</body></html>" * 9))
    with pytest.raises(SceneError) as empty:
        library.add(library.file("empty.png", b""))
    with pytest.raises(UsageError) as folder:
        library.add(library.folder)
    with pytest.raises(NotFoundError) as missing:
        library.add(library.folder / "nowhere.png")

    codes = [error.value.error_code for error in (mismatch, page, empty, folder, missing)]
    assert codes[0] == "kind_mismatch"
    assert codes[1] == "file_not_allowed"
    assert codes[2:] == ["file_empty", "is_a_folder", "file_missing"]
    assert library.objects() == {}


def test_a_file_above_the_limit_is_refused_unread(library: Library) -> None:
    settings = library.studio.settings.model_copy(update={"asset_max_file_mb": 1})
    library.studio = Studio(settings, library.studio.database_url)
    with pytest.raises(SceneError) as refused:
        library.add(library.file("long.mp4", b"\0" * (2**20 + 1)), kind="video")
    assert refused.value.error_code == "too_large"
    assert "ASSET_MAX_FILE_MB" in refused.value.next_action


# --------------------------------------------------------------------------------------- replacing


def test_replaced_bytes_keep_the_asset_and_make_its_projects_due(library: Library) -> None:
    studio = library.studio
    first = library.add(library.file(), tags=("a",))
    studio.bring(film(["A lighthouse"], references=[f"asset:{first.asset_id}"]))
    studio.bring(film(["A harbour"], key="other"), origin="other.json")
    before = row_of(library, first.asset_id)
    studio.sql("UPDATE projects SET planned_revision = revision")
    assert due_projects(library) == []

    replaced = library.add(library.file(seed=2), replace=first.asset_id, tags=("b",))

    row = row_of(library, first.asset_id)
    assert (replaced.asset_id, replaced.is_new) == (first.asset_id, True)
    assert (row.content_version, row.name, row.tags) == (2, before.name, ("a", "b"))
    assert row.sha256 != before.sha256
    assert row.url != before.url
    assert library.objects()[str(before.storage_key)] == ("present", 0)
    assert due_projects(library) == ["film"]
    library.assert_sound()


def test_the_same_bytes_replace_nothing(library: Library) -> None:
    first = library.add(library.file())
    again = library.add(library.file("copy.png"), replace=first.asset_id, tags=("b",))

    row = row_of(library, first.asset_id)
    assert (again.is_new, row.content_version, row.tags) == (False, 1, ("b",))
    library.assert_sound()


def test_bytes_that_another_asset_has_do_not_replace(library: Library) -> None:
    first, second = library.add(library.file()), library.add(library.file("b.png", seed=2))
    with pytest.raises(UsageError) as refused:
        library.add(library.file("b.png", seed=2), replace=first.asset_id)
    assert refused.value.error_code == "asset_exists"
    assert second.asset_id in refused.value.message
    library.assert_sound()


def test_bytes_whose_address_a_document_holds_are_not_replaced(library: Library) -> None:
    first = library.add(library.file())
    library.studio.bring(film(["A lighthouse"], poster={"image": first.url}))
    with pytest.raises(UsageError) as refused:
        library.add(library.file(seed=2), replace=first.asset_id)
    assert refused.value.error_code == "asset_named_by_address"
    assert "film" in refused.value.message
    assert f"asset:{first.asset_id}" in refused.value.next_action
    library.assert_sound()


# ---------------------------------------------------------------------------------------- removing


def test_a_removed_asset_leaves_a_tombstone_and_its_bytes_go_after_the_grace(
    library: Library,
) -> None:
    added = library.add(library.file())
    before = library.stored_files()

    removed = library.connected(remove_asset, added.asset_id)

    assert (removed.name, removed.uses) == ("hero.png", ())
    assert library.connected(get_asset, added.asset_id) is None
    tombstone = library.connected(get_asset, added.asset_id, with_deleted=True)
    assert tombstone is not None
    assert tombstone.deleted_at is not None
    assert library.found() == []
    library.sweep(is_grace_over=False)
    assert library.stored_files() == before  # a day to notice a mistake

    library.sweep()
    assert [key for key in library.stored_files() if "images" in key] == []
    library.sweep()  # what was derived had its own period of grace
    assert library.stored_files() == set()
    with pytest.raises(NotFoundError):
        library.connected(remove_asset, added.asset_id)


@pytest.mark.parametrize("how", ["id", "url", "key"])
def test_what_a_document_names_is_not_removed(library: Library, how: str) -> None:
    added = library.add(library.file())
    key = str(row_of(library, added.asset_id).storage_key)
    name = {"id": f"asset:{added.asset_id}", "url": added.url, "key": key}[how]
    library.studio.bring(film(["A lighthouse"], key="named", poster={"image": name}))

    with pytest.raises(UsageError) as refused:
        library.connected(remove_asset, added.asset_id)

    assert refused.value.error_code == "asset_in_use"
    assert "the document of named" in refused.value.message
    forced = library.connected(remove_asset, added.asset_id, force=True)
    assert [(use.project_key, use.what) for use in forced.uses] == [("named", "document")]
    assert library.connected(get_asset, added.asset_id) is None
    library.assert_sound()


def test_a_project_whose_picture_was_removed_is_due(library: Library) -> None:
    added = library.add(library.file())
    library.studio.bring(film(["A lighthouse"], references=[f"asset:{added.asset_id}"]))
    library.studio.sql("UPDATE projects SET planned_revision = revision")

    library.connected(remove_asset, added.asset_id, force=True)

    assert due_projects(library) == ["film"]


def test_the_scenes_that_name_an_asset_are_told(library: Library) -> None:
    added = library.add(library.file())
    document = json.loads(film(["A lighthouse", "A harbour"]))
    document["scenes"]["scene_2"]["references"] = [f"asset:{added.asset_id}"]
    library.studio.bring(json.dumps(document).encode())

    with pytest.raises(UsageError, match=r"the document of film \(scene_2\)"):
        library.connected(remove_asset, added.asset_id)


def test_what_an_unfinished_generation_is_to_be_sent_is_not_removed(library: Library) -> None:
    studio = library.studio
    added = library.add(library.file())
    studio.bring(film(["A lighthouse"]))
    studio.run()
    studio.sql(
        "UPDATE generations SET state = 'planned', reference_images = %s::jsonb",
        json.dumps([{"storage_key": row_of(library, added.asset_id).storage_key}]),
    )
    with pytest.raises(UsageError, match=r"an unfinished generation of film \(scene_1\)"):
        library.connected(remove_asset, added.asset_id)


def test_bytes_that_something_else_keeps_may_lose_an_asset(library: Library) -> None:
    first = library.add(library.file())
    second = library.add(library.file(), client_id="acme")
    library.studio.bring(film(["A lighthouse"], poster=first.url))

    library.connected(remove_asset, first.asset_id)

    with pytest.raises(UsageError, match="the document of film"):
        library.connected(remove_asset, second.asset_id)
    library.assert_sound()


def test_of_two_removals_at_once_the_second_knows_that_it_is_the_last(library: Library) -> None:
    first = library.add(library.file())
    second = library.add(library.file(), client_id="acme")
    library.studio.bring(film(["A lighthouse"], poster=first.url))

    async def is_somebody_waiting(conn: Connection) -> bool:
        cursor = await conn.execute(
            "SELECT pg_stat_clear_snapshot(), count(*) AS n FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        [row] = await cursor.fetchall()
        return bool(row["n"])

    async def remove(services: Services) -> None:
        async with services.pool.connection() as conn:
            await remove_asset(conn, second.asset_id)

    async def work(services: Services) -> None:
        async with services.pool.connection() as conn:
            async with conn.transaction():
                await remove_asset(conn, first.asset_id)
                other = asyncio.create_task(remove(services))
                async with asyncio.timeout(10):
                    while not await is_somebody_waiting(conn):  # noqa: ASYNC110  # a fact of the server
                        await asyncio.sleep(0.01)
            await other

    with pytest.raises(UsageError) as refused:
        library.studio.do(work)
    assert refused.value.error_code == "asset_in_use"
    library.assert_sound()


# ------------------------------------------------------------------------------ frames, derivatives


def test_a_frame_is_shown_and_neither_tagged_nor_removed(library: Library) -> None:
    library.studio.bring(film(["A lighthouse"]))
    library.studio.run()
    [image] = library.studio.sql("SELECT id, storage_url FROM scene_images")
    asset_id = f"frm_{image['id'].hex}"

    row = row_of(library, asset_id)

    assert (row.kind, row.name, row.url) == ("frame", "scene_1 v1", image["storage_url"])
    assert row.frame is not None
    assert (row.frame.scene_id, row.frame.version, row.frame.is_current) == ("scene_1", 1, True)
    assert "A lighthouse" in str(row.frame.prompt)
    with pytest.raises(UsageError) as tagged:
        library.connected(edit_asset, asset_id, add=("x",))
    with pytest.raises(UsageError) as removed:
        library.connected(remove_asset, asset_id)
    with pytest.raises(UsageError) as replaced:
        library.add(library.file(), replace=asset_id)
    codes = {error.value.error_code for error in (tagged, removed, replaced)}
    assert codes == {"asset_is_frame"}
    assert "collect" in removed.value.next_action


def test_forms_of_a_frame_are_made_when_asked_for_and_once(library: Library) -> None:
    library.studio.bring(film(["A lighthouse"]))
    library.studio.run()
    [image] = library.studio.sql("SELECT storage_path FROM scene_images")
    key = image["storage_path"]

    async def work(services: Services) -> list[str]:
        forms = (derivative_key(services, key, "webp") for _ in range(4))
        first = await asyncio.gather(*forms)
        return [*first, await derivative_key(services, key, "webp")]

    keys = library.studio.do(work)

    assert len(set(keys)) == 1
    [made] = library.studio.sql("SELECT form, storage_key FROM derivatives")
    assert keys[0] == made["storage_key"]
    library.assert_sound()
    library.sweep()
    assert key in library.stored_files()
    assert made["storage_key"] in library.stored_files()


def test_a_form_that_the_store_has_lost_is_made_again_when_asked_for(library: Library) -> None:
    added = library.add(library.file())
    key = str(row_of(library, added.asset_id).storage_key)
    before = derived_keys(library)
    (library.studio.settings.home_directory / "frames" / before[0]).unlink()

    url = library.form_url(key)

    assert derived_keys(library) == before
    assert url.endswith(before[0])
    library.assert_sound()


def test_a_lost_form_of_an_older_program_is_made_again_though_its_bytes_are_others(
    library: Library,
) -> None:
    added = library.add(library.file())
    key = str(row_of(library, added.asset_id).storage_key)
    older, [newer] = f"assets/derived/d_{'0' * 32}.webp", derived_keys(library)
    library.studio.sql(
        "INSERT INTO storage_objects (key, sha256, size_bytes, content_type, state, refcount)"
        " VALUES (%s, %s, 1, 'image/webp', 'present', 1)",
        older,
        "0" * 64,
    )
    library.studio.sql("UPDATE derivatives SET storage_key = %s WHERE form = 'thumbnail'", older)
    library.studio.sql("UPDATE storage_objects SET refcount = 0 WHERE key = %s", newer)

    url = library.form_url(key)

    assert derived_keys(library) == [newer]
    assert url.endswith(newer)
    assert library.objects()[older] == ("present", 0)  # the collector's


def test_a_form_that_nobody_can_make_again_is_told(library: Library) -> None:
    added = library.add(library.file())
    key = str(row_of(library, added.asset_id).storage_key)
    for lost in (key, *derived_keys(library)):
        (library.studio.settings.home_directory / "frames" / lost).unlink()

    with pytest.raises(StorageError) as told:
        library.form_url(key)

    assert told.value.error_code == "object_missing"
    assert derived_keys(library) != []


def test_the_same_picture_can_come_and_go_for_ever(library: Library) -> None:
    """Each key is used once: those of earlier rounds are used up, with however many digits."""
    added = library.add(library.file())
    [used] = library.studio.sql(
        "SELECT o.sha256, o.content_type FROM storage_objects o JOIN derivatives d"
        " ON d.storage_key = o.key WHERE form = 'thumbnail'"
    )
    library.connected(remove_asset, added.asset_id)
    library.sweep()
    library.sweep()
    earlier = datetime(2026, 1, 1, tzinfo=UTC)
    for digits in range(KEY_DIGITS, MAX_KEY_DIGITS + 1):
        for old in (
            derived_asset_key(used["sha256"], "webp", earlier, digits=digits),
            f"assets/derived/d_{used['sha256'][:digits]}.webp",
        ):
            library.studio.sql(
                "INSERT INTO storage_objects (key, sha256, size_bytes, content_type, state)"
                " VALUES (%s, %s, 1, %s, 'deleted')",
                old,
                used["sha256"],
                used["content_type"],
            )
    library.asked_at += timedelta(days=1)

    again = library.add(library.file())

    assert again.notes == ()
    assert len(derived_keys(library)) == 1
    library.assert_sound()


def derived_keys(library: Library) -> list[str]:
    rows = library.studio.sql("SELECT storage_key FROM derivatives WHERE form = 'thumbnail'")
    return [row["storage_key"] for row in rows]


def test_what_is_webp_already_is_its_own_webp(library: Library) -> None:
    added = library.add(library.file("a.webp", scene_file("WEBP")))
    row = row_of(library, added.asset_id)
    url = library.form_url(str(row.storage_key), "webp")
    assert url == added.url


def test_nothing_is_derived_of_what_is_collected(library: Library) -> None:
    added = library.add(library.file())
    key = str(row_of(library, added.asset_id).storage_key)
    library.studio.sql("DELETE FROM derivatives")
    library.connected(remove_asset, added.asset_id)
    library.studio.sql("UPDATE storage_objects SET state = 'deleting' WHERE key = %s", key)
    with pytest.raises(SceneError):
        library.form_url(key)


def test_who_needs_an_asset_is_read_without_holding_anything(library: Library) -> None:
    added = library.add(library.file())
    library.studio.bring(film(["Dawn"], poster=f"asset:{added.asset_id}"))

    async def read_only(conn: Connection) -> list[AssetUse]:
        async with conn.transaction():
            await conn.execute("SET TRANSACTION READ ONLY")
            return await uses_of(conn, await require_asset(conn, added.asset_id))

    assert [use.project_key for use in library.connected(read_only)] == ["film"]


# ------------------------------------------------------------------------------------ tags, search


def test_tags_are_added_and_removed(library: Library) -> None:
    added = library.add(library.file(), tags=("a", "b"))
    row = library.connected(edit_asset, added.asset_id, add=("C ", "a"), remove=("B",))
    assert row.tags == ("a", "c")
    with pytest.raises(UsageError, match="at most 100"):
        library.connected(edit_asset, added.asset_id, add=[str(n) for n in range(101)])
    with pytest.raises(NotFoundError):
        library.connected(edit_asset, "ast_" + "0" * 26, add=("x",))


def test_one_question_finds_assets_and_frames(library: Library) -> None:
    studio = library.studio
    project_id = bring_film(library, "A lonely lighthouse")
    studio.run()
    library.add(library.file("lighthouse_plan.png"), project_id=project_id, tags=("Night shot",))
    library.add(library.file("b.png", seed=2), metadata={"note": "by the Lighthouse"})
    library.add(library.file("c.png", seed=3), client_id="acme", campaign_id="spring")
    [made] = studio.sql("SELECT seed, endpoint FROM generations")

    assert library.found() == ["c.png", "b.png", "lighthouse_plan.png", "scene_1 v1"]
    assert library.found(text="lightHOUSE") == ["b.png", "lighthouse_plan.png", "scene_1 v1"]
    assert library.found(text="light plan") == ["lighthouse_plan.png"]
    assert library.found(text="night sho") == ["lighthouse_plan.png"]
    assert library.found(text="'; -- &|!()") == []
    assert library.found(tags=("night SHOT",)) == ["lighthouse_plan.png"]
    assert library.found(kind="frame") == ["scene_1 v1"]
    assert library.found(kind="image", include_frames=False)[0] == "c.png"
    assert library.found(project_key="film") == ["lighthouse_plan.png", "scene_1 v1"]
    assert library.found(client_id="acme") == library.found(campaign_id="spring") == ["c.png"]
    assert library.found(seed=made["seed"], model=made["endpoint"]) == ["scene_1 v1"]
    assert library.found(seed=made["seed"] + 1) == []


def test_pages_go_on_where_they_ended_whatever_was_added_meanwhile(library: Library) -> None:
    for number in range(5):
        library.add(library.file(f"{number}.png", seed=number))
    # All of one moment: the order within it must not waver.
    library.studio.sql("UPDATE user_assets SET created_at = now()")

    async def page(conn: Connection, cursor: str | None) -> LibraryPage:
        return await search(conn, LibraryQuery(limit=2, cursor=cursor))

    first = library.connected(page, None)
    library.add(library.file("new.png", seed=9))
    second = library.connected(page, first.next_cursor)
    third = library.connected(page, second.next_cursor)

    told = [row.name for row in (*first.items, *second.items, *third.items)]
    assert told == ["4.png", "3.png", "2.png", "1.png", "0.png"]
    assert third.next_cursor is None


def test_a_drill_s_frames_are_shown_to_nobody(library: Library) -> None:
    library.studio.bring(film(["A lighthouse"]))
    library.studio.run()
    [image] = library.studio.sql("SELECT id, storage_path FROM scene_images")
    read = library.studio.do(lambda s: s.call(s.store.read, image["storage_path"]))
    library.studio.sql("UPDATE projects SET is_scratch = true, archived_at = now()")

    assert library.found() == []
    assert library.connected(get_asset, f"frm_{image['id'].hex}") is None
    # They go with the drill: nothing is derived of them, and nobody shares them.
    with pytest.raises(SceneError):
        library.form_url(image["storage_path"], "webp")
    added = library.add(library.file("same.jpg", read))
    assert row_of(library, added.asset_id).storage_key != image["storage_path"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"limit": 0}, "query_invalid"),
        ({"limit": 201}, "query_invalid"),
        ({"kind": "sound"}, "query_invalid"),
        ({"text": "x" * 201}, "query_invalid"),
        ({"seed": -1}, "query_invalid"),
        ({"client_id": "a\0b"}, "query_invalid"),
        ({"cursor": "nonsense"}, "cursor_invalid"),
        ({"cursor": "W10"}, "cursor_invalid"),
        ({"cursor": INFINITE_CURSOR}, "cursor_invalid"),
        ({"cursor": "é" * 400}, "cursor_invalid"),
        ({"project_key": "nobody's"}, "project_unknown"),
    ],
)
def test_what_cannot_be_asked_is_told(library: Library, asked: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        library.found(**asked)
    assert refused.value.error_code == code
