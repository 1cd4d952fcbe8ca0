"""How commands lay out what they write where nobody watches, and which addresses `up` names."""

from pathlib import Path
from typing import Any

import pytest

from scene_pipeline.cli.doctor import show_findings
from scene_pipeline.cli.tables import show_fields
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.up_words import shown_places
from scene_pipeline.findings import Finding
from scene_pipeline.settings import load_settings
from scene_pipeline.storage.bucket_diagnosis import public_read_policy

SERVER = "http://127.0.0.1:8420"
TOKEN = "a token of sixteen"


def test_a_policy_is_piped_without_spaces_at_the_ends_of_its_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    policy = public_read_policy("frames", "films/")

    finding = Finding("storage public address", False, "Closed.", f"Open it:\n{policy}")
    show_findings(Terminal(), [finding])

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert [line[4:] for line in lines if line[4:] in policy.splitlines()] == policy.splitlines()


@pytest.mark.parametrize("names", [["size", "url"], ["size", "unfinished uploads"]])
def test_values_stand_below_each_other_however_long_the_names_are(
    names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    show_fields(Terminal(), dict.fromkeys(names, "VALUE"))

    lines = capsys.readouterr().out.splitlines()
    assert len({line.index("VALUE") for line in lines}) == 1
    assert lines[0].index("VALUE") == max(len(name) for name in [*names, 8 * "x"]) + 4


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ({}, ["frames"]),
        ({"api_token": TOKEN}, ["frames", "library"]),
        ({"url_mode": "gateway"}, ["gateway"]),
        ({"s3_bucket": "frames", "api_token": TOKEN}, ["gateway", "library"]),
        ({"s3_bucket": "frames", "url_mode": "gateway"}, ["gateway"]),
    ],
)
def test_up_names_what_its_server_shows(
    tmp_path: Path, overrides: dict[str, Any], names: list[str]
) -> None:
    paths = {"frames": "/frames/", "gateway": "/media/", "library": "/api/"}

    places = shown_places(load_settings(home=tmp_path, **overrides), SERVER)

    assert places == {name: SERVER + paths[name] for name in names}
