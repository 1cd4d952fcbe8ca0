"""What `doctor` says of providers: their keys by name, never what they are."""

import pytest

from scene_pipeline.findings import Finding
from scene_pipeline.providers.diagnosis import diagnose_providers, hosts_in_words
from scene_pipeline.settings import load_settings


def findings(**settings: object) -> dict[str, Finding]:
    found = list(diagnose_providers(load_settings(**settings)))
    assert len({finding.name for finding in found}) == len(found)
    return {finding.name: finding for finding in found}


def test_without_any_key_all_is_well_and_every_variable_is_named() -> None:
    found = findings()

    assert all(finding.is_ok for finding in found.values())
    assert found["provider"].detail == "offline: frames are drawn here, for nothing."
    assert found["provider fal"].detail.startswith("FAL_KEY is not set: scenes that name fal are")
    assert found["provider fal"].cure == "Set FAL_KEY to use fal."
    assert "REPLICATE_API_TOKEN is not set" in found["provider replicate"].detail
    assert "POLLINATIONS_API_KEY is not set: models that are free" in (
        found["provider pollinations"].detail
    )


@pytest.mark.parametrize(
    ("name", "variable"), [("fal", "FAL_KEY"), ("replicate", "REPLICATE_API_TOKEN")]
)
def test_the_provider_of_the_settings_needs_its_key(name: str, variable: str) -> None:
    lacking = findings(provider=name)["provider"]
    found = findings(provider=name, **{variable.lower(): "abc:SECRET"})

    assert not lacking.is_ok
    assert f"{variable} is not set" in lacking.detail
    assert lacking.cure == f"Set {variable}, or SCENE_PIPELINE_PROVIDER=offline."
    assert (found["provider"].is_ok, found["provider"].detail) == (
        True,
        f"{name}, with a {variable}.",
    )
    assert f"provider {name}" not in found


def test_pollinations_may_be_used_without_a_key() -> None:
    without = findings(provider="pollinations")["provider"]
    keyed = findings(provider="pollinations", pollinations_api_key="sk_SECRET")["provider"]

    assert (without.is_ok, keyed.is_ok) == (True, True)
    assert "without a POLLINATIONS_API_KEY" in without.detail
    assert keyed.detail == "pollinations, with a POLLINATIONS_API_KEY."


@pytest.mark.parametrize("variable", ["FAL_KEY", "REPLICATE_API_TOKEN", "POLLINATIONS_API_KEY"])
@pytest.mark.parametrize("is_chosen", [True, False])
def test_a_key_that_cannot_be_one_is_told_whoever_is_chosen(variable: str, is_chosen: bool) -> None:
    name = variable.partition("_")[0].lower()
    found = findings(
        provider=name if is_chosen else "offline", **{variable.lower(): "two SECRET words"}
    )

    [wrong] = [finding for finding in found.values() if not finding.is_ok]
    assert wrong.name == ("provider" if is_chosen else f"provider {name}")
    assert wrong.detail.startswith(f"{variable} is empty or holds characters")
    assert wrong.cure
    assert "SECRET" not in wrong.detail + wrong.cure


def test_a_key_that_is_set_is_named_and_not_shown() -> None:
    found = findings(fal_key="abc:SECRET", replicate_api_token="r8_SECRET", provider="offline")

    assert found["provider fal"] == Finding("provider fal", is_ok=True, detail="FAL_KEY is set.")
    assert found["provider replicate"].detail == "REPLICATE_API_TOKEN is set."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("offline", "offline needs none of them"),
        (
            "fal",
            "fal is asked at queue.fal.run, api.fal.ai, rest.fal.ai, and its pictures are fetched"
            " from fal.media, *.fal.media",
        ),
        (
            "replicate",
            "replicate is asked at api.replicate.com, and its pictures are fetched from"
            " replicate.delivery, *.replicate.delivery",
        ),
        (
            "pollinations",
            "pollinations is asked at gen.pollinations.ai, image.pollinations.ai",
        ),
    ],
)
def test_the_hosts_of_the_chosen_provider_are_named(name: str, words: str) -> None:
    assert hosts_in_words(load_settings(provider=name)) == words
