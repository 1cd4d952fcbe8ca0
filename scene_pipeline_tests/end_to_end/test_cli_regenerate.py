"""`regenerate`, `plan`, `versions` and `status --run` as a person uses them together."""

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film

REFUSALS: dict[str, list[str]] = {
    "usage": ["regenerate", "film"],
    "project_unknown": ["regenerate", "nobody", "--all"],
    "overrides_invalid": ["regenerate", "film", "scene_1", "--seed-policy", "sometimes"],
    "run_unknown": ["status", "--backfill", "nothere"],
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_cannot_be_is_refused_in_one_sentence(cli: CommandLine, code: str) -> None:
    done = cli(*REFUSALS[code], "--json")

    assert (done.code, list(done.document)) == (2, ["error"])
    assert done.document["error"]["code"] == code
    assert done.err.count("\n") == 1


def test_a_new_version_is_asked_for_made_and_found_again(
    cli: CommandLine, database_url: str
) -> None:
    cli.variables = {"DATABASE_URL": database_url, "SCENE_PIPELINE_PROVIDER": "offline"}
    wish = ["regenerate", "film", "scene_1", "--seed", "7", "--reason", "too dark"]

    first = cli.run(cli.write("film.json", film(["One", "Two"])))
    asked = cli(*wish)
    again = cli(*wish, "--json")
    plan = cli("plan", "film", "--json")
    shown = [cli("plan", "film"), cli("status", "film")]
    made = cli(*wish, "--wait", "--json")
    refused = cli(*wish, "--json")
    listed = cli("versions", "film", "scene_1")
    versions = cli("versions", "film", "scene_1", "--json").document["versions"]
    back = cli("status", "--run", first.document["run_id"], "--json")

    assert asked.code == 0
    assert "No `up` runs" in asked.out
    assert "run film" in asked.out
    assert again.document["continues"] is True
    [request] = plan.scenes["scene_1"]["requests"]
    assert (request["overrides"], request["reason"]) == ({"seed": 7}, "too dark")
    assert plan.scenes["scene_1"]["by_itself"]["action"] == "generate"
    for told in shown:
        assert f"request {request['id']}: asked for by " in told.out
        assert 'with another seed ("too dark")' in told.out
    assert (made.code, made.statuses) == (0, {"scene_1": "generated"})
    assert made.scenes["scene_1"]["seed"] == 7
    assert (refused.code, refused.document["error"]["code"]) == (2, "same_request")
    assert [version["version"] for version in versions] == [2, 1]
    assert versions[0]["run_id"] == made.document["run_id"]
    assert versions[0]["asked_by"] == f"request {request['id']}"
    assert versions[1]["asked_by"] == "document"
    assert f"request {request['id']}" in listed.out
    found = {line["scene_id"]: line for line in back.document["generations"]}
    assert set(found) == {"scene_1", "scene_2"}
    assert found["scene_1"]["generation_id"] == versions[1]["generation_id"]
    assert found["scene_1"]["versions"] == [1]
