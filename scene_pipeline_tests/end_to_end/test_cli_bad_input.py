"""Bad input and configuration: exit code 2, one sentence, and nothing half-done."""

import socket
from pathlib import Path

import pytest

from scene_pipeline_tests.end_to_end.command_line import PROGRAM, CommandLine
from scene_pipeline_tests.films import film

GOOD = film(["One"], key="never-imported")

DOCUMENTS = {
    "not_json": b'{"scenes": {',
    "not_utf8": b'{"scenes": {"a": {"scene_frame_prompt": "\xe9"}}}',
    "document_empty": b"",
    "duplicate_key": b'{"scenes": {"a": {"scene_frame_prompt": "x"}, "a": {}}}',
    "no_scenes": b'{"scenes": {}}',
    "document_too_large": b" " * 20_000_001,
}

REFUSALS: dict[str, tuple[list[str], dict[str, str]]] = {
    "file_unreadable": (["run", "missing.json"], {}),
    "project_unknown": (["run", "nobody"], {}),
    "unknown_provider": (["run", "good.json", "--provider", "nobody"], {}),
    "provider_unknown": (["run", "good.json"], {"SCENE_PIPELINE_PROVIDER": "nobody"}),
    "fal_key_missing": (["run", "good.json", "--provider", "fal"], {}),
    "scene_unknown": (["run", "good.json", "--scene", "nowhere"], {}),
    "setting_invalid": (["run", "good.json"], {"SCENE_PIPELINE_STEPS": "many"}),
    "database_url_invalid": (
        ["run", "good.json"],
        {"DATABASE_URL": "mysql://me:s3cret@127.0.0.1/film"},
    ),
    "database_unavailable": (
        ["run", "good.json"],
        {"DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/film"},
    ),
    "storage_url_invalid": (["run", "good.json"], {"SCENE_PIPELINE_STORAGE": "ftp://me:s3cret@x"}),
    "storage_unreachable": (
        ["run", "good.json"],
        {
            "S3_BUCKET": "frames",
            "S3_ENDPOINT_URL": "http://127.0.0.1:1",
            "S3_ACCESS_KEY_ID": "me",
            "S3_SECRET_ACCESS_KEY": "s3cret",
        },
    ),
    "usage": (["run", "good.json", "--max-cost", "cheap"], {}),
}


def assert_one_sentence(error: str, code: str) -> None:
    assert error.startswith(f"error [{code}]: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert "s3cret" not in error


@pytest.mark.parametrize("code", DOCUMENTS)
def test_an_unusable_document_is_refused_in_one_sentence(cli: CommandLine, code: str) -> None:
    path = cli.write("bad.json", DOCUMENTS[code])

    done = cli("run", path)

    assert done.code == 2
    assert_one_sentence(done.err, code)
    assert "bad.json" in done.err
    assert done.out == ""


@pytest.mark.parametrize("code", REFUSALS)
def test_what_cannot_be_is_refused_before_anything_is_written(cli: CommandLine, code: str) -> None:
    cli.write("good.json", GOOD)
    arguments, variables = REFUSALS[code]

    done = cli(*arguments, "--json", env=variables)

    assert done.code == 2
    assert_one_sentence(done.err, code)
    assert list(done.document) == ["error"]
    assert done.document["error"]["code"] == code
    # On standard error a command stands as it can be typed here.
    assert done.document["error"]["next_action"] in done.err.replace(str(PROGRAM), PROGRAM.name)


def test_after_all_refusals_no_project_is_there(cli: CommandLine) -> None:
    cli.write("good.json", GOOD)
    cli("run", "good.json", "--provider", "fal")
    cli("run", "good.json", "--scene", "nowhere")

    projects = cli("status", "--json").document["projects"]

    assert "never-imported" not in {project["project"] for project in projects}


def test_a_store_that_refuses_leaves_no_request_behind(cli: CommandLine) -> None:
    cli("import", cli.write("asked.json", film(["One"], key="asked")))
    elsewhere = {"SCENE_PIPELINE_STORAGE": "file:///dev/null/frames"}

    refused = cli("run", "asked", "--regenerate", env=elsewhere)
    planned = cli.run("asked", "--dry-run")

    assert refused.code == 2
    assert "frames cannot be stored" in refused.err
    assert planned.scenes["scene_1"]["reason"] == "no frame yet"


@pytest.mark.parametrize("variable", ["SCENE_PIPELINE_DAGSTER_PORT", "SCENE_PIPELINE_PUBLIC_URL"])
def test_a_taken_port_is_told_with_its_cure(cli: CommandLine, variable: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        ports = {"SCENE_PIPELINE_DAGSTER_PORT": other, "SCENE_PIPELINE_PUBLIC_URL": other}
        ports[variable] = taken
        numbers = {name: server.getsockname()[1] for name, server in ports.items()}
        if variable == "SCENE_PIPELINE_PUBLIC_URL":
            other.close()

        done = cli(
            "up",
            env={
                "SCENE_PIPELINE_DAGSTER_PORT": str(numbers["SCENE_PIPELINE_DAGSTER_PORT"]),
                "SCENE_PIPELINE_PUBLIC_URL": (
                    f"http://127.0.0.1:{numbers['SCENE_PIPELINE_PUBLIC_URL']}"
                ),
            },
        )

    assert done.code == 2
    assert_one_sentence(done.err, "port_taken")
    assert f"set {variable}" in done.err


def test_a_data_directory_that_cannot_be_written_is_told(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    cli.home = tmp_path / "file" / "home"

    done = cli("up")

    assert done.code == 2
    assert_one_sentence(done.err, "home_not_writable")


def test_doctor_names_a_cure_for_what_is_wrong(cli: CommandLine) -> None:
    well = cli("doctor", "--json")
    ill = cli("doctor", "--json", env={"SCENE_PIPELINE_PROVIDER": "fal"})

    assert (well.code, well.document["is_ok"]) == (0, True)
    names = {finding["name"] for finding in well.document["findings"]}
    assert {"versions", "provider", "database schema", "storage write", "storage delete"} <= names
    assert ill.code == 1
    wrong = [finding for finding in ill.document["findings"] if not finding["is_ok"]]
    assert [finding["name"] for finding in wrong] == ["provider"]
    assert "FAL_KEY" in wrong[0]["cure"]
    [way_out] = [entry for entry in ill.document["findings"] if entry["name"] == "way out"]
    assert "queue.fal.run" in way_out["detail"]
    assert {"provider fal", "provider replicate", "provider pollinations"} <= names


def test_help_names_every_command_and_is_quick(cli: CommandLine) -> None:
    done = cli("--help")

    assert done.code == 0
    for command in ("run", "import", "export", "status", "versions", "doctor", "up", "down"):
        assert f"  {command} " in done.out
