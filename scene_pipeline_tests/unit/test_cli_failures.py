"""However a command fails, it ends with its code, one sentence and the exact next command."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from scene_pipeline.cli.main import main
from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.prices import PriceTable
from scene_pipeline.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENE_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")


@pytest.mark.parametrize(
    ("arguments", "sentence", "command"),
    [
        ("frobnicate", "No such command 'frobnicate'.", "scene-pipeline"),
        ("rnu", "No such command 'rnu'. Did you mean 'run'?", "scene-pipeline"),
        ("run", "Missing argument 'FILE|PROJECT'.", "scene-pipeline run"),
        ("versions film", "Missing argument 'SCENE'.", "scene-pipeline versions"),
        ("run film --max-cost", "Option '--max-cost' requires an argument.", "scene-pipeline run"),
        ("assets", "`scene-pipeline assets` needs a command.", "scene-pipeline assets"),
        ("assets frob", "No such command 'frob'.", "scene-pipeline assets"),
        ("assets url", "Missing argument 'ID'.", "scene-pipeline assets url"),
        ("storage copy", "Missing option '--to'.", "scene-pipeline storage copy"),
    ],
)
def test_wrong_arguments_name_the_help_of_their_command(
    arguments: str, sentence: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2

    told = capsys.readouterr()
    assert told.err == f"error [usage]: {sentence} See `{command} --help`.\n"
    assert told.out == ""


def test_a_wrong_value_is_told_in_our_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--since", "x", "--json"]) == 2

    [line] = capsys.readouterr().out.splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == "usage"
    assert "'--since': it should be a valid integer" in error["message"]


@pytest.mark.parametrize("arguments", [["--help"], ["frobnicate", "--json"]])
def test_an_output_that_takes_nothing_is_told(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = main(arguments)
        monkeypatch.undo()
        told = capsys.readouterr().err
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # closing it flushes again

    assert code in (1, 2)
    assert told.startswith(("error [machine_failed]: This machine", "error [usage]: No such"))
    assert told.count("\n") == 1


def _broken_by(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> int:
        raise error

    monkeypatch.setattr("scene_pipeline.cli.app.app", fail)


def test_a_defect_ends_with_a_sentence_and_the_place_of_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _broken_by(KeyError("secret"), monkeypatch)

    assert main(["status"]) == 70

    told = capsys.readouterr().err
    [log] = (tmp_path / "home" / "logs").iterdir()
    assert told.startswith("error [internal_error]: Something unexpected happened (KeyError)")
    assert f"its traceback is in {log}." in told
    assert "Run the command again" in told
    assert "secret" not in told
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("broken", ["home", "settings"])
def test_a_traceback_that_cannot_be_kept_is_shown(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if broken == "home":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SCENE_PIPELINE_HOME", str(tmp_path / "file" / "home"))
    else:
        (tmp_path / ".env").write_bytes(b"SCENE_PIPELINE_STEPS=\xff\n")
    _broken_by(KeyError("x"), monkeypatch)

    assert main(["status"]) == 70

    told = capsys.readouterr().err
    assert told.startswith("error [internal_error]: ")
    assert told.splitlines()[1] == "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "x", "/some/place"), "no space left on device (/some/place)"),
        (OSError(errno.EMFILE, "x"), "too many open files"),
        (MemoryError(), "no memory is left"),
    ],
)
def test_what_the_machine_lacks_is_no_defect(
    error: Exception,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _broken_by(error, monkeypatch)

    assert main(["status"]) == 1

    told = capsys.readouterr().err
    assert told.startswith(f"error [machine_failed]: This machine cannot go on: {reason}. ")
    assert "then run the command again" in told
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"A=1\nSCENE_PIPELINE_DAY_CAP_USD: 5\n", "line 2 is not of the form NAME=value"),
        (b'SCENE_PIPELINE_STEPS="4\n', "line 1 is not of the form NAME=value"),
        (b"SCENE_PIPELINE_STEPS=\xff\n", "it is not UTF-8"),
    ],
)
def test_an_env_file_is_never_passed_over_in_part(
    content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_bytes(content)

    assert main(["status"]) == 2

    told = capsys.readouterr().err
    assert told.startswith(
        f"error [env_file_invalid]: The file .env of this directory cannot be used: {reason}. "
    )
    assert "SCENE_PIPELINE_STEPS" not in told


def test_an_env_file_may_hold_comments_names_and_nothing() -> None:
    Path(".env").write_text("# a comment\n\nexport SCENE_PIPELINE_STEPS=7  # seven\nLONE\n")

    assert load_settings().steps == 7


def test_a_setting_is_told_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENE_PIPELINE_STEPS", "s3cret")

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert caught.value.message.startswith("SCENE_PIPELINE_STEPS cannot be used: it should be")
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file or directory"), (b"nothing", "it holds no certificate in PEM form")],
)
def test_a_ca_file_is_refused_in_words(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        tls_context(path)

    assert caught.value.message == f"SSL_CERT_FILE {path} cannot be used: {reason}."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file or directory"),
        (b"\xff", "it is not UTF-8"),
        (b'{"prices":\n nothing}', "it is not JSON (line 2, column 2)"),
        (b"{}", "it lacks 'as_of'"),
        (b"[]", "it does not have the form of a price table"),
    ],
)
def test_a_price_table_is_refused_in_words(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "prices.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        PriceTable.load(path)

    assert caught.value.message == f"The price table {path} cannot be used: {reason}."
