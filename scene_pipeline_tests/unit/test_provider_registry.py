"""Providers by name."""

import subprocess
import sys

import pytest

from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.registry import DEFAULT_MODELS, PROVIDER_NAMES, build_provider
from scene_pipeline.settings import load_settings


def test_every_name_has_a_default_model() -> None:
    assert tuple(DEFAULT_MODELS) == PROVIDER_NAMES


@pytest.mark.parametrize("name", PROVIDER_NAMES)
def test_a_provider_knows_the_name_it_is_built_by(name: str) -> None:
    provider = build_provider(name, load_settings(fal_key="abc:def"))

    assert provider.name == name
    provider.close()


def test_fal_without_a_key_says_how_to_get_on() -> None:
    with pytest.raises(ConfigurationError, match="FAL_KEY") as caught:
        build_provider("fal", load_settings())

    assert caught.value.error_code == "fal_key_missing"
    assert "--provider offline" in caught.value.next_action


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'dalle'") as caught:
        build_provider("dalle", load_settings())

    assert "offline, fal" in caught.value.next_action


def test_naming_providers_loads_neither_pillow_nor_a_client() -> None:
    program = (
        "import sys, scene_pipeline.providers.registry\n"
        "print(sorted({'PIL', 'fal_client', 'httpx', 'dagster'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert loaded.stdout.strip() == "[]"
