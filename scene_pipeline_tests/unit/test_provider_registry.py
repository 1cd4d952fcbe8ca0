"""Providers by name: a module and a line each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import scene_pipeline
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.providers.fal_addresses import is_fal_host
from scene_pipeline.providers.pollinations_addresses import FREE_HOST, KEYED_HOST
from scene_pipeline.providers.registry import (
    DEFAULT_MODELS,
    PROVIDER_NAMES,
    PROVIDERS,
    ProviderEntry,
    Registry,
    build_provider,
    free_providers,
    most_images,
    reference_limits,
    result_hosts,
)
from scene_pipeline.providers.replicate_paths import API_HOST
from scene_pipeline.settings import Settings, load_settings

DOCS = Path(scene_pipeline.__file__).parent.parent / "docs"
KEYS = {"fal_key": "abc:def", "replicate_api_token": "r8_abc"}
MISSING_KEYS = {
    "fal": ("fal_key_missing", "FAL_KEY"),
    "replicate": ("replicate_token_missing", "REPLICATE_API_TOKEN"),
}
ONE_FILE = """
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.providers.base import (
    Capabilities, GenerationResult, LostRequest, NO_REFERENCES, Progress, ProviderImage, Submission,
)


class Sketch:
    name = "sketch"
    capabilities = Capabilities(
        has_request_ids=False, has_history=False, returns_urls=False, is_free=True,
        first_poll_seconds=0.0,
    )

    def reference_limits(self, endpoint):
        return NO_REFERENCES

    def submit(self, request):
        return Submission(f"local:{request.generation_id}")

    def poll(self, request, submission):
        return Progress("completed")

    def fetch_result(self, request, submission):
        return GenerationResult((ProviderImage(url=None),), seed=request.seed)

    def read_image(self, request, image_index):
        return b"P1 1 1 1"

    def cancel(self, submission):
        pass

    def find_lost(self, request, submitted_after, known_ids=frozenset()):
        return LostRequest("unknown")

    def close(self):
        pass


def build(settings):
    return Sketch()


def max_images(endpoint):
    return 1


def reference_limits(endpoint):
    return NO_REFERENCES
