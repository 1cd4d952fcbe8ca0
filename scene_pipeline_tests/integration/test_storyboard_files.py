"""The storyboard's three files: what they say of each scene, and that the same is stored once."""

import base64
import io
import json
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import jsonschema
import psycopg
import pytest
from PIL import Image

from scene_pipeline.database.session import in_database
from scene_pipeline.database.storyboards import finish_storyboard, projects_with_stale_storyboards
from scene_pipeline.errors import StorageError
from scene_pipeline.media.sheet_layout import plan_layout
from scene_pipeline.pipeline.reporting import storyboard
from scene_pipeline.pipeline.reporting.portfolio_report import read_portfolio_report
from scene_pipeline.pipeline.reporting.scene_pages import ShownScene, gather
from scene_pipeline.pipeline.reporting.storyboard import StoryboardFacts, make_storyboard
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, assert_invariants, film

HOSTILE = '</p><img src="http://127.0.0.1:9/x"><script>alert(1)</script>'


def draw(studio: Studio, key: str = "film") -> StoryboardFacts:
    return studio.do(lambda services: make_storyboard(key, services))


def stored(studio: Studio, path: str) -> bytes:
    return (studio.settings.home_directory / "frames" / path).read_bytes()


def start_frames(studio: Studio, made: StoryboardFacts) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(stored(studio, made.start_frames.storage_path))
    schema = files("scene_pipeline.pipeline.reporting") / "start-frames.schema.json"
    jsonschema.validate(document, json.loads(schema.read_text()))
    return document


def html(studio: Studio, made: StoryboardFacts) -> str:
    return stored(studio, made.page.storage_path).decode()


