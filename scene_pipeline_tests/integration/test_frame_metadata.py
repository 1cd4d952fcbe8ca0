"""What a stored frame and its other forms say of themselves, and that one setting keeps it out."""

import asyncio
from typing import Any

import pytest

from scene_pipeline.database.frame_files import FrameOfFile
from scene_pipeline.database.generations import get_generation
from scene_pipeline.media.metadata import metadata_edition, read_metadata
from scene_pipeline.pipeline.keeping.retrieve import fetch_picture, inspect_picture, pictures_of
from scene_pipeline.pipeline.library.deriving import FORMS, derivative_key
from scene_pipeline.pipeline.library.reading_back import PictureFile, find_frame, read_address
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.heal import heal
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.integration.test_candidates import ask_for, with_settings
from scene_pipeline_tests.integration.test_heal import run_with_store_down

PROMPT = "A lighthouse 霧 at dusk"


def made(studio: Studio) -> list[dict[str, Any]]:
    return [
        dict(row)
        for row in studio.sql(
            "SELECT i.*, g.seed, g.endpoint, g.prompt FROM scene_images i"
            " JOIN generations g ON g.id = i.generation_id ORDER BY i.version"
        )
    ]


def stored_bytes(studio: Studio) -> list[bytes]:
    root = studio.settings.home_directory / "frames"
    return [path.read_bytes() for path in root.rglob("*.*") if path.is_file()]


def derive_all(studio: Studio, key: str) -> list[bytes]:
    async def work(services: Services) -> list[bytes]:
        keys = [await derivative_key(services, key, form) for form in FORMS]
        return [services.store.read(form_key) for form_key in keys]

    return studio.do(work)


def find(studio: Studio, address: str) -> tuple[PictureFile, FrameOfFile | None]:
    async def work(services: Services) -> tuple[PictureFile, FrameOfFile | None]:
        file = await read_address(studio.settings, address, database_url=studio.database_url)
        async with services.pool.connection() as conn:
            return file, await find_frame(conn, file)

    return studio.do(work)


def test_a_frame_and_its_other_forms_say_how_it_was_made(studio: Studio) -> None:
    studio.bring(film([PROMPT]))
    studio.run()
    [row] = made(studio)
    frame, *forms = [
        studio.do(lambda s: asyncio.to_thread(s.store.read, row["storage_path"])),
        *derive_all(studio, row["storage_path"]),
    ]
    facts = read_metadata(frame)
    assert facts == {
        "prompt": row["prompt"],
        "model": row["endpoint"],
        "provider": "offline",
        "seed": str(row["seed"]),
        "generation_id": str(row["generation_id"]),
        "project": "film",
        "project_id": str(row["project_id"]),
        "scene_id": "scene_1",
    }
    assert [read_metadata(form) for form in forms] == [facts, facts]


def test_not_one_byte_of_ours_is_in_any_file_where_that_is_switched_off(studio: Studio) -> None:
    plain = with_settings(studio, embed_metadata=False)
    plain.bring(film([PROMPT]))
    plain.run()
    [row] = made(plain)
    derive_all(plain, row["storage_path"])
    files = [
        data
        for data in stored_bytes(plain)
        if data[:4] in (b"\x89PNG", b"RIFF", b"\xff\xd8\xff\xe0")
    ]
    assert len(files) >= 2
    ours = ("Scene Pipeline", "scene-pipeline", "scene_pipeline", "lighthouse", "Exif", "<?xpacket")
    words = [*ours, str(row["generation_id"]), str(row["seed"]), row["endpoint"]]
    for data in files:
        assert not [word for word in words if word.encode() in data]
        assert not [word for word in words if word.encode("utf-16-be") in data]
        assert read_metadata(data) == {}


def test_forms_of_a_frame_that_was_marked_are_bare_where_that_is_switched_off_since(
    studio: Studio,
) -> None:
    studio.bring(film([PROMPT]))
    studio.run()
    [row] = made(studio)
    plain = with_settings(studio, embed_metadata=False)
    assert [read_metadata(form) for form in derive_all(plain, row["storage_path"])] == [{}, {}]


@pytest.mark.parametrize("edition", [1, 2, None])
def test_a_frame_comes_home_as_the_version_of_its_time_would_have_stored_it(
    fal_studio: Studio, edition: Any
) -> None:
    fal_studio.bring(film([PROMPT]))
    run_with_store_down(fal_studio)
    [row] = made(fal_studio)

    async def of_its_time(services: Services) -> str:
        async with services.pool.connection() as conn:
            generation = await get_generation(conn, row["generation_id"])
        [picture] = pictures_of(generation)

        async def say(_words: str) -> None:
            """Nobody watches."""

        fetched = await fetch_picture(services, generation, picture, say)
        image = await inspect_picture(services, generation, picture, fetched.data, embed=edition)
        return image.sha256

    sha256 = fal_studio.do(of_its_time)
    fal_studio.sql("UPDATE scene_images SET sha256 = %s", sha256)

    report = fal_studio.do(lambda services: heal(services, project_key=None, limit=9))

    assert report.count("healed") == 1
    [healed] = made(fal_studio)
    data = fal_studio.do(lambda s: asyncio.to_thread(s.store.read, healed["storage_path"]))
    facts = read_metadata(data)
    assert facts.get("project") == ("film" if edition == 2 else None)
    assert bool(facts) == (edition is not None)
    assert not facts or metadata_edition(data) == edition


def test_a_file_finds_its_version_by_its_generation_or_by_its_bytes(studio: Studio) -> None:
    studio.bring(film([PROMPT]))
    ask_for(studio, 2)
    first, second = made(studio)
    for row in (first, second):
        file, frame = find(studio, row["storage_url"])
        assert frame is not None
        assert (frame.id, frame.is_same_bytes) == (row["id"], True)
        assert (frame.project_key, frame.is_current) == ("film", row["version"] == 1)
        assert file.picture.sha256 == row["sha256"]

    async def form_url(services: Services) -> str:
        return services.store.url(
            await derivative_key(services, second["storage_path"], "thumbnail")
        )

    _, frame = find(studio, studio.do(form_url))
    assert frame is not None
    assert (frame.id, frame.is_same_bytes) == (second["id"], False)


def test_a_file_without_a_block_is_found_by_its_bytes(studio: Studio) -> None:
    plain = with_settings(studio, embed_metadata=False)
    plain.bring(film([PROMPT]))
    plain.run()
    [row] = made(plain)
    file, frame = find(plain, row["storage_url"])
    assert file.picture.facts == {}
    assert frame is not None
    assert (frame.id, frame.is_same_bytes) == (row["id"], True)
