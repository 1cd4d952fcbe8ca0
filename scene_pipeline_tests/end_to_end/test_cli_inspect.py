"""`scene-pipeline inspect`, as a person or program calls it; and our files in a browser."""

import base64
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from scene_pipeline.media.formats import CONTENT_TYPES, IMAGE_FORMATS
from scene_pipeline.media.inspection import InspectionOrder, inspect_image
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.end_to_end.dagster_ui import CHROMIUM, FLAGS
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.media_files import SVG
from scene_pipeline_tests.standins.pictures import png_bomb, scene_file

PROMPT = "A pier 霧 \x1b[31mat night\u202e"
FACTS = {
    "prompt": PROMPT,
    "model": "fal-ai/flux/dev",
    "provider": "fal",
    "seed": "77",
    "generation_id": "272c5bec-b355-4e11-bd35-d510036b19d1",
    "project": "harbour",
    "scene_id": "scene_3",
}


def frame_file(image_format: Any = "PNG", seed: int = 71) -> bytes:
    order = InspectionOrder(metadata=FACTS, embed=True)
    return inspect_image(scene_file(image_format, seed), order).data


def nowhere(folder: Path) -> dict[str, str]:
    """A data directory that does not exist yet."""
    return {"SCENE_PIPELINE_HOME": str(folder / "no-home")}


def test_a_file_is_read_without_any_database_and_none_is_made(
    cli: CommandLine, tmp_path: Path
) -> None:
    file = cli.write("frame.webp", frame_file("WEBP"))

    told = cli("inspect", file, env=nowhere(tmp_path))
    document = cli("inspect", file, "--json", env=nowhere(tmp_path)).document

    assert told.code == 0, told.err
    for word in (
        "A pier 霧",
        "fal-ai/flux/dev",
        "77",
        FACTS["generation_id"],
        "harbour",
        "scene_3",
    ):
        assert word in told.out
    assert "There is no database here to ask." in told.out
    assert not {"\x1b", "\u202e"} & set(told.out), "a foreign text reached the terminal as it is"
    prompt = PROMPT.replace("\x1b", "\ufffd")  # no XML can hold it
    assert {name: document[name] for name in FACTS} == {**FACTS, "seed": 77, "prompt": prompt}
    assert (document["format"], document["width"], document["height"]) == ("WEBP", 320, 180)
    assert document["frame"] is None
    assert not (tmp_path / "no-home").exists()


def test_a_frame_is_named_with_its_place_from_its_file_and_from_its_address(
    cli: CommandLine,
) -> None:
    made = cli.run(cli.write("film.json", film(["A pier"], key="inspected")))
    [scene] = made.document["scenes"]

    by_address = cli("inspect", scene["url"], "--json").document
    key = scene["url"].partition("/frames/")[2]
    by_file = cli("inspect", cli.home / "frames" / key, "--json").document
    told = cli("inspect", scene["url"])

    assert {**by_file, "source": scene["url"]} == by_address
    assert (by_file["project"], by_file["scene_id"]) == ("inspected", "scene_1")
    assert "A pier" in by_file["prompt"]
    frame = by_file["frame"]
    assert (frame["project"], frame["scene_id"], frame["version"]) == ("inspected", "scene_1", 1)
    assert (frame["is_current"], frame["is_same_bytes"], frame["cost_usd"]) == (True, True, 0.0)
    assert (frame["url"], frame["seed"]) == (scene["url"], by_file["seed"])
    assert "inspected/scene_1 v1, current, $0.00 (free), the very bytes" in told.out


@pytest.mark.parametrize(
    ("data", "exit_code", "code"),
    [
        (scene_file("PNG", 72), 2, "no_frame_metadata"),
        (SVG, 1, "not_allowed"),
        (png_bomb(), 1, "bomb"),
        (scene_file("PNG") + bytes(2**20), 1, "too_large"),
    ],
)
def test_what_says_nothing_or_is_no_picture_is_told_in_one_sentence(
    cli: CommandLine, tmp_path: Path, data: bytes, exit_code: int, code: str
) -> None:
    file = cli.write("file", data)
    env = {**nowhere(tmp_path), "ASSET_MAX_IMAGE_MB": "1"}
    refused = cli("inspect", file, "--json", env=env)
    assert (refused.code, refused.document["error"]["code"]) == (exit_code, code)
    assert len(refused.err.splitlines()) == 1
    assert refused.document["error"]["next_action"]


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(cli: CommandLine, tmp_path: Path) -> None:
    file = cli.write("frame-\udcff.png", frame_file())
    for arguments in ([], ["--json"]):
        told = cli("inspect", file, *arguments, env=nowhere(tmp_path))
        assert told.code == 0, told.err
        assert "frame-?.png" in told.out


def test_a_path_that_is_no_file_and_a_host_that_is_not_allowed_are_refused(
    cli: CommandLine, tmp_path: Path
) -> None:
    for source, code in (
        ("nowhere.png", "file_missing"),
        (str(cli.directory), "is_a_folder"),
        ("https://user:secret@example.com/a.png?signature=secret", "invalid_url"),
        ("https://example.com/frames/projects/a.png", "blocked_host"),
    ):
        refused = cli("inspect", source, "--json", env=nowhere(tmp_path))
        assert refused.code in {1, 2}
        assert refused.document["error"]["code"] == code
        assert "secret" not in refused.out + refused.err


def test_a_file_is_read_although_its_database_is_down(cli: CommandLine) -> None:
    file = cli.write("frame.png", frame_file())
    env = {"DATABASE_URL": "postgresql://somebody:secret@127.0.0.1:9/films"}
    told = cli("inspect", file, env=env)
    assert told.code == 0, told.err
    assert "The database was not asked" in told.out
    assert "secret" not in told.out


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"
)
def test_a_browser_shows_frames_with_all_that_they_say_of_themselves() -> None:
    pictures = "".join(
        f'<img src="data:{CONTENT_TYPES[name]};base64,'
        f'{base64.b64encode(frame_file(name)).decode()}">'
        for name in IMAGE_FORMATS
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.set_content(pictures)
        shown = page.evaluate(
            "() => Promise.all([...document.images].map(async i =>"
            " (await i.decode(), [i.naturalWidth, i.naturalHeight])))"
        )
        browser.close()
    assert shown == [[320, 180]] * 3
