"""Addresses into the library: once each, whatever their servers do."""

import errno
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from scene_pipeline.database.imports import MAX_ASKED
from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.media.fetch import SafeFetcher
from scene_pipeline.pipeline.library import bringing
from scene_pipeline.pipeline.library.import_events import ImportOutcome, ImportProgress
from scene_pipeline.pipeline.library.imports import MAX_ATTEMPTS
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.import_desk import ImportDesk, settings_for, site
from scene_pipeline_tests.standins.hostile_http import HostileServer, Line, Script, answer
from scene_pipeline_tests.standins.pictures import scene_file

HERO, VILLAIN = scene_file("PNG", 1), scene_file("JPEG", 2)


def hang(line: Line) -> None:
    line.hang()


@pytest.fixture
def server() -> Iterator[HostileServer]:
    files: dict[str, Script] = {
        "/hero.png": HERO,
        "/hero.png?signature=top-secret": HERO,
        "/copy.png": HERO,
        "/villain.jpg": VILLAIN,
        "/notes.png": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\nstartxref\n9\n%%EOF\n",
        "/large.png": b"\x89PNG" + bytes(2 * 2**20),
        "/slow.png": hang,
        "/busy.png": lambda line: line.send(answer(b"", "503 Service Unavailable")),
    }
    with site(files) as running:
        yield running


@pytest.fixture
def desk(server: HostileServer, database_url: str, tmp_path: Path) -> ImportDesk:
    settings = settings_for(server, tmp_path / "home", asset_max_image_mb=1)
    return ImportDesk(Studio(settings, database_url), server)


def test_more_addresses_than_are_taken_at_once_are_refused_and_none_is_dropped(
    desk: ImportDesk,
) -> None:
    with pytest.raises(UsageError) as refused:
        desk.ask(*["/hero.png"] * (MAX_ASKED + 1))

    assert refused.value.error_code == "too_many_imports"
    assert desk.rows() == []


@pytest.mark.parametrize("asset_id", [f"ast_{'0' * 26}", f"frm_{'0' * 32}"])
def test_nothing_is_asked_for_in_place_of_what_is_no_asset(desk: ImportDesk, asset_id: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        desk.ask("/hero.png", "/villain.jpg", replace_asset_id=asset_id)

    assert refused.value.error_code == "asset_unknown"
    assert desk.rows() == []


def test_an_address_becomes_an_asset(desk: ImportDesk, server: HostileServer) -> None:
    desk.studio.bring(film(["Dawn"]))
    [project] = desk.studio.sql("SELECT id FROM projects")
    desk.ask("/hero.png", project_id=project["id"], tags=("Cast",), client_id="acme")

    outcome = desk.carry_out("run-1")["hero.png"]

    assert outcome.status == "new"
    [asset] = desk.studio.sql("SELECT * FROM user_assets")
    assert (asset["asset_id"], asset["name"], asset["tags"]) == (
        outcome.asset_id,
        "hero.png",
        ["cast"],
    )
    assert (asset["project_id"], asset["client_id"]) == (project["id"], "acme")
    assert asset["source_url"] == server.url("/hero.png")
    [row] = desk.rows()
    assert (row["state"], row["run_id"], row["bytes_received"]) == ("done", "run-1", len(HERO))
    assert desk.events() == ["upload_started", "upload_complete"]
    assert list((desk.studio.settings.home_directory / "tmp").iterdir()) == []


def test_one_failed_address_never_holds_up_the_rest(desk: ImportDesk) -> None:
    desk.ask("/hero.png", "/gone.png", "/notes.png", "/large.png", "/villain.jpg")

    outcomes = desk.carry_out()

    assert {name: one.status for name, one in outcomes.items()} == {
        "hero.png": "new",
        "gone.png": "failed",
        "notes.png": "failed",
        "large.png": "failed",
        "villain.jpg": "new",
    }
    codes = {row["source_url"].rpartition("/")[2]: row["error_code"] for row in desk.rows()}
    assert codes["gone.png"] == "link_expired"
    assert codes["notes.png"] == "kind_mismatch"
    assert codes["large.png"] == "too_large"
    told = [row["error_next_action"] for row in desk.rows() if row["state"] == "failed"]
    assert all(action and "scene" not in action.replace("scene-pipeline", "") for action in told)
    assert desk.events().count("upload_failed") == 3


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("https://elsewhere.example/hero.png", "blocked_host"),
        ("http://169.254.169.254/latest/meta-data", "blocked_scheme"),
        ("https://169.254.169.254/latest/meta-data", "blocked_host"),
        ("file:///etc/passwd", "blocked_scheme"),
        ("https://user:password@elsewhere.example/", "invalid_url"),
        ("https://[::1]/hero.png", "blocked_host"),
        ("nonsense", "invalid_url"),
    ],
)
def test_a_hostile_address_is_refused_unasked(
    desk: ImportDesk, server: HostileServer, address: str, code: str
) -> None:
    desk.studio.sql(
        "INSERT INTO asset_imports (kind, source, source_url) VALUES ('image', 'url', %s)", address
    )

    [outcome] = desk.carry_out().values()

    assert outcome.status == "failed"
    assert outcome.failure is not None
    assert outcome.failure.code == code
    assert "password" not in str(desk.rows())
    assert server.connection_count == 0


