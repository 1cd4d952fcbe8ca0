"""Addresses that the library gave out: none of them dies while a document holds it."""

from pathlib import Path

import pytest

from scene_pipeline.database.derivatives import DerivativeForm
from scene_pipeline.database.projects import get_project
from scene_pipeline.errors import UsageError
from scene_pipeline.pipeline.library.removing import remove_asset
from scene_pipeline.pipeline.projects.pictures import look_up
from scene_pipeline.pipeline.services import Services
from scene_pipeline.scenes.references import KnownPicture
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.libraries import Library


@pytest.fixture
def library(studio: Studio, tmp_path: Path) -> Library:
    """An empty library."""
    return Library(studio, tmp_path / "files")


def key_of(library: Library, asset_id: str) -> str:
    [row] = library.studio.sql("SELECT storage_key FROM user_assets WHERE asset_id = %s", asset_id)
    key: str = row["storage_key"]
    return key


@pytest.mark.parametrize("form", ["thumbnail", "webp"])
def test_an_asset_stays_while_a_document_holds_the_address_of_another_form(
    library: Library, form: DerivativeForm
) -> None:
    added = library.add(library.file())
    library.studio.bring(
        film(["Dawn"], poster=library.form_url(key_of(library, added.asset_id), form))
    )

    with pytest.raises(UsageError) as refused:
        library.connected(remove_asset, added.asset_id)
    with pytest.raises(UsageError) as not_replaced:
        library.add(library.file("other.png", seed=2), replace=added.asset_id)

    assert refused.value.error_code == "asset_in_use"
    assert not_replaced.value.error_code == "asset_named_by_address"


@pytest.mark.parametrize("holder", ["film", "sequel"])
def test_an_old_version_stays_while_a_document_holds_the_address_of_another_form(
    library: Library, holder: str
) -> None:
    studio = library.studio
    studio.bring(film(["Dawn"]))
    studio.run("scene_1")
    [first] = studio.sql("SELECT storage_path FROM scene_images")
    url = library.form_url(first["storage_path"])
    for number in range(2):
        studio.run("scene_1", mode="regenerate", token=str(number))
    if holder == "film":
        studio.edit(("poster",), url)
    else:
        studio.bring(film(["Dusk"], key="sequel", poster=url), file_name="sequel.json", origin="2")
    studio.sql("UPDATE projects SET keep_versions = 1, keep_days = 0")

    for _ in range(3):  # the version, its object, what was derived of it
        library.sweep()

    kept = studio.sql("SELECT version FROM scene_images WHERE storage_status = 'stored'")
    assert {row["version"] for row in kept} == {1, 3}
    assert url.rpartition("/frames/")[2] in library.stored_files()


@pytest.mark.parametrize("settled_on", ["ours", "theirs"])
def test_a_reference_by_address_lasts_as_long_as_any_asset_keeps_its_bytes(
    library: Library, settled_on: str
) -> None:
    ours = library.add(library.file())
    theirs = library.add(library.file(), client_id="acme")
    library.studio.bring(film(["Dawn"], references=[ours.url]))
    library.studio.sql(
        "UPDATE reference_pictures SET asset_id = %s",
        ours.asset_id if settled_on == "ours" else theirs.asset_id,
    )

    library.connected(remove_asset, ours.asset_id)

    assert ours.url == theirs.url
    assert looked_up(library, ours.url).problem is None


def looked_up(library: Library, name: str) -> KnownPicture:
    async def work(services: Services) -> KnownPicture:
        async with services.pool.connection() as conn:
            project = await get_project(conn, "film")
            return (await look_up(conn, project.id, [name])).found[name].picture

    return library.studio.do(work)


def test_a_file_that_is_added_again_brings_back_bytes_that_the_store_has_lost(
    library: Library,
) -> None:
    added = library.add(library.file())
    frames = library.studio.settings.home_directory / "frames"

    for again in ({}, {"client_id": "acme"}, {"replace": added.asset_id}):
        for key in library.stored_files():
            (frames / key).unlink()
        library.add(library.file(), **again)
        library.assert_sound()
