"""`project --fallback`, and how a frame that a fallback made is shown."""

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film

KEY = "falling"
SCHNELL = "fal:fal-ai/flux/schnell"


def test_a_frame_of_a_fallback_is_told_everywhere(cli: CommandLine) -> None:
    file = cli.write("film.json", film(["A lighthouse"], key=KEY))
    assert cli("import", file).code == 0

    set_to = cli("project", KEY, "--fallback", SCHNELL, "--fallback", "offline:offline/landscape",
                 "--json")  # fmt: skip
    made = cli.run(KEY, "--provider", "fal", "--model", "fal-ai/flux/dev")
    versions = cli("versions", KEY, "scene_1", "--json")
    status = cli("status", KEY)
    shown = cli("project", KEY)
    refused = cli("project", KEY, "--fallback", SCHNELL, "--fallback", SCHNELL)
    removed = cli("project", KEY, "--no-fallbacks", "--json")

    assert set_to.document["changed"] == ["fallbacks"]
    assert set_to.document["fallbacks"] == [
        {"provider": "fal", "model": "fal-ai/flux/schnell"},
        {"provider": "offline", "model": "offline/landscape"},
    ]
    assert made.scenes["scene_1"]["status"] == "generated"
    assert made.scenes["scene_1"]["error"]["code"] == "made_by_fallback"
    assert made.scenes["scene_1"]["error"]["message"] == (
        "fal-ai/flux/dev at fal has no key; fal-ai/flux/schnell at fal was passed over: its key is"
        " missing; made by fallback 2 of 2: offline/landscape at offline."
    )
    [version] = versions.document["versions"]
    assert (version["provider"], version["fallback"]["number"]) == ("offline", 2)
    assert "made by fallback 2 of 2" in " ".join(status.out.split())
    assert "2. offline/landscape at offline" in " ".join(shown.out.split())
    assert refused.code == 2
    assert refused.err.startswith("error [fallback_invalid]: ")
    assert removed.document["fallbacks"] == []


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("fallback_invalid", ["--fallback", "nobody:m"]),
        ("fallback_invalid", ["--fallback", "fal"]),
        ("fallback_invalid", ["--fallback", "fal:a model"]),
        ("usage", ["--fallback", SCHNELL, "--no-fallbacks"]),
    ],
)
def test_bad_input_is_one_sentence(cli: CommandLine, code: str, arguments: list[str]) -> None:
    finished = cli("project", KEY, *arguments)

    assert finished.code == 2
    assert finished.err.startswith(f"error [{code}]: ")
    assert finished.err.count("\n") == 1
