"""What people read: metadata, log lines, the failure at the end, and the token behind it all."""

import io
import re
from decimal import Decimal

import dagster as dg
import pytest
from PIL import Image

from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.frame_metadata import stage_materialization
from scene_pipeline.defs.glances import glance
from scene_pipeline.defs.markdown import prompt_markdown
from scene_pipeline.defs.metadata import inline_image
from scene_pipeline.defs.outcomes import RunSummary
from scene_pipeline.defs.run_order import first_run_tags, request_token
from scene_pipeline.pipeline.orders import Failure, SceneOutcome, SceneRef, SceneStatus, StageDone

SCENE = SceneRef("film", "scene_1")
RUN_ID = "00000000-0000-4000-8000-000000000001"


def outcome(scene_id: str, status: SceneStatus, cost: str = "0.01") -> SceneOutcome:
    failure = None
    if status not in ("generated", "kept"):
        failure = Failure("some_code", f"What happened to {scene_id}.", "Do this next.")
    return SceneOutcome(SceneRef("film", scene_id), status, None, failure, Decimal(cost))


def summary_of(*outcomes: SceneOutcome, missing: int = 0) -> RunSummary:
    extra = tuple(SceneRef("film", f"missing_{number}") for number in range(missing))
    summary = RunSummary(tuple(one.scene for one in outcomes) + extra)
    for one in outcomes:
        summary.add(one)
    return summary


@pytest.mark.parametrize("status", ["generated", "kept", "stale"])
def test_a_run_whose_scenes_have_frames_does_not_fail(status: SceneStatus) -> None:
    assert summary_of(outcome("scene_1", status)).failure() is None


@pytest.mark.parametrize("status", ["failed", "blocked", "ambiguous", "invalid"])
def test_the_failure_names_scene_code_and_next_action(status: SceneStatus) -> None:
    failure = summary_of(outcome("scene_1", "generated"), outcome("scene_2", status)).failure()

    assert failure is not None
    assert failure.allow_retries is False
    assert failure.description is not None
    assert f"film/scene_2: {status} [some_code]" in failure.description
    assert "Do this next." in failure.description
    assert "1 of 2 scenes" in failure.description
    assert "scene_1" not in failure.description


def test_the_failure_is_bounded_however_many_scenes_fail() -> None:
    failure = summary_of(*(outcome(f"scene_{n}", "failed") for n in range(5000))).failure()

    assert failure is not None
    assert failure.description is not None
    assert len(failure.description) < 4000
    assert "and 4980 more" in failure.description
    table = failure.metadata["unfinished_scenes"]
    assert isinstance(table, dg.TableMetadataValue)
    assert len(table.records) == 200


def test_scenes_that_the_stream_never_told_of_are_a_failure() -> None:
    failure = summary_of(outcome("scene_1", "generated"), missing=2).failure()

    assert failure is not None
    assert failure.description is not None
    assert "Not reached: 2." in failure.description
    assert "First: film/missing_0, film/missing_1." in failure.description
    table = failure.metadata["unfinished_scenes"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["scene"] for record in table.records] == ["missing_0", "missing_1"]
    assert all(
        "scene-pipeline run film" in str(record.data["next_action"]) for record in table.records
    )


def test_log_lines_are_bounded_and_told_once() -> None:
    summary = summary_of(*(outcome(f"scene_{n}", "generated") for n in range(100)))

    line = summary.take_log_line()

    assert line is not None
    assert len(line) < 1000
    assert "and 75 more" in line
    assert summary.take_log_line() is None
    assert summary.totals == "100 generated; 1.00 USD"


def test_a_log_line_says_why_a_scene_failed_and_what_to_do() -> None:
    summary = summary_of(
        outcome("scene_1", "generated"),
        outcome("scene_2", "blocked"),
        *(outcome(f"scene_{n}", "failed") for n in range(3, 300)),
    )

    line = summary.take_log_line()

    assert line is not None
    assert line.startswith("film/scene_2: blocked [some_code] What happened to scene_2. Do this")
    assert "scene_1 generated" in line
    assert len(line) < 2000


