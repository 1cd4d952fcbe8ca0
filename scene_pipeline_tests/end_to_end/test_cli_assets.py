"""`scene-pipeline assets`, as a person or program calls it."""

import signal
from typing import Any

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.pictures import scene_file

OF_THIS_TEST = ("--client", "test-cli-assets")
KILLED_AT = ("asset_after_intent", "asset_after_upload", "asset_before_record")


def test_files_are_added_found_shown_tagged_replaced_and_removed(cli: CommandLine) -> None:
    hero = cli.write("hero.png", scene_file("PNG", 21))
    place = cli.write("place.jpg", scene_file("JPEG", 22))
    other = cli.write("other.png", scene_file("PNG", 23))

    added = cli("assets", "add", hero, place, "--tag", "Sea", *OF_THIS_TEST, "--json")
    assert added.code == 0, added.err
    results = {result["source"]: result for result in added.document["assets"]}
    assert [result["status"] for result in results.values()] == ["new", "new"]
    asset_id = results[str(hero)]["asset_id"]

    again = cli("assets", "add", hero, *OF_THIS_TEST)
    assert again.code == 0
    assert f"there already as {asset_id}" in again.out

    page = cli("assets", "list", *OF_THIS_TEST, "--limit", "1", "--json").document
    rest = cli("assets", "list", *OF_THIS_TEST, "--cursor", page["next_cursor"], "--json").document
    names = [asset["name"] for asset in (*page["assets"], *rest["assets"])]
    assert (sorted(names), rest["next_cursor"]) == (["hero.png", "place.jpg"], None)

    tagged = cli("assets", "tag", asset_id, "--add", "Night shot", "--remove", "sea", "--json")
    assert tagged.document["tags"] == ["night shot"]
    found = cli("assets", "list", *OF_THIS_TEST, "--text", "night", "--kind", "image", "--json")
    assert [asset["asset_id"] for asset in found.document["assets"]] == [asset_id]

    renamed = cli("assets", "rename", asset_id, "The  hero", "--json")
    said = cli("assets", "rename", asset_id, "The hero")
    listed = cli("assets", "list", *OF_THIS_TEST, "--kind", "image")
    assert renamed.document["name"] == "The hero"
    assert said.out == f"{asset_id} is called The hero now.\n"
    assert "The hero" in listed.out

    replaced = cli("assets", "add", other, "--replace", asset_id, "--json").document["assets"]
    shown = cli("assets", "show", asset_id, "--json").document
    assert [one["asset_id"] for one in replaced] == [asset_id]
    assert (shown["content_version"], shown["name"]) == (2, "The hero")
    assert shown["url"] == replaced[0]["url"]

    removed = cli("assets", "rm", asset_id)
    gone = cli("assets", "show", asset_id)
    assert (removed.code, gone.code) == (0, 2)
    assert "Removed The hero" in removed.out
    assert "asset_unknown" in gone.err


def test_one_bad_file_does_not_hold_up_the_rest(cli: CommandLine) -> None:
    good = cli.write("good.png", scene_file("PNG", 24))
    lie = cli.write("lie.png", b"<html><body>hello</body></html>" * 9)
    names = (good, lie, cli.directory, "nowhere.png")

    added = cli("assets", "add", *names, *OF_THIS_TEST, "--json")
    told = cli("assets", "add", *names, *OF_THIS_TEST)

    assert (added.code, told.code) == (1, 1)
    results = added.document["assets"]
    assert [result["source"] for result in results] == [str(name) for name in names]
    assert [(r["error"] or {"code": r["status"]})["code"] for r in results] == [
        "new",
        "file_not_allowed",
        "is_a_folder",
        "file_missing",
    ]
    assert all(result["error"]["next_action"] for result in results[1:])
    assert len(told.out.splitlines()) == len(names)
    assert f"{cli.directory} is a folder. Name the files in it" in told.out


@pytest.mark.long
@pytest.mark.parametrize("place", KILLED_AT)
def test_a_killed_command_is_simply_called_again(cli: CommandLine, place: str) -> None:
    file = cli.write("killed.png", scene_file("PNG", 30 + KILLED_AT.index(place)))

    killed = cli("assets", "add", file, *OF_THIS_TEST, env={"SCENE_PIPELINE_FAILPOINT": place})
    again = cli("assets", "add", file, *OF_THIS_TEST, "--json")

    assert killed.code == -signal.SIGKILL
    assert again.code == 0
    [added] = again.document["assets"]
    assert added["status"] == "new"
    assert cli("assets", "show", added["asset_id"]).code == 0


def test_a_frame_is_in_the_library_with_every_address(cli: CommandLine) -> None:
    made = cli.run(cli.write("film.json", film(["A pier"], key="assets-frames")))
    [scene] = made.document["scenes"]

    listed = cli("assets", "list", "--project", "assets-frames", "--json").document["assets"]

    [frame] = listed
    assert (frame["kind"], frame["frame"]["scene_id"]) == ("frame", "scene_1")
    assert (frame["url"], frame["frame"]["is_current"]) == (scene["url"], True)
    plain = cli("assets", "url", frame["asset_id"])
    small = cli("assets", "url", frame["asset_id"], "--form", "thumbnail", "--json")
    signed = cli("assets", "url", frame["asset_id"], "--signed", "60")
    assert plain.out == f"{scene['url']}\n"
    key = small.document["url"].partition("/frames/")[2]
    assert (cli.home / "frames" / key).read_bytes().startswith(b"RIFF")
    assert signed.out.startswith("http")
    assert signed.out != plain.out
    refused = cli("assets", "rm", frame["asset_id"], "--force")
    assert refused.code == 2
    assert "asset_is_frame" in refused.err


def test_what_a_document_names_is_removed_by_force_only(cli: CommandLine) -> None:
    file = cli.write("named.png", scene_file("PNG", 25))
    [added] = cli("assets", "add", file, *OF_THIS_TEST, "--json").document["assets"]
    document = film(["A pier"], key="assets-named", poster=f"asset:{added['asset_id']}")
    assert cli("import", cli.write("named.json", document)).code == 0

    refused = cli("assets", "rm", added["asset_id"], "--json")
    shown = cli("assets", "show", added["asset_id"])
    forced = cli("assets", "rm", added["asset_id"], "--force", "--json")

    assert (refused.code, shown.code, forced.code) == (2, 0, 0)
    assert refused.document["error"]["code"] == "asset_in_use"
    assert "used by   the document of assets-named" in shown.out
    use: dict[str, Any] = {"project": "assets-named", "what": "document", "scene_ids": []}
    assert forced.document["uses"] == [use]


def test_contradicting_options_are_refused_before_anything_is_done(cli: CommandLine) -> None:
    for arguments in (
        ("add", "a.png", "b.png", "--name", "x"),
        ("add", "a.png", "b.png", "--replace", "ast_x"),
        ("add", "a.png", "--replace", "ast_x", "--kind", "image"),
        ("add", "a.png", "--kind", "sound"),
        ("list", "--after", "yesterday"),
        ("tag", "ast_x"),
        ("url", "ast_x", "--form", "huge"),
        ("url", "ast_x", "--signed", "0"),
    ):
        refused = cli("assets", *arguments)
        assert refused.code == 2, arguments
        assert "error [usage]" in refused.err, arguments
    assert "frame" in cli("assets", "list", "--kind", "picture").err
    assert "frame" not in cli("assets", "add", "a.png", "--kind", "picture").err