"""


def test_every_name_has_a_default_model() -> None:
    assert tuple(DEFAULT_MODELS) == PROVIDER_NAMES
    assert {entry.name for entry in PROVIDERS} == set(PROVIDER_NAMES)


@pytest.mark.parametrize("name", PROVIDER_NAMES)
def test_a_provider_knows_the_name_it_is_built_by(name: str) -> None:
    provider = build_provider(name, load_settings(**KEYS))

    assert provider.name == name
    provider.close()


@pytest.mark.parametrize("name", MISSING_KEYS)
def test_a_missing_key_says_how_to_get_on(name: str) -> None:
    code, variable = MISSING_KEYS[name]

    with pytest.raises(ConfigurationError, match=variable) as caught:
        build_provider(name, load_settings())

    assert caught.value.error_code == code
    assert "--provider offline" in caught.value.next_action


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    for ask in (
        lambda: build_provider("dalle", load_settings()),
        lambda: most_images("dalle", "dalle/3"),
        lambda: reference_limits("dalle", "dalle/3"),
    ):
        with pytest.raises(ConfigurationError, match="'dalle'") as caught:
            ask()
        assert "offline, fal, replicate, pollinations" in caught.value.next_action


@pytest.mark.parametrize("name", PROVIDER_NAMES)
def test_how_many_pictures_a_model_makes_needs_no_key(name: str) -> None:
    assert most_images(name, DEFAULT_MODELS[name]) >= 1


@pytest.mark.parametrize("name", PROVIDER_NAMES)
def test_which_pictures_a_model_takes_needs_no_key_and_is_what_the_provider_says(name: str) -> None:
    provider = build_provider(name, load_settings(**KEYS))

    for model in (DEFAULT_MODELS[name], "fal-ai/flux-2-pro/edit", "kontext", "nobody/knows"):
        assert reference_limits(name, model) == provider.reference_limits(model)
    provider.close()


def test_results_come_from_the_providers_hosts_and_those_of_the_user() -> None:
    hosts = result_hosts(load_settings(asset_host_allowlist="media.example"))

    assert hosts == (
        "fal.media",
        "*.fal.media",
        "replicate.delivery",
        "*.replicate.delivery",
        "media.example",
    )


def test_the_hosts_that_are_named_are_those_that_get_the_keys() -> None:
    hosts = {entry.name: entry.service_hosts for entry in PROVIDERS}

    assert hosts.pop("offline") == ()
    assert all(is_fal_host(host) for host in hosts.pop("fal"))
    assert hosts == {"replicate": (API_HOST,), "pollinations": (KEYED_HOST, FREE_HOST)}


@pytest.mark.parametrize("entry", PROVIDERS, ids=lambda entry: entry.name)
def test_what_is_free_without_a_key_says_so_itself(entry: ProviderEntry) -> None:
    assert (entry.name in free_providers(load_settings())) == entry.is_free_without_key
    if entry.is_free_without_key:
        provider = build_provider(entry.name, load_settings())
        assert provider.capabilities.is_free
        provider.close()


@pytest.mark.parametrize(
    "entry", [entry for entry in PROVIDERS if entry.key_variable], ids=lambda entry: entry.name
)
def test_a_key_is_a_setting_that_is_never_shown(entry: ProviderEntry) -> None:
    variable = str(entry.key_variable)
    field = Settings.model_fields[variable.lower()]

    assert (field.validation_alias, field.repr) == (variable, False)
    assert not entry.has_key(load_settings())
    assert entry.has_key(load_settings(**{variable.lower(): "abc:def"}))


def test_a_provider_is_added_by_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sketch_provider.py").write_text(ONE_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    line = ProviderEntry(
        "sketch",
        "sketch_provider",
        "sketch/pencil",
        ("sketch.example",),
        ("api.sketch.example",),
        is_free_without_key=True,
    )
    registry = Registry((*PROVIDERS, line))

    provider = registry.build("sketch", load_settings())
    request = ImageRequest("g", registry.default_models["sketch"], "A hill", 7, 64, 64)
    submission = provider.submit(request)

    assert registry.names == (*PROVIDER_NAMES, "sketch")
    assert registry.most_images("sketch", request.endpoint) == 1
    assert registry.result_hosts[-1] == "sketch.example"
    assert "sketch" in registry.free(load_settings())
    assert provider.poll(request, submission).state == "completed"
    assert len(provider.fetch_result(request, submission).images) == 1


def test_the_line_that_the_page_shows_is_one() -> None:
    page = (DOCS / "adding-a-provider.md").read_text("utf-8")
    shown = page.split("```python\n")[1].split("```")[0]

    [line] = eval(shown, {"ProviderEntry": ProviderEntry})  # noqa: S307  # our own page

    assert Registry((*PROVIDERS, line)).result_hosts[-1] == "*.sketch.example"
    assert (line.service_hosts, line.key_variable) == (("api.sketch.example",), "SKETCH_KEY")


def test_the_page_on_providers_tells_what_they_can_do() -> None:
    page = DOCS / "providers.md"
    row = r"^\| `(\w+)`([^|]*)\| (yes|no) \| (yes|no) \| (\w+) \| ([^|]+) \|"
    rows = re.findall(row, page.read_text("utf-8"), re.MULTILINE)
    keyed = {**KEYS, "pollinations_api_key": "sk_abc"}

    assert [row[0] for row in rows] == [*PROVIDER_NAMES, "pollinations"]
    for name, which, request_ids, history, gives, costs in rows:
        provider = build_provider(name, load_settings(**(KEYS if "without" in which else keyed)))
        told = provider.capabilities
        provider.close()
        assert (request_ids, history) == tuple(
            "yes" if has else "no" for has in (told.has_request_ids, told.has_history)
        )
        assert gives == ("addresses" if told.returns_urls else "bytes")
        assert (costs == "nothing") == told.is_free


def test_naming_providers_loads_neither_pillow_nor_a_client() -> None:
    program = (
        "import sys, scene_pipeline.providers.registry\n"
        "print(sorted({'PIL', 'fal_client', 'httpx', 'dagster'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert loaded.stdout.strip() == "[]"