class Tags(HTMLParser):
    """What a browser would make elements of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def mixed(studio: Studio) -> Studio:
    """A film with a scene that is ready, one that was edited, one without a frame, a broken one."""
    document = json.loads(film({"a": "Dawn over the bay", "b": "A storm", "c": HOSTILE, "d": "x"}))
    document["scenes"]["d"] = {"scene_frame_prompt": 7}
    studio.bring(json.dumps(document).encode())
    studio.run("a", "b")
    studio.edit(["scenes", "b", "scene_frame_prompt"], "A calm")
    return studio


def test_a_storyboard_says_of_each_scene_whether_it_is_ready_and_why_not(mixed: Studio) -> None:
    made = draw(mixed)

    lines = {line.scene_id: line for line in made.scenes}
    assert [(line.scene_id, line.state, line.is_ready) for line in made.scenes] == [
        ("a", "current", True),
        ("b", "stale", False),
        ("c", "missing", False),
        ("d", "invalid", False),
    ]
    assert (lines["a"].why, lines["a"].next_action) == ("", "")
    assert lines["b"].why == "edited since: prompt"
    assert lines["b"].next_action == "scene-pipeline run film --stale --scene b"
    assert lines["c"].why == "no frame yet"
    assert lines["c"].next_action == "scene-pipeline run film"
    assert lines["d"].next_action.startswith("Correct the scene")
    assert (made.not_ready, made.scene_count) == (3, 4)
    assert dict(made.counts) == {"current": 1, "stale": 1, "missing": 1, "invalid": 1}


def test_start_frames_name_the_stored_bytes_of_what_goes_to_video(mixed: Studio) -> None:
    document = start_frames(mixed, draw(mixed))

    assert (document["format"], document["project"], document["title"]) == (
        "scene-pipeline/start-frames/1", "film", "A film",
    )  # fmt: skip
    ready, stale, missing, invalid = document["scenes"]
    [row] = mixed.sql(
        "SELECT i.*, g.seed, g.prompt FROM scene_images i JOIN generations g"
        " ON g.id = i.generation_id WHERE i.scene_id = 'a'"
    )
    assert ready["url"] == mixed.start_frame("a") == row["storage_url"]
    assert (ready["sha256"], ready["size_bytes"]) == (row["sha256"], row["file_size"])
    assert (ready["seed"], ready["prompt"], ready["version"]) == (row["seed"], row["prompt"], 1)
    assert (ready["is_ready"], ready["reason"], ready["next_action"]) == (True, None, None)
    # A frame of an older prompt is named, and is not ready.
    assert (stale["is_ready"], stale["reason"]) == (False, "edited since: prompt")
    assert stale["url"] == mixed.start_frame("b")
    assert [scene["url"] for scene in (missing, invalid)] == [None, None]
    assert missing["reason"] == "no frame yet"
    assert missing["next_action"] == "scene-pipeline run film"
    assert invalid["reason"]


def test_a_locked_frame_goes_to_video_whatever_the_document_says_by_now(mixed: Studio) -> None:
    mixed.sql("UPDATE scenes SET locked = true WHERE scene_id = 'b'")

    document = start_frames(mixed, draw(mixed))

    assert document["scenes"][1]["state"] == "locked"
    assert document["scenes"][1]["is_ready"] is True


def test_the_page_shows_every_version_with_what_changed(mixed: Studio) -> None:
    mixed.run("b", refresh_stale=True)

    page = html(mixed, draw(mixed))

    assert "Not ready for video: 2 of 4" in page
    assert "A <del>storm</del><ins>calm</ins>" in page
    assert "<strong>Version 2</strong>, the current one" in page
    assert "<strong>Version 1</strong>" in page
    for row in mixed.sql("SELECT storage_url, sha256 FROM scene_images"):
        assert f'href="{row["storage_url"]}"' in page
    for row in mixed.sql("SELECT seed, endpoint FROM generations WHERE state = 'published'"):
        assert f"{row['endpoint']}, seed {row['seed']}" in page.replace("</bdi>", "")
    assert page.count("data:image/jpeg;base64,") == 3


def test_a_page_asks_for_nothing_and_runs_nothing_whatever_stands_in_it(mixed: Studio) -> None:
    mixed.edit(["project", "title"], HOSTILE)
    mixed.run("c")

    page = html(mixed, draw(mixed))

    tags = Tags(page).found
    assert HOSTILE not in page
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "base", "form"}
    sources = [attributes["src"] or "" for _, attributes in tags if "src" in attributes]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    [policy] = [a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_same_frames_are_stored_once(mixed: Studio) -> None:
    first, second = draw(mixed), draw(mixed)

    assert first.page == second.page
    assert first.start_frames == second.start_frames
    assert first.digest == second.digest
    rows = mixed.sql("SELECT kind FROM report_files ORDER BY kind")
    assert [row["kind"] for row in rows] == ["start_frames", "storyboard_page"]
    assert_invariants(mixed)


def test_a_file_that_the_store_has_lost_is_stored_again(mixed: Studio) -> None:
    lost = draw(mixed)
    (mixed.settings.home_directory / "frames" / lost.page.storage_path).unlink()

    made = draw(mixed)

    assert "Dawn over the bay" in html(mixed, made)
    assert made.start_frames == lost.start_frames
    assert_invariants(mixed)


def test_a_store_that_fails_half_way_leaves_nothing_that_the_next_look_does_not_complete(
    mixed: Studio,
) -> None:
    draw(mixed)
    [sheet] = mixed.sql("SELECT storage_path FROM storyboards")
    [pages] = mixed.sql("SELECT count(*) AS n FROM report_files")
    sheets = (mixed.settings.home_directory / "frames" / str(sheet["storage_path"])).parent
    mixed.run("c")
    sheets.rename(sheets.with_name("away"))
    sheets.write_text("a file where the folder of the sheets should be")

    with pytest.raises(StorageError):
        draw(mixed)

    assert len(projects_with_stale_storyboards(mixed.database_url, 10)) == 1
    sheets.unlink()
    sheets.with_name("away").rename(sheets)
    made = draw(mixed)
    assert projects_with_stale_storyboards(mixed.database_url, 10) == []
    assert [scene.scene_id for scene in made.scenes if scene.is_ready] == ["a", "c"]
    files_now = mixed.sql("SELECT kind, count(*) AS n FROM report_files GROUP BY kind")
    assert {row["n"] for row in files_now} == {2}, "page and list of the first try are used"
    assert pages["n"] == len(files_now)
    assert_invariants(mixed)


def test_a_sheet_that_looks_the_same_is_one_object_for_every_state_of_the_costs(
    mixed: Studio,
) -> None:
    first = draw(mixed)
    mixed.sql("UPDATE generations SET cost_micros = 25000, cost_kind = 'metered'")

    second = draw(mixed)

    assert second.page != first.page
    assert (second.storage_path, second.png_sha256) == (first.storage_path, first.png_sha256)
    rows = mixed.sql("SELECT fingerprint, storage_path FROM storyboards")
    assert len({row["fingerprint"] for row in rows}) == 2
    assert {row["storage_path"] for row in rows} == {first.storage_path}
    assert mixed.sql("SELECT refcount FROM storage_objects WHERE key = %s", first.storage_path) == [
        {"refcount": 2}
    ]
    draw(mixed)
    assert len(mixed.sql("SELECT 1 FROM storyboards")) == 2
    (mixed.settings.home_directory / "frames" / first.storage_path).unlink()
    assert stored(mixed, draw(mixed).storage_path).startswith(b"\x89PNG")


def test_a_sheet_of_a_run_counts_once_that_has_told_of_it(mixed: Studio) -> None:
    def is_due() -> bool:
        return projects_with_stale_storyboards(mixed.database_url, 10) != []

    def told_by(made: StoryboardFacts, run_id: str) -> None:
        in_database(
            mixed.database_url,
            lambda conn: finish_storyboard(
                conn, made.project_id, run_id=run_id, fingerprint=made.fingerprint
            ),
        )

    # The runs "b" and "d" are killed before they tell, the latter of a film that nobody changed.
    for run_id, breaks_off in (("a", False), ("b", True), ("c", False), ("d", True), ("e", False)):
        if run_id == "b":
            mixed.run("c")
        made = mixed.do(partial(make_storyboard, "film", run_id=run_id))
        assert is_due()
        told_by(made, "another")
        assert is_due()
        if not breaks_off:
            told_by(made, run_id)
        assert is_due() is breaks_off

    rows = mixed.sql("SELECT run_id FROM storyboards ORDER BY id")
    assert [row["run_id"] for row in rows] == ["a", "e"]  # the same is recorded once
    assert_invariants(mixed)


def test_files_are_stored_again_where_their_addresses_are_others(mixed: Studio) -> None:
    before = draw(mixed)
    moved = Studio(
        mixed.settings.model_copy(update={"public_url": "https://frames.example.org"}),
        mixed.database_url,
        mixed.providers,
    )

    made = draw(moved)

    assert made.page.storage_url != before.page.storage_url
    for url in (made.url, made.page.storage_url, made.start_frames.storage_url):
        assert url.startswith("https://frames.example.org/")
    assert draw(moved).page == made.page


STANDINGS = {
    "current": "",
    "edited": "UPDATE scenes SET content_hash = 'other'",
    "edited and locked": "UPDATE scenes SET content_hash = 'other', locked = true",
    "edited and chosen": (
        "UPDATE scenes SET content_hash = 'other', chosen_content_hash = 'other'"
    ),
    "chosen for older words": "UPDATE scenes SET content_hash = 'x', chosen_content_hash = 'other'",
    "invalid": "UPDATE scenes SET problem_code = 'prompt_missing', content_hash = NULL",
    "locked and invalid": (
        "UPDATE scenes SET problem_code = 'prompt_missing', content_hash = NULL, locked = true"
    ),
    "without a frame": "UPDATE scene_images SET is_current = false",
}
READY = {"current", "edited and locked", "edited and chosen"}


@pytest.mark.parametrize("standing", STANDINGS)
def test_what_is_ready_is_the_same_for_every_reader(studio: Studio, standing: str) -> None:
    studio.bring(film(["Dawn"]))
    studio.run()
    if STANDINGS[standing]:
        studio.sql(STANDINGS[standing])

    async def read(services: Services) -> tuple[ShownScene, int]:
        [scene] = (await gather(services, "film")).scenes
        async with services.pool.connection() as conn:
            portfolio = await read_portfolio_report(conn)
        return scene, portfolio.totals.ready

    scene, ready = studio.do(read)

    [row] = studio.sql("SELECT is_ready FROM scene_status")
    assert row["is_ready"] is scene.is_ready is (standing in READY)
    assert ready == int(standing in READY)
    assert scene.is_ready or scene.reason


def test_a_version_that_came_while_a_film_was_read_waits_for_the_next_look(mixed: Studio) -> None:
    [scene, *_] = mixed.do(lambda services: gather(services, "film")).scenes
    assert scene.current is not None

    newer = replace(scene, current=replace(scene.current, version=2))

    assert (scene.is_ready, newer.is_ready) == (True, False)
    assert newer.reason == "a version came while this was read"


def test_a_version_is_compared_with_the_one_before_it_that_counted(mixed: Studio) -> None:
    mixed.run("b", refresh_stale=True)
    mixed.edit(["scenes", "b", "scene_frame_prompt"], "A gale")
    mixed.run("b", refresh_stale=True)
    mixed.sql("UPDATE scene_images SET rejection = 'blank' WHERE scene_id = 'b' AND version = 2")

    page = html(mixed, draw(mixed))

    assert "A <del>storm</del><ins>gale</ins>" in page
    assert "A <del>storm</del><ins>calm</ins>" in page
    assert "<del>calm</del>" not in page


def test_the_sheet_has_the_layout_of_its_scenes_and_shows_them(mixed: Studio) -> None:
    made = draw(mixed)

    with Image.open(io.BytesIO(stored(mixed, made.storage_path))) as opened:
        sheet = opened.convert("RGB")
    layout = plan_layout(4, 4, 1.0)
    assert sheet.size == (made.width, made.height) == (layout.width, layout.height)
    x, y = layout.cell_position(0)
    side = layout.style.cell_width
    colours = sheet.crop((x, y, x + side, y + side)).getcolors(1 << 24)
    assert len(colours or []) > 100


def test_a_broken_document_leaves_a_storyboard_that_says_so(mixed: Studio) -> None:
    mixed.sql("UPDATE projects SET master_json = '{\"scenes\": 7}'")

    made = draw(mixed)

    page = html(mixed, made)
    assert "The document cannot be used:" in page
    assert {line.scene_id: line.version for line in made.scenes}["a"] == 1


def test_what_a_film_has_cost_stands_on_the_page_by_model(mixed: Studio) -> None:
    mixed.sql(
        "UPDATE generations SET cost_micros = 25000, cost_kind = 'metered' WHERE scene_id = 'a'"
    )
    mixed.sql(
        "UPDATE generations SET cost_micros = 3000, cost_kind = 'estimated' WHERE scene_id = 'b'"
    )

    made = draw(mixed)

    page = html(mixed, made)
    assert float(made.cost_usd) == 0.028
    for words in ("offline/landscape", "metered", "estimated", ">0.025<", ">0.003<"):
        assert words in page


def test_pictures_are_made_smaller_where_there_are_too_many_of_them(
    mixed: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    [total] = mixed.sql("SELECT sum(length(thumbnail)) AS n FROM scene_images WHERE is_current")
    bound = int(total["n"]) * 3 // 4
    monkeypatch.setattr(storyboard, "PICTURE_BYTES", bound)
    monkeypatch.setattr(storyboard, "_SMALLEST_PICTURE", 100)

    page = html(mixed, draw(mixed))

    pictures = [base64.b64decode(one) for one in re.findall(r"base64,([^\"]+)", page)]
    assert len(pictures) == 2
    assert sum(map(len, pictures)) <= bound
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as opened:
            opened.load()


def test_a_film_of_more_scenes_than_a_sheet_takes_has_a_page_and_a_list_of_all(
    mixed: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, int]] = []
    monkeypatch.setattr(storyboard, "MAX_CELLS", 3)

    async def noting(services: Services) -> StoryboardFacts:
        sheet = services.workers.contact_sheet

        def note(title: str, subtitle: str, cells: Any) -> Any:
            drawn.append((subtitle, len(cells)))
            return sheet(title, subtitle, cells)

        monkeypatch.setattr(services.workers, "contact_sheet", note)
        return await make_storyboard("film", services)

    made = mixed.do(noting)

    assert drawn == [("film, 4 scenes, the first 3 of them here", 3)]
    assert len(start_frames(mixed, made)["scenes"]) == 4
    assert all(f">{scene_id}<" in html(mixed, made) for scene_id in "abcd")


def test_a_large_film_is_read_in_few_statements(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.bring(film([f"Scene {number}" for number in range(500)]))
    studio.run("scene_1")
    asked: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def note(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        asked.append(str(query))
        return await execute(self, query, params, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", note)

    made = draw(studio)

    assert made.scene_count == 500
    assert len(asked) < 60
