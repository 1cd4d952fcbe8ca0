"""With which words an interrupted command goes on: never with such that would ask or pay anew."""

from decimal import Decimal

import pytest

from scene_pipeline.cli.main import main
from scene_pipeline.cli.run import RunArguments
from scene_pipeline.cli.terminal import MAX_COMMAND, PROGRAM, InterruptedRun, command


def interrupted(
    error: KeyboardInterrupt,
    *arguments: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """What a command with these arguments says when it ends so."""

    def fail(**_: object) -> int:
        raise error

    monkeypatch.setattr("scene_pipeline.cli.app.app", fail)
    assert main(arguments) == 130
    return capsys.readouterr().err


def test_an_interrupted_command_goes_on_by_its_own_words_or_those_it_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("run", "film", "--regenerate")
    own = interrupted(KeyboardInterrupt(), *asked, monkeypatch=monkeypatch, capsys=capsys)
    named = interrupted(
        InterruptedRun("run", "film"), *asked, monkeypatch=monkeypatch, capsys=capsys
    )

    assert own.endswith(f"Go on with: {PROGRAM} run film --regenerate\n")
    assert named.endswith(f"Go on with: {PROGRAM} run film\n")


def test_a_signed_address_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = interrupted(
        KeyboardInterrupt(),
        *("assets", "add", "https://me:pa55@cdn.example/a.png?signature=top-secret", "b.png"),
        monkeypatch=monkeypatch,
        capsys=capsys,
    )

    assert told.endswith(
        f"Go on with this, its addresses whole as you gave them: {PROGRAM} assets add"
        " https://cdn.example/a.png b.png\n"
    )
    assert "pa55" not in told
    assert "top-secret" not in told


def test_a_run_that_asked_for_new_versions_goes_on_without_asking() -> None:
    asked = RunArguments(
        "film.json",
        scene_ids=("scene_1", "scene_2"),
        regenerate=True,
        provider="fal",
        model="fal-ai/flux/dev",
        max_cost_usd=Decimal("0.50"),
        project_key="film",
        force=True,
    )

    assert asked.going_on("film", is_json=True) == (
        *("run", "film", "--max-cost", "0.50", "--json"),
        *("--scene", "scene_1", "--scene", "scene_2"),
    )


def test_a_run_that_asked_for_nothing_goes_on_as_it_was_given() -> None:
    given = RunArguments("film.json", provider="fal", refresh_stale=True, project_key="a film")

    assert given.going_on("a film", is_json=False) == (
        *("run", "film.json", "--stale", "--provider", "fal", "--project", "a film"),
    )


def test_more_scenes_than_can_be_named_are_never_all_scenes() -> None:
    scenes = tuple(f"scene_{number}" for number in range(500))
    many = RunArguments("film", scene_ids=scenes, regenerate=True)

    words = many.going_on("film", is_json=False)

    assert words == ("run", "film", "--scene", "ID")
    assert len(command(*words)) <= MAX_COMMAND
