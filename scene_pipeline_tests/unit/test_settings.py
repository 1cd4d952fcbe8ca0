"""The environment: one place that knows it, and one file that explains it."""

import re
from pathlib import Path

import pytest

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]


def test_env_example_explains_exactly_the_variables_that_are_read() -> None:
    explained = re.findall(r"^# ([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert sorted(explained) == sorted(
        str(field.validation_alias) for field in Settings.model_fields.values()
    )


def test_only_settings_reads_our_variables() -> None:
    names = [str(field.validation_alias) for field in Settings.model_fields.values()]
    readers = {
        path.name
        for path in (ROOT / "scene_pipeline").rglob("*.py")
        if path.name != "settings.py"
        and any(
            re.search(rf"(environ\b.*|getenv\(){name}\b", line)
            for line in path.read_text().splitlines()
            for name in names
            if name not in ("DAGSTER_DATABASE_URL", "SCENE_PIPELINE_HOME")  # handed to children
        )
    }

    assert readers == set()


def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENE_PIPELINE_STEPS", "many")

    with pytest.raises(ConfigurationError, match="SCENE_PIPELINE_STEPS") as caught:
        load_settings()

    assert caught.value.error_code == "setting_invalid"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "")

    assert load_settings().provider_name == "offline"


def test_a_key_makes_fal_the_default_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "key")

    settings = load_settings()

    assert settings.provider_name == "fal"
    assert "key'" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "file://"),
        ({"S3_BUCKET": "frames"}, "s3://frames"),
        ({"S3_BUCKET": "frames", "SCENE_PIPELINE_STORAGE": "memory://"}, "memory://"),
    ],
)
def test_storage_precedence(
    given: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert load_settings().resolved_storage_url.startswith(expected)


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_HOST_ALLOWLIST", "a.example, *.b.example,")

    assert load_settings().asset_host_allowlist == ("a.example", "*.b.example")
