"""Which rung follows a rejection, and which addresses a provider can be given."""

from dataclasses import fields
from typing import Any

import pytest

from scene_pipeline.database.rows import Generation
from scene_pipeline.pipeline.keeping.references import is_reachable
from scene_pipeline.pipeline.planning.chains import base_token, key_after
from scene_pipeline.pipeline.planning.ladder import Step, next_step
from scene_pipeline.settings import Settings, load_settings

MODEL = ("fal", "fal-ai/flux/schnell")


def rejected(**values: Any) -> Generation:
    given = {
        "idempotency_key": "a" * 64,
        "provider": MODEL[0],
        "endpoint": MODEL[1],
        "rung": 0,
        "error_code": "content_rejected",
        "flagged_input": "output",
        **values,
    }
    return Generation(**{field.name: given.get(field.name) for field in fields(Generation)})  # type: ignore[arg-type]  # the rest is not looked at


def settings(reseeds: int, fallback: str | None = None) -> Settings:
    return load_settings(rejection_reseeds=reseeds, rejection_fallback_model=fallback)


def test_a_flagged_picture_is_reseeded_as_often_as_is_set_and_then_falls_back() -> None:
    chosen = settings(2, "fal-ai/flux/dev")

    steps = [next_step(chosen, rejected(rung=rung)) for rung in range(3)]

    assert steps == [
        Step("reseed", *MODEL),
        Step("reseed", *MODEL),
        Step("fallback", "fal", "fal-ai/flux/dev"),
    ]
    assert next_step(chosen, rejected(rung=3, endpoint="fal-ai/flux/dev")) is None


@pytest.mark.parametrize("flagged", ["prompt", None])
def test_refused_words_go_to_the_fallback_at_once(flagged: str | None) -> None:
    refused = rejected(flagged_input=flagged)

    assert next_step(settings(5), refused) is None
    assert next_step(settings(5, "m"), refused) == Step("fallback", "fal", "m")


def test_nothing_follows_a_refused_reference_or_another_failure() -> None:
    chosen = settings(5, "m")

    assert next_step(chosen, rejected(flagged_input="reference")) is None
    assert next_step(chosen, rejected(error_code="result_lost")) is None


@pytest.mark.parametrize("flagged", ["output", "prompt"])
@pytest.mark.parametrize("fallback", [None, "m", MODEL[1]])
@pytest.mark.parametrize("reseeds", [0, 1, 5])
def test_the_ladder_ends(reseeds: int, fallback: str | None, flagged: str) -> None:
    chosen = settings(reseeds, fallback)
    attempt, attempts = rejected(flagged_input=flagged), 1
    while (step := next_step(chosen, attempt)) is not None:
        attempt = rejected(flagged_input="output", rung=attempt.rung + 1, endpoint=step.endpoint)
        attempts += 1
        assert attempts <= reseeds + 2


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("offline:offline/landscape", ("offline", "offline/landscape")),
        ("owner/model:version", ("fal", "owner/model:version")),
        ("fal:", ("fal", "fal:")),
    ],
)
def test_a_fallback_names_a_provider_only_where_there_is_one(
    named: str, expected: tuple[str, str]
) -> None:
    assert next_step(settings(0, named), rejected()) == Step("fallback", *expected)


def test_the_key_of_a_rung_follows_from_the_one_before_it() -> None:
    first = key_after(rejected())

    assert first == key_after(rejected(endpoint="another", seed=7))
    assert first != key_after(rejected(idempotency_key="b" * 64))
    assert first != key_after(rejected(rung=1))


@pytest.mark.parametrize(
    ("token", "base"), [("", ""), ("#rung1", ""), ("request:7#rung2", "request:7")]
)
def test_the_token_of_the_request_is_in_that_of_its_rungs(token: str, base: str) -> None:
    assert base_token(token) == base


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cdn.example.com/a.png", True),
        ("https://93.184.216.34/a.png", True),
        ("http://cdn.example.com/a.png", False),
        ("https://localhost/a.png", False),
        ("https://127.0.0.1:8420/a.png", False),
        ("https://10.0.0.7/a.png", False),
        ("https://[::1]/a.png", False),
        ("https://store.internal/a.png", False),
        ("https://minio:9000/a.png", False),
        ("memory://frames/a.png", False),
    ],
)
def test_only_what_the_public_can_fetch_is_sent_as_an_address(url: str, expected: bool) -> None:
    assert is_reachable(url) is expected
