"""`plan`: what is ahead of every scene, at what price; and that looking changes nothing."""

import json

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film

OFFLINE = {"SCENE_PIPELINE_PROVIDER": "offline"}


def edited(document: bytes, scene_id: str, prompt: str) -> bytes:
    parsed = json.loads(document)
    parsed["scenes"][scene_id]["scene_frame_prompt"] = prompt
    return json.dumps(parsed).encode()


def next_commands(out: str) -> list[str]:
    """Commands that stand on lines of their own, without the program."""
    lines = (line.strip().partition("scene-pipeline ") for line in out.splitlines())
    return [arguments for before, found, arguments in lines if found and " " not in before]


def test_a_plan_tells_states_causes_prices_and_what_is_left(
    cli: CommandLine, database_url: str
) -> None:
    cli.variables = {"DATABASE_URL": database_url, **OFFLINE}
    document = film(["a red boat at dawn", "A calm sea", "Rain"], key="ahead")
    cli("run", cli.write("ahead.json", document))
    document = edited(document, "scene_1", "a blue boat at dawn")
    parsed = json.loads(document)
    parsed["scenes"]["scene_4"] = {"scene_frame_prompt": "A new scene"}
    parsed["scenes"]["scene_5"] = {"scene_frame_prompt": ""}
    cli("import", cli.write("ahead.json", json.dumps(parsed).encode()))
    priced = {"SCENE_PIPELINE_PROVIDER": "fal"}

    plan = cli("plan", "ahead", "--json", env=priced)
    words = cli("plan", "ahead", env=priced)

    assert (plan.code, words.code) == (0, 0)
    scenes = plan.scenes
    assert {scene_id: scene["state"] for scene_id, scene in scenes.items()} == {
        "scene_1": "stale",
        "scene_2": "current",
        "scene_3": "current",
        "scene_4": "missing",
        "scene_5": "invalid",
    }
    diff = "a [-red-]{+blue+} boat at dawn"
    assert scenes["scene_1"]["edits"] == [{"cause": "prompt", "diff": diff}]
    assert scenes["scene_1"]["by_itself"]["action"] == "stale"
    assert scenes["scene_1"]["by_itself"]["estimated_cost_usd"] == 0
    assert scenes["scene_1"]["on_request"]["estimated_cost_usd"] == 0.003
    assert scenes["scene_4"]["by_itself"]["action"] == "generate"
    assert scenes["scene_4"]["by_itself"]["estimated_cost_usd"] == 0.003
    assert scenes["scene_5"]["on_request"]["is_possible"] is False
    assert scenes["scene_5"]["error"]["code"] == "prompt_empty"
    assert plan.document["totals"]["estimated_cost_usd"] == 0.003
    assert plan.document["totals"]["on_request_cost_usd"] == 0.012
    assert plan.document["left_usd"] == {"project": 5.0, "day": 20.0}
    assert plan.document["prices_as_of"] == ["2026-09-26"]
    assert "about $0.003 at prices of 2026-09-26" in words.out
    assert f"prompt: {diff}" in words.out
    assert "About $0.003 would be spent, of $5.00 that may be." in words.out
    commands = ["run ahead", "run ahead --stale"]
    assert [next_commands(told.out) for told in (words, cli("status", "ahead"))] == 2 * [commands]


def test_editing_back_is_said_to_cost_nothing(cli: CommandLine) -> None:
    before, after = (film({"scene_1": words}, key="back") for words in ("Dawn", "Dusk"))
    cli.run(cli.write("back.json", before))
    cli.run(cli.write("back.json", after), "--stale")

    looked = cli("run", cli.write("back.json", before), "--dry-run")
    made = cli("run", "back.json")

    assert (looked.code, made.code) == (0, 0), looked.err + made.err
    assert "1 scene: 1 to reuse" in looked.out
    assert "1 scene: 1 to reuse" in made.out
