"""Documents are left in a folder: imported once each, told of once each, written back beside."""

import json
import os
import secrets
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.database.inbox import inbox_lock
from scene_pipeline.database.rows import Connection
from scene_pipeline.database.session import in_database
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.inboxes import (
    Inbox,
    folder_of_nobody,
    run_together,
    tick,
    unprivileged,
    watched,
)
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

PROMPTS = ["A harbour at dawn", "A storm over the sea"]


@pytest.fixture
def inbox(studio: Studio, tmp_path: Path) -> Inbox:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return watched(studio, folder)


def keyless(prompts: list[str]) -> bytes:
    document = json.loads(film(prompts))
    del document["project"]["key"]
    return json.dumps(document).encode()


def trip(inbox: Inbox, table: str, event: str, condition: str, exception: str) -> None:
    """Make the database fail at one place, as a crash there would."""
    inbox.studio.sql(
        "CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'tripped' USING ERRCODE = '{exception}'; END $$;"
        f" CREATE TRIGGER trip BEFORE {event} ON {table} FOR EACH ROW"
        f" WHEN ({condition}) EXECUTE FUNCTION trip()"
    )


def untrip(inbox: Inbox) -> None:
    inbox.studio.sql("DROP FUNCTION trip() CASCADE")


def test_a_new_file_becomes_a_project_and_is_written_back_beside_it(inbox: Inbox) -> None:
    given = inbox.put("film.json", film(PROMPTS))

    report = inbox.tick()

    assert (report.imported, report.written) == (["film.json"], ["film.frames.json"])
    assert inbox.row()["state"] == "imported"
    assert given.read_bytes() == film(PROMPTS)
    assert (inbox.folder / "film.frames.json").read_bytes() == film(PROMPTS)
    assert sorted(path.name for path in inbox.folder.iterdir()) == ["film.frames.json", "film.json"]


