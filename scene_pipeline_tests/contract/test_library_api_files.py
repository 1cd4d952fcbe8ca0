"""Files over HTTP, as bodies and as uploads: whole ones come in, all others leave nothing."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Message

from scene_pipeline.api.library_files import MAX_FILES, FileRoutes
from scene_pipeline.api.library_imports import ImportDesk
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline_tests.open_library import (
    HERO,
    TOKEN,
    VILLAIN,
    OpenLibrary,
    asked,
    nothing_more,
    refused,
)
from scene_pipeline_tests.waiting import wait_until


def test_a_file_as_the_body_becomes_an_asset(library: OpenLibrary) -> None:
    sent = library.add(name="Our hero", tag=["cast", "Lead"], kind="image/png")
    assert sent.status_code == 202
    assert library.http.get(sent.json()["status_url"]).json()["state"] == "pending"
    library.desk.carry_out()
    told = library.http.get(sent.json()["status_url"]).json()
    asset = library.http.get(f"/assets/{told['asset_id']}").json()
    assert (asset["name"], asset["tags"], asset["source"]) == (
        "Our hero",
        ["cast", "lead"],
        "upload",
    )
    assert library.studio.sql("SELECT 1 FROM storage_objects WHERE state = 'intent'") == []
    assert not list((library.settings.home_directory / "tmp").glob("import-*"))


def test_two_files_at_once_are_two_assets(library: OpenLibrary) -> None:
    together = threading.Barrier(2)

    def send(data: bytes, kind: str) -> httpx.Response:
        together.wait(20)
        return library.add(data, kind)

    with ThreadPoolExecutor(2) as senders:
        sent = list(senders.map(send, (HERO, VILLAIN), ("image/png", "image/jpeg")))
    assert [answer.status_code for answer in sent] == [202, 202]
    library.desk.carry_out()
    listed = library.http.get("/assets").json()["assets"]
    assert {asset["mime_type"] for asset in listed} == {"image/png", "image/jpeg"}


@pytest.mark.parametrize(
    ("kind", "data", "status", "code"),
    [
        ("", HERO, 415, "kind_mismatch"),
        ("text/html", HERO, 415, "kind_mismatch"),
        ("image/svg+xml", HERO, 415, "kind_mismatch"),
        ("multipart/form-data; boundary=x", HERO, 415, "kind_mismatch"),
        ("image/png", b"", 400, "file_empty"),
        ("image/png", bytes(5 * 2**20 + 1), 413, "too_large"),
    ],
)
def test_files_that_are_not_taken_leave_nothing(
    shared_library: OpenLibrary, kind: str, data: bytes, status: int, code: str
) -> None:
    refused(shared_library.add(data, kind), status, code)
    assert shared_library.desk.rows() == []


def test_a_file_of_unannounced_length_is_counted(library: OpenLibrary) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(6):
            yield bytes(2**20)

    headers = {"Content-Type": "image/png"}
    refused(library.http.post("/assets", content=pieces(), headers=headers), 413, "too_large")
    [row] = library.desk.rows()
    assert (row["state"], row["error_code"]) == ("expired", "too_large")
    assert library.http.post("/assets", content=iter([HERO]), headers=headers).status_code == 202


def test_an_announced_length_beyond_the_limit_is_refused_before_a_byte_is_sent(
    shared_library: OpenLibrary,
) -> None:
    with begun(shared_library, content_length=5 * 2**20 + 1) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_cut_is_given_up(library: OpenLibrary) -> None:
    with begun(library, content_length=len(HERO)) as connection:
        connection.sendall(HERO[: len(HERO) // 2])
        wait_until(lambda: bool(library.desk.rows()))
    wait_until(lambda: library.desk.rows()[0]["state"] == "expired")
    assert library.desk.rows()[0]["error_code"] == "body_cut"
    folder = library.settings.home_directory / "tmp"
    wait_until(lambda: not list(folder.glob("import-*")))


def test_a_body_that_falls_silent_is_given_up(library: OpenLibrary) -> None:
    parts = LibraryServices(library.settings)
    routes = FileRoutes(parts, ImportDesk(parts), idle_seconds=0.1).routes()
    pieces = [HERO[:100]]

    async def receive() -> Message:
        if not pieces:
            return await nothing_more()
        return {"type": "http.request", "body": pieces.pop(), "more_body": True}

    scope = {"method": "POST", "path": "/assets", "headers": [(b"content-type", b"image/png")]}
    assert asked(parts, routes, scope, receive).startswith(b"408")
    [row] = library.desk.rows()
    assert (row["state"], row["error_code"]) == ("expired", "body_too_slow")


def test_a_file_whose_request_is_cancelled_is_given_up(library: OpenLibrary) -> None:
    parts = LibraryServices(library.settings)
    routes = FileRoutes(parts, ImportDesk(parts)).routes()
    pieces = [HERO[:100]]

    async def receive() -> Message:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(), "more_body": True}
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await nothing_more()

    scope = {"method": "POST", "path": "/assets", "headers": [(b"content-type", b"image/png")]}
    with pytest.raises(asyncio.CancelledError):
        asked(parts, routes, scope, receive)
    [row] = library.desk.rows()
    assert (row["state"], row["error_code"]) == ("expired", "upload_interrupted")


def test_a_file_whose_database_is_lost_is_given_up_once_it_is_back(library: OpenLibrary) -> None:
    library.studio.sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'admin_shutdown'; END $$"
    )
    library.studio.sql(
        "CREATE TRIGGER lost BEFORE UPDATE ON asset_imports FOR EACH ROW"
        " WHEN (NEW.state = 'pending') EXECUTE FUNCTION lose()"
    )
    assert library.add().status_code == 503
    [row] = library.desk.rows()
    assert (row["state"], row["error_code"]) == ("expired", "upload_interrupted")
    assert not list((library.settings.home_directory / "frames" / "uploads").rglob("*.png"))


def begun(library: OpenLibrary, *, content_length: int) -> socket.socket:
    """A connection on which the head of a file has been sent."""
    parts = urlsplit(library.base)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    connection.sendall(
        f"POST /api/assets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: image/png\r\nContent-Length: {content_length}\r\n\r\n".encode()
    )
    return connection


def test_files_at_once_are_bounded_and_a_place_is_given_back(library: OpenLibrary) -> None:
    with ExitStack() as open_ones:
        for _ in range(MAX_FILES):
            connection = open_ones.enter_context(begun(library, content_length=len(HERO)))
            connection.sendall(HERO[:10])
        wait_until(lambda: len(library.desk.rows()) == MAX_FILES)
        refused(library.add(), 503, "busy")
    wait_until(lambda: library.add().status_code == 202)


def test_an_upload_goes_straight_into_the_store(library: OpenLibrary) -> None:
    body = {"content_type": "image/png", "size_bytes": len(HERO), "name": "Our hero"}
    begun_one = library.http.post("/uploads", json=body)
    assert begun_one.status_code == 201
    told = begun_one.json()
    refused(library.http.post(told["complete_url"]), 409, "upload_missing")

    upload = told["upload"]
    sent = httpx.request(upload["method"], upload["url"], content=HERO, headers=upload["headers"])
    assert sent.status_code == 201
    with library.worked_off():
        done = library.http.post(told["complete_url"], params={"wait": 20})

    assert (done.status_code, done.json()["mime"]) == (200, "image/png")
    assert library.http.post(told["complete_url"]).json()["state"] == "done"


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({}, 400, "field_invalid"),
        ({"content_type": "text/html"}, 415, "kind_mismatch"),
        ({"content_type": "image/png", "kind": "video"}, 415, "kind_mismatch"),
        ({"content_type": "image/png", "size_bytes": 6 * 2**20}, 413, "too_large"),
        ({"content_type": "image/png", "size_bytes": 0}, 400, "file_empty"),
        ({"content_type": "image/png", "size_bytes": True}, 400, "field_invalid"),
    ],
)
def test_uploads_that_are_not_permitted(
    shared_library: OpenLibrary, said: dict[str, Any], status: int, code: str
) -> None:
    refused(shared_library.http.post("/uploads", json=said), status, code)
    assert shared_library.desk.rows() == []
