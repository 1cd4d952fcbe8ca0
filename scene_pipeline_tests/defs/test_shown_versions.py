"""Two versions of a frame in Dagster's own records: made, kept, and made again in other words."""

from typing import Any

import dagster as dg
import pytest

from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline_tests.defs.jobs import make_frames
from scene_pipeline_tests.defs.test_frames import latest, register
from scene_pipeline_tests.films import Studio, film

STAGES = ("scene_image", "scene_start_frame")


def shown(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    found = latest(instance, asset, "film/scene_1")
    return {name: value.value for name, value in found.metadata.items()}


@pytest.mark.parametrize("last_mode", ["regenerate", "ensure"], ids=["made", "kept"])
def test_both_versions_are_seen_beside_each_other(
    instance: dg.DagsterInstance, runtime: PipelineRuntime, studio: Studio, last_mode: str
) -> None:
    studio.bring(film(["A red boat, moored"]))
    register(instance, "scene_1")
    assert make_frames(instance, runtime).success
    studio.edit(["scenes", "scene_1", "scene_frame_prompt"], "A blue boat, moored")
    assert make_frames(instance, runtime).success
    if last_mode == "ensure":
        assert make_frames(instance, runtime, mode="ensure").success

    for asset in STAGES:
        values = shown(instance, asset)
        assert values["kept"] is (last_mode == "ensure")
        assert (values["version"], values["previous_version"]) == (2, 1)
        assert values["thumbnail"] != values["previous_thumbnail"]
        assert values["compared"].startswith("| version 1 | version 2 |")
        assert values["prompt_diff"] == "A ~~red~~ **blue** boat, moored"
        assert values["changes"].startswith("prompt; seed ")
        assert values["attempts_total"] == 2
        assert values["cost_kind"] == "free"
        assert values["generation_seconds"] >= 0
        assert values["seconds"] >= values["generation_seconds"]
    assert "publishing_seconds" in shown(instance, "scene_start_frame")
    answer = shown(instance, "generated_frame")
    assert answer["attempts_total"] == 2
    assert answer["cost_usd"] == 0.0
    assert answer["generation_seconds"] >= 0
    assert isinstance(
        latest(instance, "generated_frame", "film/scene_1").metadata["attempts"],
        dg.TableMetadataValue,
    )
