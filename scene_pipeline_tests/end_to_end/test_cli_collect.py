"""`scene-pipeline collect`, as a person calls it."""

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film


def test_garbage_is_shown_first_and_removed_when_asked(cli: CommandLine) -> None:
    file = cli.write("film.json", film(["A lighthouse"], key="collected"))
    made = cli.run(file)
    folder = cli.home / "frames" / "projects" / "0f8fad5b-d9cb-469f-a165-70867728950e" / "scenes"
    folder.mkdir(parents=True)
    stranger = folder / "a_20200101T000000Z_0123456789abcdef.png"
    stranger.write_bytes(b"x")

    shown = cli("collect")
    kept = cli("collect", "--apply", "--json")
    removed = cli("collect", "--apply", "--unknown", "--json")

    assert (made.code, shown.code, kept.code, removed.code) == (0, 0, 0, 0)
    assert "unknown to this database: 1 object, 1 bytes" in shown.out
    assert stranger.name in shown.out
    assert "collect --apply --unknown" in shown.out
    assert kept.document["unknown"] == {"objects": 1, "size_bytes": 1}
    assert kept.document["deleted"]["objects"] == 0
    assert removed.document["deleted"] == {"objects": 1, "size_bytes": 1}
    assert removed.document["is_complete"] is True
    assert not stranger.exists()
    [scene] = made.document["scenes"]
    assert (cli.home / "frames" / scene["storage_path"]).exists()
