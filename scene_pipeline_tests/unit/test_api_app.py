"""Which server is which, and whether one is needed at all."""

from pathlib import Path

import pytest

from scene_pipeline.api.app import has_work, instance_id
from scene_pipeline.api.server import main
from scene_pipeline.settings import Settings, load_settings


def settings(home: Path, **overrides: object) -> Settings:
    return load_settings(**({"home": home} | overrides))


@pytest.mark.parametrize(
    ("overrides", "is_needed"),
    [
        ({}, True),
        ({"storage_url": "database://"}, True),
        ({"storage_url": "memory://"}, False),
        ({"s3_bucket": "frames"}, False),
        ({"s3_bucket": "frames", "s3_public_base_url": "https://cdn.example"}, False),
        ({"s3_bucket": "frames", "url_mode": "gateway"}, True),
        ({"gcs_bucket": "frames", "url_mode": "gateway"}, True),
        ({"s3_bucket": "frames", "api_token": "a token of sixteen"}, True),
    ],
)
def test_a_server_is_needed_where_addresses_lead_to_it(
    tmp_path: Path, overrides: dict[str, object], is_needed: bool
) -> None:
    assert has_work(settings(tmp_path, **overrides)) == is_needed


def test_servers_of_other_objects_or_of_other_rules_are_told_apart(tmp_path: Path) -> None:
    different = [
        settings(tmp_path),
        settings(tmp_path, url_mode="gateway"),
        settings(tmp_path / "other"),
        settings(tmp_path, storage_url="database://"),
        settings(tmp_path / "other", storage_url="database://"),
        settings(tmp_path, storage_url="database://", database_url="postgresql://one.example/db"),
        settings(tmp_path, s3_bucket="frames"),
        settings(tmp_path, s3_bucket="frames", s3_endpoint_url="https://s3.example"),
        settings(tmp_path, gcs_bucket="frames"),
        settings(tmp_path, api_token="a token of sixteen"),
        settings(tmp_path, s3_bucket="frames", api_token="a token of sixteen"),
        settings(tmp_path, api_token="a token of sixteen", database_url="postgresql://two/db"),
    ]
    assert len({instance_id(given) for given in different}) == len(different)
    assert instance_id(settings(tmp_path)) == instance_id(settings(tmp_path))


def test_a_server_that_cannot_start_says_why_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCENE_PIPELINE_PUBLIC_URL", "nonsense")

    assert main([]) == 2

    told = capsys.readouterr().err
    assert told.startswith("[public_url_invalid] ")
    assert "SCENE_PIPELINE_PUBLIC_URL" in told