def test_a_second_tick_reads_and_writes_nothing(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    row, written = inbox.row(), (inbox.folder / "film.frames.json").stat()

    report = inbox.tick()

    assert report.lines == []
    assert "Nothing is new" in report.summary
    assert inbox.row() == row
    assert (inbox.folder / "film.frames.json").stat().st_mtime_ns == written.st_mtime_ns


def test_frames_that_arrive_are_written_back_and_nothing_else_changes(inbox: Inbox) -> None:
    given = inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    inbox.studio.run()

    assert inbox.tick().written == ["film.frames.json"]

    updated = json.loads((inbox.folder / "film.frames.json").read_bytes())
    for scene_id in ("scene_1", "scene_2"):
        url = updated["scenes"][scene_id].pop("scene_start_frame")
        assert url == inbox.studio.start_frame(scene_id)
    assert updated == json.loads(film(PROMPTS))
    assert given.read_bytes() == film(PROMPTS)
    assert inbox.tick().lines == []


def test_a_changed_file_updates_its_project_and_keeps_the_frames(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    inbox.studio.run()
    url = inbox.studio.start_frame("scene_1")

    inbox.put("film.json", film([*PROMPTS, "A calm evening"]))
    report = inbox.tick()

    assert report.imported == ["film.json"]
    assert set(inbox.studio.export()["scenes"]) == {"scene_1", "scene_2", "scene_3"}
    assert inbox.studio.start_frame("scene_1") == url
    assert report.written == ["film.frames.json"]


def test_a_file_that_is_only_touched_is_not_imported_again(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()

    inbox.put("film.json", film(PROMPTS), age_seconds=30)

    assert inbox.tick().lines == []
    assert inbox.imports() == 1


def test_another_layout_is_followed_without_a_new_revision(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    compact = json.dumps(json.loads(film(PROMPTS))).encode()

    inbox.put("film.json", compact)
    inbox.tick()

    assert (inbox.folder / "film.frames.json").read_bytes() == compact
    assert inbox.imports() == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"scenes": {"a": }}', "not_json"),
        (film(PROMPTS)[:-20], "not_json"),
        (b"", "document_empty"),
        (b"\xff\xfe{}", "not_utf8"),
        (b'{"scenes": {}}', "no_scenes"),
        (b'{"scenes": {"a": {"scene_frame_prompt": "x"}}, "n": NaN}', "number_invalid"),
        (b'{"scenes": {"a": 1, "a": 2}}', "duplicate_key"),
        (b'{"style": 7, "scenes": {"a": {"scene_frame_prompt": "x"}}}', "schema"),
        (b"[" * 5000, "json_too_deep"),
    ],
)
def test_a_broken_file_is_told_once_and_stops_no_other(
    inbox: Inbox, data: bytes, code: str
) -> None:
    inbox.put("a-broken.json", data)
    inbox.put("film.json", film(PROMPTS))

    first, second = inbox.tick(), inbox.tick()

    assert (first.set_aside, first.imported) == (["a-broken.json"], ["film.json"])
    assert second.lines == []
    assert inbox.row("a-broken.json")["state"] == "broken"
    [alert] = inbox.alerts()
    assert alert["code"] == code
    assert "a-broken.json" in alert["message"]
    assert alert["next_action"]


def test_all_problems_of_a_broken_file_are_told(inbox: Inbox) -> None:
    document = {"style": 7, "negative_prompt": [], "scenes": {f"s{n}": {} for n in range(9)}}
    inbox.put("film.json", json.dumps(document).encode())

    inbox.tick()

    problems = inbox.row()["problems"]
    assert len(problems) == 11
    assert {problem["code"] for problem in problems} == {"schema", "prompt_missing"}
    [alert] = inbox.alerts()
    assert "11 problems" in alert["message"]
    assert "6 more" in alert["message"]


def test_a_corrected_file_is_imported_and_broken_again_told_again(inbox: Inbox) -> None:
    inbox.put("film.json", b"{")
    inbox.tick()
    inbox.put("film.json", film(PROMPTS))
    assert inbox.tick().imported == ["film.json"]
    inbox.put("film.json", b"{{")

    report = inbox.tick()

    assert report.set_aside == ["film.json"]
    assert inbox.codes() == ["not_json", "not_json"]
    assert len(inbox.studio.export()["scenes"]) == 2


def test_a_file_that_broke_after_its_import_still_gets_its_frames(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    inbox.put("film.json", b"{")
    inbox.studio.run()

    assert inbox.tick().written == ["film.frames.json"]


def test_scenes_that_are_set_aside_are_told_once(inbox: Inbox) -> None:
    document = json.loads(film(PROMPTS))
    document["scenes"]["scene_2"]["scene_frame_prompt"] = ""
    inbox.put("film.json", json.dumps(document).encode())

    inbox.tick()
    inbox.tick()

    row = inbox.row()
    assert row["state"] == "imported"
    assert [problem["code"] for problem in row["problems"]] == ["prompt_empty"]
    [alert] = inbox.alerts()
    assert alert["code"] == "scenes_set_aside"
    assert alert["project_id"] == row["project_id"]
    assert "1 of its 2 scenes" in alert["message"]


def test_an_edit_in_the_database_is_not_undone_and_can_be_taken_over(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    inbox.studio.edit(["narrator"], "low")
    inbox.put("film.json", film([*PROMPTS, "Night"]))

    inbox.tick()
    inbox.studio.sql("UPDATE inbox_files SET seen_at = now() - interval '2 minutes'")
    inbox.tick()

    assert inbox.codes() == ["edited_since_import"]
    assert inbox.row()["state"] == "refused"
    assert inbox.studio.export()["narrator"] == "low"
    beside = json.loads((inbox.folder / "film.frames.json").read_bytes())
    assert beside["narrator"] == "low"

    inbox.put("film.json", (inbox.folder / "film.frames.json").read_bytes())
    assert inbox.tick().imported == ["film.json"]
    beside["scenes"]["scene_3"] = {"scene_frame_prompt": "Night"}
    inbox.put("film.json", json.dumps(beside).encode())
    assert inbox.tick().imported == ["film.json"]
    assert inbox.studio.export() == beside


def test_a_refused_file_is_tried_again_by_itself(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    inbox.studio.edit(["narrator"], "low")
    inbox.put("film.json", film([*PROMPTS, "Night"]))
    inbox.tick()
    inbox.studio.bring(film([*PROMPTS, "Night"]), force=True)

    inbox.studio.sql("UPDATE inbox_files SET seen_at = now() - interval '2 minutes'")

    assert inbox.tick().imported == ["film.json"]
    assert inbox.row()["state"] == "imported"


def test_a_name_that_slugs_to_another_files_project_is_refused(inbox: Inbox) -> None:
    inbox.put("Film.json", keyless(PROMPTS))
    inbox.put("film.json", keyless(["Another film"]))

    report = inbox.tick()

    assert (report.imported, report.set_aside) == (["Film.json"], ["film.json"])
    assert inbox.codes() == ["origin_differs"]
    assert len(inbox.studio.export()["scenes"]) == 2
    assert not (inbox.folder / "film.frames.json").exists()


def test_a_file_name_takes_over_no_project_that_has_its_key_from_elsewhere(inbox: Inbox) -> None:
    inbox.studio.bring(film(PROMPTS, key="film"))
    inbox.put("film.json", keyless(["Another film"]))

    inbox.tick()

    assert inbox.codes() == ["origin_differs"]
    assert len(inbox.studio.export()["scenes"]) == 2


def test_of_two_files_for_one_project_the_first_counts(inbox: Inbox) -> None:
    inbox.put("a.json", film(PROMPTS))
    inbox.put("b.json", film(["Another film"]))

    report = inbox.tick()

    assert (report.imported, report.written) == (["a.json"], ["a.frames.json"])
    assert inbox.codes() == ["project_has_another_file"]
    assert len(inbox.studio.export()["scenes"]) == 2


def test_a_renamed_file_goes_on_as_its_project(inbox: Inbox) -> None:
    inbox.put("a.json", film(PROMPTS))
    inbox.tick()
    (inbox.folder / "a.json").rename(inbox.folder / "b.json")

    report = inbox.tick()

    assert (report.imported, report.written) == (["b.json"], ["b.frames.json"])
    assert inbox.codes() == []
    inbox.studio.run()
    assert inbox.tick().written == ["b.frames.json"]


def test_a_file_that_is_being_written_is_left_for_later(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS), age_seconds=0)
    assert inbox.tick().lines == []
    inbox.put("film.json", film(PROMPTS)[:100], age_seconds=3)
    assert inbox.tick().lines == []
    assert inbox.studio.sql("SELECT * FROM inbox_files") == []

    inbox.put("film.json", film(PROMPTS), age_seconds=3)

    assert inbox.tick().imported == ["film.json"]
    assert inbox.alerts() == []


def test_a_clock_that_was_set_back_holds_no_file_up(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS), age_seconds=-86400)

    assert inbox.tick().imported == ["film.json"]


def test_a_file_of_200_mb_is_refused_unread(inbox: Inbox) -> None:
    path = inbox.put("film.json", b"")
    with path.open("r+b") as file:
        file.truncate(200_000_000)
    inbox.age("film.json", 60)

    inbox.tick()
    inbox.tick()

    [alert] = inbox.alerts()
    assert alert["code"] == "document_too_large"
    assert "200.0 MB" in alert["message"]
    assert inbox.row()["sha256"] is None


def test_a_file_of_the_users_is_never_written_over(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    foreign = inbox.put("film.frames.json", b'{"mine": true}')

    first, second = inbox.tick(), inbox.tick()

    assert foreign.read_bytes() == b'{"mine": true}'
    assert inbox.codes() == ["output_exists"]
    assert (len(first.lines), second.lines) == (2, [])
    foreign.rename(inbox.folder / "mine.txt")
    assert inbox.tick().written == ["film.frames.json"]


def test_what_we_wrote_and_somebody_changed_is_left_as_it_is(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    beside = inbox.put("film.frames.json", b'{"edited": true}')
    inbox.studio.run()

    inbox.tick()

    assert beside.read_bytes() == b'{"edited": true}'
    assert inbox.codes() == ["output_exists"]


def test_what_stands_in_the_way_of_one_document_holds_up_no_other(inbox: Inbox) -> None:
    inbox.put("a.json", film(PROMPTS, key="a"))
    (inbox.folder / "a.frames.json").mkdir()
    inbox.put("b.json", film(PROMPTS, key="b"))
    outside = inbox.put("outside.txt", b"outside")
    (inbox.folder / "c.frames.json").symlink_to(outside)
    inbox.put("c.json", film(PROMPTS, key="c"))

    assert inbox.tick().written == ["b.frames.json"]
    assert inbox.codes() == ["output_exists", "output_exists"]
    assert outside.read_bytes() == b"outside"


def test_a_deleted_file_deletes_nothing_and_gets_nothing(inbox: Inbox) -> None:
    path = inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    path.unlink()
    inbox.studio.run()

    assert inbox.tick().written == []
    assert inbox.row()["missing_since"] is not None
    assert len(inbox.studio.export()["scenes"]) == 2

    inbox.put("film.json", film(PROMPTS))
    assert inbox.tick().written == ["film.frames.json"]
    assert inbox.row()["missing_since"] is None


def test_a_file_that_is_gone_for_long_is_forgotten(inbox: Inbox) -> None:
    path = inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    path.unlink()
    inbox.tick()
    inbox.studio.sql("UPDATE inbox_files SET missing_since = now() - interval '31 days'")

    inbox.tick()

    assert inbox.studio.sql("SELECT * FROM inbox_files") == []
    assert len(inbox.studio.export()["scenes"]) == 2


def test_an_import_and_its_row_are_one(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    trip(inbox, "inbox_files", "INSERT", "true", "57P01")

    with pytest.raises(psycopg.OperationalError):
        inbox.tick()

    assert inbox.studio.sql("SELECT * FROM projects") == []
    untrip(inbox)
    assert inbox.tick().imported == ["film.json"]
    assert inbox.imports() == 1


def test_a_crash_after_writing_leaves_a_file_that_is_known_to_be_ours(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    trip(inbox, "inbox_files", "UPDATE", "NEW.written_revision IS NOT NULL", "57P01")

    with pytest.raises(psycopg.OperationalError):
        inbox.tick()
    assert (inbox.folder / "film.frames.json").exists()
    untrip(inbox)
    inbox.studio.run()

    assert inbox.tick().written == ["film.frames.json"]
    assert inbox.alerts() == []
    assert len(inbox.row()["own_outputs"]) == 1


def test_what_nobody_foresaw_about_one_file_stops_no_other(inbox: Inbox) -> None:
    inbox.put("a.json", film(PROMPTS, key="cursed"))
    inbox.put("b.json", film(PROMPTS, key="blessed"))
    trip(inbox, "projects", "INSERT", "NEW.key = 'cursed'", "check_violation")

    with pytest.raises(psycopg.IntegrityError):
        inbox.tick()

    assert inbox.row("b.json")["state"] == "imported"
    assert (inbox.folder / "b.frames.json").exists()


def test_two_ticks_at_once_import_once(inbox: Inbox) -> None:
    for number in range(5):
        inbox.put(f"film-{number}.json", film(PROMPTS, key=f"film-{number}"))

    run_together(inbox.tick, inbox.tick, inbox.tick)
    inbox.tick()

    assert inbox.imports() == 5
    assert len(list(inbox.folder.glob("*.frames.json"))) == 5
    assert inbox.alerts() == []


def test_a_tick_leaves_an_inbox_alone_that_another_one_holds(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))

    async def hold(conn: Connection) -> None:
        async with inbox_lock(conn, str(inbox.folder)) as is_ours:
            assert is_ours
            [report] = run_together(inbox.tick)
            assert report.is_busy
            assert "Another tick" in report.summary

    in_database(inbox.studio.database_url, hold)

    assert inbox.tick().imported == ["film.json"]


def test_a_tick_takes_a_bounded_number_of_files(inbox: Inbox) -> None:
    for number in range(5):
        inbox.put(f"film-{number}.json", film(PROMPTS, key=f"film-{number}"))

    counts = [len(inbox.tick(limit=2).imported) for _ in range(4)]

    assert counts == [2, 2, 1, 0]


def test_ten_thousand_files_are_looked_at_and_none_is_opened(inbox: Inbox) -> None:
    facts = {}
    for number in range(10_000):
        path = inbox.folder / f"film-{number:05}.json"
        path.touch()
        os.utime(path, (1_700_000_000, 1_700_000_000))
        facts[path.name] = path.stat()
    inbox.studio.sql("INSERT INTO projects (key, master_json) VALUES ('all', '{\"scenes\": {}}')")
    inbox.studio.sql(
        "INSERT INTO inbox_files (source, path, fingerprint, state, project_id, written_revision)"
        " SELECT %s, t.path, t.fingerprint, 'imported', p.id, p.revision"
        " FROM unnest(%s::text[], %s::text[]) AS t(path, fingerprint), projects p",
        str(inbox.folder),
        list(facts),
        [f"{f.st_size}:{f.st_mtime_ns}:{f.st_ctime_ns}" for f in facts.values()],
    )
    inbox.put("zebra.json", film(PROMPTS))

    report = inbox.tick()

    assert report.file_count == 10_001
    assert (report.imported, report.set_aside) == (["zebra.json"], [])
    assert report.written == ["zebra.frames.json"]


def test_rows_that_cannot_be_read_are_no_empty_inbox(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.studio.sql("ALTER TABLE inbox_files RENAME TO away")

    with pytest.raises(psycopg.Error):
        inbox.tick()

    assert inbox.studio.sql("SELECT * FROM projects") == []


def test_a_folder_that_is_not_there_is_told_and_forgets_nothing(inbox: Inbox) -> None:
    inbox.put("film.json", film(PROMPTS))
    inbox.tick()
    inbox.folder.rename(inbox.folder.with_name("elsewhere"))

    with pytest.raises(ConfigurationError) as caught:
        inbox.tick()

    assert caught.value.error_code == "inbox_not_readable"
    assert inbox.row()["missing_since"] is None


def test_a_folder_that_cannot_be_written_to_is_told_once_as_long_as_that_lasts(
    studio: Studio,
) -> None:
    with folder_of_nobody() as folder:
        inbox = watched(studio, folder)
        for name in ("a", "b", "c"):
            inbox.put(f"{name}.json", film(PROMPTS, key=name)).chmod(0o644)
        folder.chmod(0o555)
        with unprivileged():
            reports = [inbox.tick() for _ in range(4)]
        folder.chmod(0o755)

        assert set(reports[0].imported) == {"a.json", "b.json", "c.json"}
        assert [alert["code"] for alert in inbox.alerts()] == ["inbox_not_writable"]
        assert [report.lines for report in reports[1:]] == [[], [], []]

        with unprivileged():
            assert len(inbox.tick().written) == 3
        folder.chmod(0o555)
        inbox.studio.run(key="a")
        with unprivileged():
            inbox.tick()
            inbox.tick()
        folder.chmod(0o755)
        assert inbox.codes() == ["inbox_not_writable", "inbox_not_writable"]


def test_a_file_that_is_closed_to_us_is_told_once_and_read_once_it_is_open(
    studio: Studio,
) -> None:
    with folder_of_nobody() as folder:
        inbox = watched(studio, folder)
        path = inbox.put("film.json", film(PROMPTS))
        path.chmod(0)
        with unprivileged():
            inbox.tick()
            inbox.tick()
        assert inbox.codes() == ["file_unreadable"]
        path.chmod(0o644)
        with unprivileged():
            assert inbox.tick().imported == ["film.json"]


def test_an_inbox_in_a_bucket_works_like_a_folder(
    seaweedfs: SeaweedFS, database_url: str, tmp_path: Path
) -> None:
    prefix = f"inbox-{secrets.token_hex(6)}"
    settings = seaweedfs.settings(tmp_path / "home", inbox=f"s3://{seaweedfs.bucket}/{prefix}")
    studio = Studio(settings, database_url)
    with closing(build_s3_client(settings)) as client:

        def put(name: str, data: bytes) -> None:
            client.put_object(Bucket=seaweedfs.bucket, Key=f"{prefix}/{name}", Body=data)

        def get(name: str) -> bytes:
            answer = client.get_object(Bucket=seaweedfs.bucket, Key=f"{prefix}/{name}")
            with answer["Body"] as body:
                return body.read()

        put("film.json", film(PROMPTS))
        put("broken.json", b"{")
        first = tick(studio)
        studio.run("scene_1", "scene_2")
        second, third = tick(studio), tick(studio)
        put("other.json", film(PROMPTS, key="other"))
        put("other.frames.json", b"mine")
        fourth = tick(studio)

        assert (first.imported, first.set_aside) == (["film.json"], ["broken.json"])
        assert (first.written, second.written) == (["film.frames.json"], ["film.frames.json"])
        assert third.lines == []
        assert get("film.json") == film(PROMPTS)
        assert json.loads(get("film.frames.json")) == studio.export()
        assert studio.start_frame("scene_1") is not None
        assert (fourth.imported, fourth.written) == (["other.json"], [])
        assert get("other.frames.json") == b"mine"
