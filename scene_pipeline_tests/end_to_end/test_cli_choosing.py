"""`promote`, `lock`, `unlock` and `project`, as a person or a program calls them."""

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film

KEY = "choosing"


def test_a_version_is_chosen_locked_and_the_project_archived(cli: CommandLine) -> None:
    file = cli.write("film.json", film(["A lighthouse", "A storm"], key=KEY))
    first = cli.run(file).scenes["scene_1"]["url"]
    assert cli.run(KEY, "--regenerate", "--scene", "scene_1").code == 0

    chosen = cli("promote", KEY, "scene_1", "v1", "--expect", "2", "--json")
    again = cli("promote", KEY, "scene_1", "1")
    locked = cli("lock", KEY, "scene_1", "--json")
    refused = cli("promote", KEY, "scene_1", "2")
    free = cli("unlock", KEY, "--all")
    refreshing = cli("project", KEY, "--auto-refresh", "on", "--json")
    archived = cli("project", KEY, "--archive")
    refused_run = cli("run", KEY)
    shown = cli("status", "--json")
    opened = cli("project", KEY, "--unarchive", "--json")

    assert chosen.document["url"] == first
    assert (chosen.document["is_changed"], chosen.document["previous_version"]) == (True, 2)
    assert "Version 1 of scene scene_1 is current already." in again.out
    assert locked.document["changed"] == ["scene_1"]
    assert refused.code == 2
    assert refused.err.startswith("error [scene_locked]: ")
    assert f"unlock {KEY} scene_1" in refused.err
    assert "1 scene (scene_1) unlocked" in free.out
    assert "1 scene (scene_2) already unlocked." in free.out
    assert refreshing.document["auto_refresh"] is True
    assert "archived" in archived.out
    assert "--unarchive" in archived.out
    assert refused_run.code == 2
    assert refused_run.err.startswith("error [project_archived]: ")
    assert KEY not in [project["project"] for project in shown.document["projects"]]
    assert opened.document["changed"] == ["archived"]
    assert opened.document["archived_at"] is None
    assert cli.run(KEY).statuses == {"scene_1": "kept", "scene_2": "kept"}


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("usage", ["promote", KEY, "scene_1", "first"]),
        ("usage", ["promote", KEY, "scene_1", "0"]),
        ("usage", ["promote", KEY, "scene_1", "1", "--expect", "-1"]),
        ("project_unknown", ["promote", "nobody", "scene_1", "1"]),
        ("usage", ["lock", KEY]),
        ("usage", ["unlock", KEY, "scene_1", "--all"]),
        ("project_unknown", ["lock", "nobody", "--all"]),
        ("usage", ["project", KEY, "--auto-refresh", "perhaps"]),
        ("usage", ["project", KEY, "--archive", "--unarchive"]),
        ("project_unknown", ["project", "nobody"]),
        ("project_unknown", ["project", "nobody", "--archive"]),
    ],
)
def test_bad_input_is_one_sentence(cli: CommandLine, code: str, arguments: list[str]) -> None:
    finished = cli(*arguments)

    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.startswith(f"error [{code}]: ")
    assert finished.err.count("\n") == 1
