"""The truth sweep: which URLs are asked, within a budget, and what is made of the answers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scene_pipeline.pipeline.checking.addresses import MAX_UNREACHABLE
from scene_pipeline.pipeline.checking.frames import check_scenes
from scene_pipeline.pipeline.checks import CheckVerdict
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep import truth_sweep
from scene_pipeline.pipeline.upkeep.truth_sweep import SweepReport, sweep_truth
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.media_server import free_port, serving

PROMPTS = ["A lighthouse at dawn", "A storm at sea", "A kitchen at night", "A forest"]


@pytest.fixture
def studio(database_url: str, tmp_path: Path) -> Studio:
    """Four frames with addresses on a port of their own, that no run has asked."""
    settings = load_settings(
        home=tmp_path / "home",
        public_url=f"http://127.0.0.1:{free_port()}",
        check_urls=False,
    )
    studio = Studio(settings, database_url)
    studio.bring(film(PROMPTS))
    studio.run()
    return studio


News = list[tuple[SceneRef, CheckVerdict]]


def sweep(studio: Studio, limit: int = 100) -> SweepReport:
    report, _ = told(studio, limit)
    return report


def told(
    studio: Studio, limit: int = 100, *, killed_at: int | None = None
) -> tuple[SweepReport, News]:
    """What a sweep found and told; one that is killed does not tell that page, from 1."""
    report = SweepReport()

    async def work(services: Services) -> News:
        news: News = []
        async with aclosing(sweep_truth(services, limit, report, run_id="sweep")) as pages:
            number = 0
            async for page in pages:
                number += 1
                if number == killed_at:
                    break
                news += page
        return news

    return report, studio.do(work)


def frame_file(studio: Studio, scene_id: str) -> Path:
    [row] = studio.sql(
        "SELECT storage_path FROM scene_images WHERE scene_id = %s AND is_current", scene_id
    )
    return studio.settings.home_directory / "frames" / str(row["storage_path"])


def asked(studio: Studio) -> dict[str, bool]:
    rows = studio.sql(
        "SELECT scene_id, passed FROM frame_checks WHERE name = 'url_serves_the_stored_bytes'"
        " ORDER BY scene_id"
    )
    return {row["scene_id"]: row["passed"] for row in rows}


def tried(studio: Studio) -> list[str]:
    """Scenes whose turn passed without a verdict."""
    rows = studio.sql("SELECT scene_id FROM unasked_addresses ORDER BY scene_id")
    return [row["scene_id"] for row in rows]


def test_what_was_not_asked_for_longest_comes_first_within_the_budget(studio: Studio) -> None:
    with serving(studio.settings):
        reports = [sweep(studio, 3), sweep(studio, 1)]
        assert asked(studio).keys() == {"scene_1", "scene_2", "scene_3", "scene_4"}
        studio.sql(
            "UPDATE frame_checks SET checked_at = now() - interval '1 day'"
            " WHERE scene_id = 'scene_3' AND name = 'url_serves_the_stored_bytes'"
        )
        sweep(studio, 1)

    assert [report.passed for report in reports] == [3, 1]
    [oldest] = studio.sql(
        "SELECT count(*) AS n FROM frame_checks WHERE checked_at < now() - interval '1 hour'"
    )
    assert oldest["n"] == 0


def test_urls_that_do_not_serve_their_bytes_are_named_and_asked_again_first(
    studio: Studio,
) -> None:
    frame = frame_file(studio, "scene_4")
    original = frame.read_bytes()
    frame.write_bytes(original + b"more")
    with serving(studio.settings):
        first, first_news = told(studio)
        frame.write_bytes(original)
        second, second_news = told(studio, 2)

    [(scene, verdict)] = first.wrong
    assert scene.scene_id == "scene_4"
    assert verdict.severity == "error"
    assert (first.checked, first.passed) == (4, 3)
    assert len(first_news) == 4
    assert (second.passed, second.wrong) == (2, [])
    assert [(ref.scene_id, found.passed) for ref, found in second_news] == [("scene_4", True)]
    assert all(asked(studio).values())


def test_what_a_killed_sweep_did_not_tell_is_told_by_the_next(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth_sweep, "PAGE", 1)
    frames = [frame_file(studio, scene_id) for scene_id in ("scene_1", "scene_2")]
    originals = [frame.read_bytes() for frame in frames]
    with serving(studio.settings):
        for frame in frames:
            frame.write_bytes(b"other bytes")
        told(studio)
        for frame, original in zip(frames, originals, strict=True):
            frame.write_bytes(original)
        _, before = told(studio, killed_at=2)
        assert list(asked(studio).values()) == [True, False, True, True]
        _, after = told(studio)

    assert [(ref.scene_id, verdict.passed) for ref, verdict in before] == [("scene_1", True)]
    assert [(ref.scene_id, verdict.passed) for ref, verdict in after] == [("scene_2", True)]


def test_our_own_server_that_is_down_is_left_out_without_a_verdict(studio: Studio) -> None:
    report, news = told(studio)

    assert (report.checked, report.left_out, news) == (0, 4, [])
    assert asked(studio) == {}


def test_urls_that_nobody_can_be_asked_for_take_their_turns_and_keep_none_from_the_others(
    studio: Studio,
) -> None:
    """Our own server is down for two frames, and two are at an address that answers."""
    elsewhere = f"http://127.0.0.1:{free_port()}"
    public = studio.settings.model_copy(update={"public_url": elsewhere})
    studio.sql(
        "UPDATE scene_images SET storage_url = replace(storage_url, %s, %s)"
        " WHERE scene_id IN ('scene_3', 'scene_4')",
        studio.settings.public_url,
        elsewhere,
    )

    with serving(public):
        reports = [sweep(studio, 1) for _ in range(4)]

    assert [report.left_out for report in reports] == [1, 1, 0, 0]
    assert asked(studio).keys() == {"scene_3", "scene_4"}
    # From there on all of them in turn, those that could not be asked included.
    assert [sweep(studio, 1).left_out for _ in range(2)] == [1, 1]
    assert tried(studio) == ["scene_1", "scene_2"]


def test_an_address_that_moved_counts_as_never_tried(studio: Studio) -> None:
    sweep(studio)
    assert tried(studio) == ["scene_1", "scene_2", "scene_3", "scene_4"]

    studio.sql(
        "UPDATE scene_images SET storage_url = storage_url || '#'"
        " WHERE scene_id IN ('scene_2', 'scene_4')"
    )

    assert tried(studio) == ["scene_1", "scene_3"]


def test_what_has_no_address_at_all_takes_nothing_of_the_budget(studio: Studio) -> None:
    studio.sql(
        "UPDATE scene_images SET storage_url = 'memory://' || storage_path"
        " WHERE scene_id <> 'scene_4'"
    )
    with serving(studio.settings):
        report = sweep(studio, 1)

    assert (report.passed, report.left_out) == (1, 0)
    assert asked(studio) == {"scene_4": True}


@pytest.mark.parametrize("url", ["http://[::1/frame.png", "http://a b/", "https://", "http://x:y/"])
def test_an_address_that_is_none_ends_no_sweep(studio: Studio, url: str) -> None:
    studio.sql("UPDATE scene_images SET storage_url = %s WHERE scene_id = 'scene_1'", url)
    with serving(studio.settings):
        report = sweep(studio)

    assert report.passed == 3
    assert report.checked == 4


def test_a_host_that_does_not_answer_is_asked_a_few_times_only(studio: Studio) -> None:
    scenes = {f"more_{number}": "A mountain" for number in range(MAX_UNREACHABLE)}
    elsewhere = Studio(
        studio.settings.model_copy(update={"public_url": "http://frames.invalid:8420"}),
        studio.database_url,
    )
    elsewhere.bring(film(scenes, key="other"), file_name="other.json", origin="other.json")
    elsewhere.run(*scenes, key="other")
    # One at a time, so that the answers are known when the next is asked.
    one_by_one = Studio(
        elsewhere.settings.model_copy(update={"download_concurrency": 1}), studio.database_url
    )
    studio.sql(
        "UPDATE scene_images SET storage_url = replace(storage_url, %s, %s)",
        studio.settings.public_url,
        "http://frames.invalid:8420",
    )

    report = sweep(one_by_one)

    assert (report.passed, report.wrong) == (0, [])
    assert len(report.unreachable) == len(PROMPTS) + len(scenes)
    last = report.unreachable[-1][1].words
    assert "did not answer a moment ago" in last
    assert {verdict.severity for _, verdict in report.unreachable} == {"warn"}


@contextmanager
def troubled(
    studio: Studio, status: int, *, sound: str, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """A server of the frames that answers with a status, but for those of one scene.

    Args:
        studio: With frames.
        status: The answer.
        sound: A scene whose frame is served.
        meanwhile: Is done before each answer.
    """
    frame = frame_file(studio, sound)
    data = frame.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            meanwhile()
            is_sound = self.path.endswith(f"/{frame.name}")
            self.send_response(200 if is_sound else status)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(data) if is_sound else 0))
            self.end_headers()
            self.wfile.write(data if is_sound else b"")

        def log_message(self, *_: object) -> None:
            pass

    address = urlsplit(studio.settings.public_url)
    with ThreadingHTTPServer((str(address.hostname), int(address.port or 0)), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_s_own_trouble_says_nothing_of_the_bytes_and_nothing_of_other_frames(
    studio: Studio, status: int
) -> None:
    one_by_one = Studio(
        studio.settings.model_copy(update={"download_concurrency": 1}), studio.database_url
    )
    with troubled(studio, status, sound="scene_4"):
        report = sweep(one_by_one)

    assert (report.passed, report.wrong) == (1, [])
    assert len(report.unreachable) == MAX_UNREACHABLE
    assert {verdict.severity for _, verdict in report.unreachable} == {"warn"}
    assert asked(studio)["scene_4"]


def move_all(studio: Studio) -> None:
    studio.sql("UPDATE scene_images SET storage_url = storage_url || '#'")


def test_an_answer_for_an_address_that_moved_meanwhile_is_not_kept_and_not_told(
    studio: Studio,
) -> None:
    with troubled(studio, 404, sound="scene_4", meanwhile=lambda: move_all(studio)):
        report, news = told(studio)

    assert (report.checked, news) == (0, []), "no alarm is about an address that is left behind"
    assert asked(studio) == {}


def choose_another(studio: Studio) -> None:
    studio.sql("UPDATE scene_images SET is_current = false WHERE scene_id = 'scene_4'")
    studio.sql(
        "UPDATE scene_images SET is_current = true WHERE scene_id = 'scene_4' AND version = 1"
    )


@pytest.mark.parametrize(
    ("change", "told_of"),
    [(move_all, {"image_decodes", "not_blank"}), (choose_another, set())],
    ids=["another address", "another version"],
)
def test_what_a_run_found_of_what_changed_meanwhile_is_not_kept_and_not_told_either(
    studio: Studio, change: Callable[[Studio], None], told_of: set[str]
) -> None:
    asking = Studio(studio.settings.model_copy(update={"check_urls": True}), studio.database_url)
    studio.run("scene_4", mode="regenerate", token="again")
    refs = [SceneRef("film", "scene_4")]

    async def check(services: Services) -> set[str]:
        [checked] = await check_scenes(services, refs, {"scene_image"})
        return {verdict.name for verdict in checked.verdicts}

    with troubled(studio, 404, sound="scene_4", meanwhile=lambda: change(studio)):
        found = asking.do(check)

    assert "url_serves_the_stored_bytes" not in found
    assert found & {"image_decodes", "not_blank"} == told_of
    assert asked(studio) == {}


def test_archived_projects_are_asked_and_drills_are_not(studio: Studio) -> None:
    studio.sql("UPDATE projects SET archived_at = now()")
    with serving(studio.settings):
        assert sweep(studio).passed == 4
        studio.sql("UPDATE projects SET is_scratch = true")
        assert sweep(studio).checked == 0


def test_a_new_version_counts_as_never_asked(studio: Studio) -> None:
    with serving(studio.settings):
        sweep(studio)
        studio.run("scene_2", mode="regenerate", token="again")
        sweep(studio, 1)

    [row] = studio.sql(
        "SELECT version FROM frame_checks WHERE scene_id = 'scene_2'"
        " AND name = 'url_serves_the_stored_bytes'"
    )
    assert row["version"] == 2