@pytest.mark.parametrize(
    ("mode", "tags", "expected"),
    [
        ("ensure", {}, ""),
        ("regenerate", {}, "root-run"),
        ("ensure", {"dagster/backfill": "b1"}, ""),
        ("regenerate", {"dagster/backfill": "b1"}, "b1"),
        ("regenerate", {"dagster/backfill": "b2", "dagster/root_backfill_id": "b1"}, "b1"),
        ("regenerate", {"dagster/backfill": "b1", "scene_pipeline/request": "1,2"}, "b1"),
        ("ensure", {"scene_pipeline/request": "1,2"}, ""),
    ],
)
def test_the_token_names_the_request(mode: str, tags: dict[str, str], expected: str) -> None:
    chosen = FramesConfig(mode=mode).mode  # type: ignore[arg-type]  # a parameter of the table

    assert request_token(chosen, tags, "root-run") == expected


@pytest.mark.parametrize(
    "prompt",
    ["![x](https://t.invalid/p.png)", "<img src=x>", "[a](javascript:x)", "https://a.invalid"],
)
def test_a_prompt_is_never_live_markdown(prompt: str) -> None:
    shown = prompt_markdown(prompt).value

    assert shown is not None
    assert not re.search(r"(?<!\\)[!\[\](<:]", shown)


def test_a_prompt_keeps_its_lines() -> None:
    assert prompt_markdown("A sea\nA ship").value == "A sea  \nA ship"


def test_a_picture_that_is_too_large_for_the_event_log_is_left_out() -> None:
    assert inline_image(b"x" * 101, "image/jpeg", 100) is None
    assert inline_image(None, "image/jpeg", 100) is None
    assert inline_image(b"x" * 100, "image/jpeg", 100) is not None


def test_facts_keep_their_kinds() -> None:
    event = StageDone(
        SCENE,
        "generated_frame",
        {
            "generation_id": "g1",
            "seconds": 1.5,
            "cost_usd": Decimal("0.003"),
            "seed": 7,
            "is_new": True,
            "nothing": None,
        },
    )

    shown = stage_materialization(event, "film/scene_1")

    assert shown.partition == "film/scene_1"
    assert {name: value.value for name, value in shown.metadata.items()} == {
        "project": "film",
        "scene": "scene_1",
        "generation_id": "g1",
        "seconds": 1.5,
        "cost_usd": 0.003,
        "seed": 7,
        "is_new": True,
        "kept": False,
    }


def test_a_glance_fits_into_what_the_ui_shows_in_place() -> None:
    for picture in (
        Image.new("RGB", (320, 180), "teal"),
        Image.effect_noise((320, 180), 90).convert("RGB"),
        Image.effect_noise((180, 320), 90).convert("RGB"),
    ):
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=70)

        small = glance(encoded.getvalue())

        assert small is not None
        shown = inline_image(small, "image/webp", 12_288)
        assert shown is not None
        assert shown.value is not None
        assert len(shown.value) < 1000


def test_a_glance_of_something_else_is_nothing() -> None:
    large = io.BytesIO()
    Image.new("RGB", (2000, 10)).save(large, "JPEG")

    assert glance(b"not a picture") is None
    assert glance(large.getvalue()) is None


def test_the_cap_is_exact() -> None:
    assert FramesConfig(max_cost_usd=0.1).max_cost == Decimal("0.1")
    assert FramesConfig().max_cost is None


def test_a_run_executed_again_answers_what_the_first_one_was_asked() -> None:
    first = dg.DagsterRun("frames", run_id=RUN_ID, tags={"dagster/backfill": "b1"})
    # As Dagster makes it once the backfill was cancelled: without the backfill's tags.
    again = dg.DagsterRun("frames", root_run_id=RUN_ID, parent_run_id=RUN_ID)
    with dg.DagsterInstance.ephemeral() as instance:
        assert first_run_tags(instance, first) == first.tags
        instance.add_run(first)

        assert first_run_tags(instance, again) == {"dagster/backfill": "b1"}