def test_a_host_that_is_not_allowed_names_the_setting(desk: ImportDesk) -> None:
    desk.ask("https://elsewhere.example/hero.png")

    [outcome] = desk.carry_out().values()

    assert outcome.failure is not None
    assert "ASSET_HOST_ALLOWLIST" in outcome.failure.next_action


def test_the_same_bytes_are_one_asset(desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    first = desk.carry_out()["hero.png"]
    desk.ask("/copy.png")

    second = desk.carry_out()["copy.png"]

    assert (first.status, second.status) == ("new", "duplicate")
    assert first.asset_id == second.asset_id
    assert [row["is_duplicate"] for row in desk.rows()] == [False, True]


def test_what_waits_is_not_asked_for_twice(desk: ImportDesk) -> None:
    first = desk.ask("/hero.png")
    again = desk.ask("/hero.png", "/villain.jpg", "/hero.png")
    elsewhere = desk.ask("/hero.png", client_id="acme")

    assert [row.id for row in again.imports][::2] == [first.imports[0].id] * 2
    assert elsewhere.imports[0].id != first.imports[0].id
    assert len(desk.rows()) == 3


def test_other_programs_insert_plainly(desk: ImportDesk, server: HostileServer) -> None:
    desk.studio.sql(
        "INSERT INTO asset_imports (kind, source, source_url) VALUES ('image', 'url', %s)",
        server.url("/hero.png"),
    )

    assert desk.carry_out()["hero.png"].status == "new"


def test_a_query_is_neither_kept_nor_shown_once_it_ended(desk: ImportDesk) -> None:
    desk.ask("/hero.png?signature=top-secret", "/gone.png?signature=top-secret")

    outcomes = desk.carry_out()

    assert [one.status for one in outcomes.values()] == ["new", "failed"]
    kept = [desk.rows(), desk.studio.sql("SELECT * FROM user_assets"), outcomes, desk.told]
    kept.append(desk.studio.sql("SELECT * FROM pipeline_events"))
    assert "top-secret" not in str(kept)


def test_what_may_pass_is_tried_again_by_itself_a_bounded_number_of_times(
    desk: ImportDesk, server: HostileServer
) -> None:
    desk.ask("/busy.png")

    outcome = desk.carry_out()["busy.png"]

    assert (outcome.status, len(server.heads)) == ("waiting", bringing.DOWNLOAD_ATTEMPTS)
    [row] = desk.rows()
    assert (row["state"], row["error_code"], row["is_put_off"]) == (
        "pending",
        "http_status_503",
        True,
    )
    desk.studio.sql("UPDATE asset_imports SET attempts = %s", MAX_ATTEMPTS)
    assert desk.carry_out()["busy.png"].status == "failed"


def test_a_server_that_falls_silent_is_left_in_time(
    desk: ImportDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "DOWNLOAD_SECONDS", 0.2)
    desk.ask("/slow.png", "/hero.png")
    began = time.monotonic()

    outcomes = desk.carry_out()

    assert time.monotonic() - began < 8
    assert (outcomes["slow.png"].status, outcomes["hero.png"].status) == ("waiting", "new")


def test_bytes_are_told_as_they_arrive(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "_STEP_BYTES", len(HERO) // 4)
    monkeypatch.setattr(bringing, "_STEP_SECONDS", 0.0)
    told = threading.Event()

    def in_two_parts(line: Line) -> None:
        whole = answer(HERO, Content_Type="image/png")
        line.send(whole[: -len(HERO) // 2])
        assert told.wait(10)
        line.send(whole[-len(HERO) // 2 :])

    with site({"/hero.png": in_two_parts}) as server:
        studio = Studio(settings_for(server, tmp_path / "home"), database_url)
        desk = ImportDesk(studio, server)
        desk.told = _Watched(told)
        desk.ask("/hero.png")
        desk.carry_out()

    assert "upload_progress" in desk.events()
    [row] = studio.sql("SELECT data FROM pipeline_events WHERE kind = 'upload_progress' LIMIT 1")
    assert 0 < row["data"]["bytes_received"] < len(HERO)
    assert row["data"]["bytes_total"] == len(HERO)


class _Watched(list[ImportProgress | ImportOutcome]):
    """Says when the first progress of real bytes was told."""

    def __init__(self, told: threading.Event) -> None:
        super().__init__()
        self._told = told

    def append(self, event: ImportProgress | ImportOutcome) -> None:
        super().append(event)
        if isinstance(event, ImportProgress) and event.bytes_received:
            self._told.set()


def test_two_runs_never_import_one_twice(desk: ImportDesk, server: HostileServer) -> None:
    desk.ask("/hero.png", "/villain.jpg")
    other = ImportDesk(desk.studio, server)
    threads = [threading.Thread(target=one.carry_out) for one in (desk, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(server.heads) == 2
    ended = [one for one in (*desk.told, *other.told) if isinstance(one, ImportOutcome)]
    assert sorted(one.status for one in ended if one.status != "busy") == ["new", "new"]
    assert desk.events().count("upload_complete") == 2


def test_folders_of_dead_processes_are_removed_and_those_of_the_living_stay(
    desk: ImportDesk,
) -> None:
    left = desk.studio.settings.home_directory / "tmp" / "import-left"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    young = left.with_name("import-young")
    young.mkdir()

    desk.ask("/hero.png")
    desk.carry_out()

    assert not left.exists()
    assert young.exists()


def test_what_another_program_says_of_one_import_never_holds_up_the_rest(
    desk: ImportDesk, server: HostileServer
) -> None:
    desk.studio.sql(
        "INSERT INTO asset_imports (kind, source, source_url, client_id)"
        " VALUES ('image', 'url', %s, %s)",
        server.url("/hero.png"),
        secrets.token_hex(5000),
    )
    desk.ask("/villain.jpg")

    outcomes = desk.carry_out()

    assert {name: one.status for name, one in outcomes.items()} == {
        "villain.jpg": "new",
        "hero.png": "failed",
    }


@pytest.mark.parametrize("table", ["asset_imports", "user_assets"])
@pytest.mark.parametrize("tags", ["ARRAY[NULL]::text[]", "ARRAY[ARRAY['a', 'b']]"])
def test_tags_that_are_no_list_of_words_are_refused_where_they_are_written(
    desk: ImportDesk, table: str, tags: str
) -> None:
    desk.ask("/hero.png")
    desk.carry_out()

    with pytest.raises(psycopg.Error):
        desk.studio.sql(f"UPDATE {table} SET tags = {tags}")  # noqa: S608  # of the table above


def test_a_failure_of_this_machine_is_one_import_s_own_and_is_tried_again(
    desk: ImportDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    desk.ask("/hero.png")
    with monkeypatch.context() as patch:
        patch.setattr(SafeFetcher, "download", no_room)
        outcome = desk.carry_out()["hero.png"]

    assert outcome.status == "waiting"
    assert outcome.failure is not None
    assert outcome.failure.code == "import_failed"
    assert desk.carry_out()["hero.png"].status == "new"
