"""What happens to assets is in the feed, no more and no less than what was committed."""

from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.errors import NotFoundError, UsageError
from scene_pipeline.pipeline.library.editing import edit_asset
from scene_pipeline.pipeline.library.removing import remove_asset
from scene_pipeline.pipeline.library.renaming import rename_asset
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.libraries import Library


@pytest.fixture
def library(studio: Studio, tmp_path: Path) -> Library:
    """An empty library."""
    return Library(studio, tmp_path / "files")


def feed(library: Library) -> list[dict[str, Any]]:
    """Kind, project and data of what was told of assets, oldest first."""
    return [
        dict(row)
        for row in library.studio.sql(
            "SELECT kind, project_id, data FROM pipeline_events"
            " WHERE starts_with(kind, 'asset_') ORDER BY id"
        )
    ]


def told(library: Library) -> list[str]:
    return [row["kind"] for row in feed(library)]


def test_every_change_is_told_once_and_what_changes_nothing_is_not(library: Library) -> None:
    hero = library.add(library.file("hero.png"), tags=("cast",))
    library.add(library.file("again.png"), tags=("cast",))
    library.add(library.file("again.png"), tags=("night",))
    library.connected(edit_asset, hero.asset_id, add=["sea"], remove=["cast", "unknown"])
    library.connected(edit_asset, hero.asset_id, add=["Sea"])
    library.connected(rename_asset, hero.asset_id, " Our\nhero ")
    library.connected(rename_asset, hero.asset_id, "Our hero")
    other = library.add(library.file("other.png", seed=2), replace=hero.asset_id)
    library.add(library.file("other.png", seed=2), replace=hero.asset_id)
    library.connected(remove_asset, hero.asset_id)

    events = feed(library)

    assert [event["kind"] for event in events] == [
        "asset_added",
        "asset_tagged",
        "asset_tagged",
        "asset_renamed",
        "asset_replaced",
        "asset_removed",
    ]
    data = [event["data"] for event in events]
    assert {one["asset_id"] for one in data} == {hero.asset_id}
    assert (data[0]["name"], data[0]["sha256"], data[0]["content_version"]) == (
        "hero.png",
        hero.sha256,
        1,
    )
    assert (data[1]["added"], data[1]["removed"]) == (["night"], [])
    assert (data[2]["added"], data[2]["removed"]) == (["sea"], ["cast"])
    assert (data[3]["name"], data[3]["former_name"]) == ("Our hero", "hero.png")
    assert (data[4]["sha256"], data[4]["former_sha256"]) == (other.sha256, hero.sha256)
    assert data[4]["content_version"] == 2
    assert (data[5]["was_forced"], data[5]["size_bytes"]) == (False, other.size_bytes)
    assert {event["project_id"] for event in events} == {None}


def test_what_belongs_to_a_project_is_told_in_its_feed(library: Library) -> None:
    library.studio.bring(film(["A pier"]))
    [project] = library.studio.sql("SELECT id FROM projects")

    library.add(library.file(), project_id=project["id"])

    assert [event["project_id"] for event in feed(library)] == [project["id"]]


def test_what_is_refused_is_not_told(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    other = library.add(library.file("other.png", seed=2))
    library.studio.bring(film(["A pier"], poster=f"asset:{hero.asset_id}"))

    with pytest.raises(UsageError, match="is needed by"):
        library.connected(remove_asset, hero.asset_id)
    with pytest.raises(UsageError, match="has these bytes already"):
        library.add(library.file("other.png", seed=2), replace=hero.asset_id, tags=("x",))

    assert told(library) == ["asset_added", "asset_added"]
    library.connected(remove_asset, hero.asset_id, force=True)
    assert feed(library)[-1]["data"]["was_forced"]
    assert other.is_new


@pytest.mark.parametrize("name", ["", "  \t", "x" * 301])
def test_a_name_is_checked_as_when_adding(name: str, library: Library) -> None:
    hero = library.add(library.file("hero.png"))

    with pytest.raises(UsageError) as caught:
        library.connected(rename_asset, hero.asset_id, name)

    assert caught.value.error_code == "name_invalid"
    assert library.found() == ["hero.png"]


def test_another_name_is_found_and_nothing_else_changes(library: Library) -> None:
    hero = library.add(library.file("hero.png"))

    renamed = library.connected(rename_asset, hero.asset_id, "Captain Noor")

    assert (renamed.name, renamed.url, renamed.content_version) == ("Captain Noor", hero.url, 1)
    assert library.found(text="noor") == ["Captain Noor"]
    assert library.found(text="hero") == []
    again = library.add(library.file("hero.png"))
    assert (again.asset_id, again.is_new) == (hero.asset_id, False)
    assert library.found() == ["Captain Noor"]


def test_frames_tombstones_and_strangers_get_no_name(library: Library) -> None:
    hero = library.add(library.file("hero.png"))
    library.connected(remove_asset, hero.asset_id)

    for asset_id in (hero.asset_id, "ast_nobody"):
        with pytest.raises(NotFoundError):
            library.connected(rename_asset, asset_id, "x")
    with pytest.raises(UsageError) as caught:
        library.connected(rename_asset, f"frm_{'a' * 32}", "x")
    assert caught.value.error_code == "asset_is_frame"
