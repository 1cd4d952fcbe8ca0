"""What is in the library over HTTP: found, changed, removed, and its addresses."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from scene_pipeline_tests.films import film
from scene_pipeline_tests.open_library import (
    NOBODY,
    PDF,
    VILLAIN,
    OpenLibrary,
    opened,
    opening,
    refused,
    standing,
)
from scene_pipeline_tests.standins.hostile_http import HostileServer
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS


def test_the_library_is_asked_over_its_pages(library: OpenLibrary) -> None:
    library.studio.bring(film(["A pier at dawn"]))
    library.studio.run()
    library.asset(name="Hero", tag="cast", client_id="acme")
    library.asset(VILLAIN, "image/jpeg", name="Villain")

    def names(**asked: Any) -> list[str]:
        answer = library.http.get("/assets", params=asked)
        assert answer.status_code == 200, answer.text
        return [asset["name"] for asset in answer.json()["assets"]]

    assert names() == ["Villain", "Hero", "scene_1 v1"]
    assert names(frames="false") == ["Villain", "Hero"]
    assert names(kind="frame", project="film") == ["scene_1 v1"]
    assert names(tag=["cast"]) == names(client_id="acme") == names(text="her") == ["Hero"]
    assert names(after="2999-01-01T00:00:00+00:00") == []
    first = library.http.get("/assets", params={"limit": 2}).json()
    rest = library.http.get("/assets", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [a["name"] for a in rest["assets"]] == ["scene_1 v1"]
    assert rest["next_cursor"] is None


def test_name_and_tags_are_changed_together_or_not_at_all(library: OpenLibrary) -> None:
    path = f"/assets/{library.asset(name='Hero', tag='cast')}"
    changed = library.http.patch(
        path, json={"name": "Heroine", "tags": ["lead"], "add_tags": ["B"]}
    )
    assert (changed.json()["name"], changed.json()["tags"]) == ("Heroine", ["lead", "b"])
    assert library.http.patch(path, json={"remove_tags": ["lead"]}).json()["tags"] == ["b"]
    refused(library.http.patch(path, json={"name": "No", "tags": ["x" * 65]}), 400, "tag_invalid")
    refused(
        library.http.patch(path, json={"name": "No", "tags": [f"t{n}" for n in range(101)]}),
        400,
        "field_invalid",
    )
    refused(library.http.patch(path, json={}), 400, "field_invalid")
    now = library.http.get(path).json()
    assert (now["name"], now["tags"]) == ("Heroine", ["b"])


def test_what_is_needed_is_removed_by_force_only(library: OpenLibrary) -> None:
    asset_id = library.asset()
    library.studio.bring(film(["Dawn"], characters={"hero": {"references": [f"asset:{asset_id}"]}}))
    path = f"/assets/{asset_id}"
    [use] = library.http.get(path).json()["uses"]
    assert use["project"] == "film"
    refused(library.http.delete(path), 409, "asset_in_use")
    removed = library.http.delete(path, params={"force": "true"}).json()
    assert (removed["asset_id"], removed["grace_hours"]) == (asset_id, 24.0)
    refused(library.http.get(path), 404, "asset_unknown")


def test_frames_are_shown_but_not_changed(library: OpenLibrary) -> None:
    library.studio.bring(film(["Dawn"]))
    library.studio.run()
    [frame] = library.http.get("/assets").json()["assets"]
    path = f"/assets/{frame['asset_id']}"
    assert library.http.get(path).json()["frame"]["scene_id"] == "scene_1"
    assert library.http.get(f"{path}/data").status_code == 200
    refused(library.http.delete(path), 409, "asset_is_frame")
    refused(library.http.patch(path, json={"name": "x"}), 409, "asset_is_frame")


@pytest.mark.parametrize("storage_url", [None, "database://"])
def test_bytes_are_served_from_a_store_of_our_own(
    library_site: HostileServer, database_url: str, tmp_path: Path, storage_url: str | None
) -> None:
    with opened(library_site, database_url, tmp_path, storage_url=storage_url) as library:
        path = f"/assets/{library.asset()}/data"
        whole = library.http.get(path)
        assert (whole.status_code, whole.headers["content-type"]) == (200, "image/png")
        assert whole.headers["cache-control"] == "private, no-cache"
        part = library.http.get(path, headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, whole.content[:4])
        known = library.http.get(path, headers={"If-None-Match": whole.headers["etag"]})
        assert known.status_code == 304
        assert library.http.head(path).headers["content-length"] == str(len(whole.content))


def test_a_bucket_is_led_to_by_a_fresh_signature(
    library_site: HostileServer, seaweedfs: SeaweedFS, database_url: str, tmp_path: Path
) -> None:
    settings = seaweedfs.settings(tmp_path, **opening(database_url))
    with standing(settings, library_site) as library:
        asset_id = library.asset()
        answer = library.http.get(f"/assets/{asset_id}/data")
        assert answer.status_code == 302
        assert "X-Amz-Signature" in answer.headers["location"]
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_addresses_of_every_sort(library: OpenLibrary) -> None:
    asset_id = library.asset()

    def url(**asked: Any) -> dict[str, Any]:
        answer = library.http.get(f"/assets/{asset_id}/url", params=asked)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    assert "?" not in url()["url"]
    signed = url(mode="signed", expires_seconds=60)
    assert (signed["expires_in_seconds"], "signature=" in signed["url"]) == (60, True)
    for address in (url()["url"], signed["url"], url(form="thumbnail")["url"]):
        assert httpx.get(address, follow_redirects=True).status_code == 200
    assert httpx.get(url(form="webp", mode="signed")["url"]).headers["content-type"] == "image/webp"
    refused(library.http.get(f"/assets/{asset_id}/url?mode=cdn"), 409, "url_mode_unsupported")
    document = library.asset(PDF, "application/pdf")
    refused(library.http.get(f"/assets/{document}/url?form=webp"), 422, "no_derivative")


def test_many_addresses_at_once(library: OpenLibrary) -> None:
    library.studio.bring(film(["Dawn"]))
    library.studio.run()
    [frame] = library.http.get("/assets").json()["assets"]
    ids = [library.asset(), frame["asset_id"], NOBODY, "nonsense"]
    told = library.http.post("/urls", json={"asset_ids": ids}).json()
    assert list(told["urls"]) == ids[:2]
    assert (told["missing"], told["expires_in_seconds"]) == (ids[2:], 3600)
    assert {httpx.get(url).status_code for url in told["urls"].values()} == {200}
    permanent = library.http.post("/urls", json={"asset_ids": ids, "mode": "permanent"}).json()
    assert permanent["urls"][ids[1]] == frame["url"]
    too_many = {"asset_ids": [f"a{number}" for number in range(501)]}
    refused(library.http.post("/urls", json=too_many), 400, "field_invalid")
