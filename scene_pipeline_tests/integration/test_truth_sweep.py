"""The truth sweep: which URLs are asked, within a budget, and what is made of the answers."""

from pathlib import Path

import pytest

from scene_pipeline.pipeline.checking.addresses import MAX_UNREACHABLE
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


def sweep(studio: Studio, limit: int = 100) -> SweepReport:
    return studio.do(lambda services: sweep_truth(services, limit))


def frame_file(studio: Studio, scene_id: str) -> Path:
    [row] = studio.sql("SELECT storage_path FROM scene_images WHERE scene_id = %s", scene_id)
    return studio.settings.home_directory / "frames" / str(row["storage_path"])


def asked(studio: Studio) -> dict[str, bool]:
    rows = studio.sql(
        "SELECT scene_id, passed FROM frame_checks WHERE name = 'url_serves_the_stored_bytes'"
        " ORDER BY scene_id"
    )
    return {row["scene_id"]: row["passed"] for row in rows}


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
        first = sweep(studio)
        frame.write_bytes(original)
        second = sweep(studio, 2)

    [(scene, verdict)] = first.wrong
    assert scene.scene_id == "scene_4"
    assert verdict.severity == "error"
    assert (first.checked, first.passed) == (4, 3)
    assert len(first.news) == 4
    assert (second.passed, second.wrong) == (2, [])
    assert [(ref.scene_id, found.passed) for ref, found in second.news] == [("scene_4", True)]
    assert all(asked(studio).values())


def test_our_own_server_that_is_down_is_left_out_without_a_verdict(studio: Studio) -> None:
    report = sweep(studio)

    assert (report.checked, report.left_out, report.news) == (0, 4, [])
    assert asked(studio) == {}


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
