"""Imports over HTTP: asked for, waited for, and told of as they happen."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from scene_pipeline.api.library_events import MAX_STREAMS, EventRoutes
from scene_pipeline.api.library_imports import MAX_WAITING
from scene_pipeline.api.library_services import LibraryServices
from scene_pipeline_tests.films import film
from scene_pipeline_tests.import_desk import settings_for
from scene_pipeline_tests.open_library import (
    HERO,
    OpenLibrary,
    SlowFile,
    asked,
    nothing_more,
    opening,
    refused,
)
from scene_pipeline_tests.standins.hostile_http import HostileServer
from scene_pipeline_tests.standins.media_server import serving
from scene_pipeline_tests.waiting import wait_until


def test_an_address_is_imported_by_a_run_and_asked_after(
    library: OpenLibrary, library_site: HostileServer
) -> None:
    library.studio.bring(film(["Dawn"]))
    body = {
        "url": library_site.url("/hero.png"),
        "kind": "element_image",
        "name": "Our hero",
        "tags": ["Cast"],
        "project": "film",
        "client_id": "acme",
        "campaign_id": "autumn",
        "metadata": {"take": 3},
    }
    asked = library.http.post("/assets/from-url", json=body)
    assert asked.status_code == 202
    told = asked.json()
    assert (told["state"], bool(told["batch_id"])) == ("pending", True)
    before = library.http.get(told["status_url"]).json()
    assert (before["state"], before["asset_id"]) == ("pending", None)

    library.desk.carry_out()

    after = library.http.get(told["status_url"]).json()
    assert (after["state"], after["bytes_received"]) == ("done", len(HERO))
    asset = library.http.get(f"/assets/{after['asset_id']}").json()
    assert {name: asset[name] for name in ("kind", "name", "tags", "project", "client_id")} == {
        "kind": "element_image",
        "name": "Our hero",
        "tags": ["cast"],
        "project": "film",
        "client_id": "acme",
    }
    assert (asset["metadata"]["take"], asset["uses"]) == (3, [])


def test_waiting_gives_the_asset_itself(library: OpenLibrary, library_site: HostileServer) -> None:
    body = {"url": library_site.url("/hero.png"), "kind": "image"}
    with library.worked_off():
        answer = library.http.post("/assets/from-url?wait=20", json=body)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["mime"], told["is_duplicate"]) == ("image/png", False)
    assert (told["width"], told["height"]) == (320, 180)
    [stored] = library.studio.sql("SELECT size_bytes FROM user_assets")
    assert told["size"] == stored["size_bytes"]
    assert httpx.get(told["url"]).status_code == 200


def test_waiting_for_what_fails_gives_the_reason(
    library: OpenLibrary, library_site: HostileServer
) -> None:
    body = {"url": library_site.url("/notes.png"), "kind": "image"}
    with library.worked_off():
        answer = library.http.post("/assets/from-url?wait=20", json=body)
    assert answer.status_code in {415, 422}
    assert set(answer.json()) == {"code", "message", "next_action"}


def test_waiting_ends_where_nobody_works(library: OpenLibrary, library_site: HostileServer) -> None:
    body = {"url": library_site.url("/hero.png"), "kind": "image"}
    answer = library.http.post("/assets/from-url?wait=1", json=body)
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")


def test_requests_that_wait_are_bounded(library: OpenLibrary) -> None:
    told = library.add().json()
    path = f"/uploads/{told['import_id']}/complete"
    with ThreadPoolExecutor(MAX_WAITING + 1) as callers:
        waiting = [
            callers.submit(library.http.post, path, params={"wait": 2})
            for _ in range(MAX_WAITING + 1)
        ]
        answers = [one.result(30) for one in waiting]
    assert sorted(answer.status_code for answer in answers) == [202] * MAX_WAITING + [503]


def read_events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that was read to its end."""
    events = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if "event" in lines:
            events.append({**lines, "data": json.loads(lines["data"])})
    return events


def test_a_slow_download_is_told_as_it_arrives(
    library: OpenLibrary, library_site: HostileServer, slow_file: SlowFile
) -> None:
    body = {"url": library_site.url("/slow.png"), "kind": "image"}
    told = library.http.post("/assets/from-url", json=body).json()
    events: list[tuple[str, dict[str, Any]]] = []
    with (
        ThreadPoolExecutor(1) as worker,
        library.http.stream("GET", told["events_url"]) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        running = worker.submit(library.desk.carry_out)
        kind = ""
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, json.loads(value)))
            if kind == "upload_progress":
                slow_file.go_on.set()  # only now is the rest sent
        running.result(30)
    assert events[0][0] == "upload_started"
    first = next(data for kind, data in events if kind == "upload_progress")
    assert 2**20 <= first["bytes_received"] < slow_file.size_bytes == first["bytes_total"]
    assert events[-1][0] == "upload_failed"  # it was no picture
    assert {data["import_id"] for _, data in events} == {told["import_id"]}


def test_a_reader_that_comes_back_goes_on_where_it_was(library: OpenLibrary) -> None:
    told = library.add().json()
    library.desk.carry_out()
    events = read_events(library.http.get(told["events_url"]))
    assert [event["event"] for event in events] == ["upload_started", "upload_complete"]
    assert events[-1]["data"]["asset_id"].startswith("ast_")

    def from_event(event_id: str) -> httpx.Response:
        return library.http.get(told["events_url"], headers={"Last-Event-ID": event_id})

    assert read_events(from_event(events[0]["id"])) == events[1:]
    assert from_event(events[-1]["id"]).status_code == 204
    refused(from_event("x"), 400, "field_invalid")


def test_a_server_that_stops_ends_its_streams_in_order(
    library_site: HostileServer, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(library_site, tmp_path, **opening(database_url))
    with ExitStack() as running:
        running.enter_context(serving(settings))
        library = OpenLibrary(settings, database_url, library_site)
        with library.http, library.http.stream("GET", library.add().json()["events_url"]) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            running.close()
            assert list(lines) == [""]


def test_a_silent_stream_shows_that_it_lives(library: OpenLibrary) -> None:
    import_id = library.add().json()["import_id"]
    parts = LibraryServices(library.settings)
    routes = EventRoutes(parts, heartbeat_seconds=0.1).routes()
    scope = {"method": "GET", "path": f"/imports/{import_id}/events"}
    sent = asked(parts, routes, scope, nothing_more, until=b": still here\n\n")
    assert sent.startswith(b"200retry: ")
    assert b"event:" not in sent


def test_streams_are_bounded_and_a_place_is_given_back(library: OpenLibrary) -> None:
    told = library.add().json()
    with ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            streams.enter_context(library.http.stream("GET", told["events_url"]))
        refused(library.http.get(told["events_url"]), 503, "busy")
    library.desk.carry_out()
    wait_until(lambda: library.http.get(told["events_url"]).status_code == 200)
