"""Precedence: settings, project, scene, command."""

from dataclasses import replace
from typing import Any

import pytest

from scene_pipeline.errors import UsageError
from scene_pipeline.scenes.document import read_document
from scene_pipeline.scenes.references import KnownPicture
from scene_pipeline.scenes.requests import (
    RequestDefaults,
    RequestOverrides,
    ResolvedRequest,
    resolve_request,
)

DEFAULTS = RequestDefaults(
    provider="offline",
    models={"offline": "offline/landscape", "fal": "fal-ai/flux/schnell"},
    image_size="landscape_16_9",
)


def resolve(
    project: dict[str, Any] | None = None,
    scene: dict[str, Any] | None = None,
    *,
    defaults: RequestDefaults = DEFAULTS,
    **overrides: Any,
) -> ResolvedRequest:
    """Resolve a film's only scene, given the `generation` of project and scene."""
    document = read_document(
        {
            "style": "film still",
            "generation": project,
            "scenes": {"one": {"scene_frame_prompt": " A lighthouse. ", "generation": scene}},
        }
    )
    return resolve_request(document, document.scenes[0], defaults, RequestOverrides(**overrides))


def test_settings_hold_where_nothing_else_is_said() -> None:
    request = resolve()
    assert (request.provider, request.endpoint) == ("offline", "offline/landscape")
    assert (request.width, request.height) == (1024, 576)
    assert (request.seed, request.steps, request.guidance) == (None, None, None)
    assert request.output_format == "jpeg"
    assert request.explicit_parameters == {}
    assert request.scene_prompt == " A lighthouse. "
    assert request.prompt == request.expanded_prompt == "A lighthouse.\n\nStyle: film still"


@pytest.mark.parametrize(
    ("name", "values", "attribute"),
    [
        ("seed", (1, 2, 3), "seed"),
        ("steps", (1, 2, 3), "steps"),
        ("guidance", (1.5, 2.5, None), "guidance"),
        ("output_format", ("png", "jpeg", None), "output_format"),
        ("image_size", ("square", "64x64", "32x32"), "size"),
        ("provider", ("fal", "offline", "fal"), "provider"),
    ],
)
def test_scene_beats_project_and_the_command_beats_both(
    name: str, values: tuple[Any, Any, Any], attribute: str
) -> None:
    in_project, in_scene, in_command = values
    shown = {"square": "512x512"}

    def value(**levels: Any) -> str:
        return str(getattr(resolve(**levels), attribute))

    assert value(project={name: in_project}) == shown.get(in_project, str(in_project))
    assert value(project={name: in_project}, scene={name: in_scene}) == str(in_scene)
    if in_command is not None:
        levels = {"project": {name: in_project}, "scene": {name: in_scene}, name: in_command}
        assert value(**levels) == str(in_command)


def test_a_seed_of_zero_is_a_seed() -> None:
    assert resolve({"seed": 5}, {"seed": 0}).seed == 0
    assert resolve({"seed": 5}, seed=0).explicit_parameters == {"seed": 0}


def test_arguments_are_merged_name_by_name() -> None:
    request = resolve({"arguments": {"a": 1, "b": 1}}, {"arguments": {"b": 2, "c": 2}})
    assert request.arguments == {"a": 1, "b": 2, "c": 2}
    assert request.explicit_parameters == {"arguments": {"a": 1, "b": 2, "c": 2}}


def test_settings_are_defaults_and_not_explicit_parameters() -> None:
    defaults = replace(DEFAULTS, steps=8, output_format="png")
    request = resolve(defaults=defaults)
    assert (request.steps, request.output_format) == (8, "png")
    assert request.explicit_parameters == {}
    assert resolve({"steps": 8}, defaults=defaults).explicit_parameters == {"steps": 8}


@pytest.mark.parametrize(
    ("project", "scene", "overrides", "expected"),
    [
        # a model without a provider is meant for Fal and chooses nobody
        ({"model": "m/fal"}, None, {}, ("offline", "offline/landscape")),
        ({"model": "m/fal"}, None, {"provider": "fal"}, ("fal", "m/fal")),
        ({"provider": "fal", "model": "m/fal"}, None, {}, ("fal", "m/fal")),
        (
            {"provider": "fal", "model": "m/fal"},
            None,
            {"provider": "offline"},
            ("offline", "offline/landscape"),
        ),
        # a scene's model goes with the provider that holds for the scene
        ({"provider": "fal", "model": "m/1"}, {"model": "m/2"}, {}, ("fal", "m/2")),
        (
            {"provider": "fal", "model": "m/1"},
            {"provider": "offline"},
            {},
            ("offline", "offline/landscape"),
        ),
        (
            {"provider": "fal", "model": "m/1"},
            {"provider": "offline", "model": "o/2"},
            {},
            ("offline", "o/2"),
        ),
        (
            {"provider": "fal", "model": "m/1"},
            {"provider": "offline", "model": "o/2"},
            {"provider": "fal"},
            ("fal", "m/1"),
        ),
        # a command means the provider that is used
        (None, None, {"model": "o/9"}, ("offline", "o/9")),
        ({"provider": "fal"}, {"model": "m/2"}, {"model": "m/9"}, ("fal", "m/9")),
    ],
)
def test_a_model_goes_with_the_provider_it_is_meant_for(
    project: dict[str, Any] | None,
    scene: dict[str, Any] | None,
    overrides: dict[str, Any],
    expected: tuple[str, str],
) -> None:
    request = resolve(project, scene, **overrides)
    assert (request.provider, request.endpoint) == expected


@pytest.mark.parametrize("levels", [{"project": {"provider": "nobody"}}, {"provider": "nobody"}])
def test_a_provider_that_does_not_exist_is_told(levels: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(**levels)
    assert caught.value.error_code == "unknown_provider"
    assert '"nobody"' in caught.value.message
    assert "fal, offline" in caught.value.next_action


def test_a_size_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="not an image size"):
        resolve(image_size="huge")
    with pytest.raises(UsageError, match="not an image size"):
        resolve(defaults=replace(DEFAULTS, image_size="huge"))


def test_a_suffix_is_sent_and_explicit_but_no_content_of_the_document() -> None:
    plain, request = resolve(), resolve(prompt_suffix=" At night. ")
    assert request.prompt == f"{plain.prompt}\n\nAt night."
    assert request.expanded_prompt == plain.expanded_prompt
    assert request.content_hash == plain.content_hash
    assert request.explicit_parameters == {"prompt_suffix": "At night."}


@pytest.mark.parametrize("overrides", [{"seed": 3}, {"steps": 3}, {"model": "o/9"}])
def test_parameters_do_not_change_the_content(overrides: dict[str, Any]) -> None:
    assert resolve(**overrides).content_hash == resolve().content_hash


def test_the_documents_size_is_content_and_a_commands_is_not() -> None:
    assert resolve({"image_size": "square"}).content_hash != resolve().content_hash

    request = resolve(image_size="square")
    assert (request.width, request.height) == (512, 512)
    assert str(request.document_size) == "1024x576"
    assert request.content_hash == resolve().content_hash
    assert request.explicit_parameters == {"image_size": "512x512"}


def test_white_space_around_a_prompt_is_no_change_of_content() -> None:
    def content(prompt: str) -> str:
        document = read_document({"scenes": {"one": {"scene_frame_prompt": prompt}}})
        return resolve_request(
            document, document.scenes[0], DEFAULTS, RequestOverrides()
        ).content_hash

    assert content("A lighthouse.\n") == content("A lighthouse.")
    assert content("A lighthouse!") != content("A lighthouse.")


@pytest.mark.parametrize(
    ("project", "scene", "overrides", "expected"),
    [
        (None, None, {}, "random"),
        ({"seed_policy": "fixed"}, None, {}, "fixed"),
        ({"seed_policy": "fixed"}, {"seed_policy": "reuse"}, {}, "reuse"),
        ({"seed_policy": "fixed"}, None, {"seed_policy": "increment"}, "increment"),
    ],
)
def test_a_seed_policy_follows_the_precedence_and_names_the_request(
    project: dict[str, Any] | None,
    scene: dict[str, Any] | None,
    overrides: dict[str, Any],
    expected: str,
) -> None:
    request = resolve(project, scene, **overrides)
    assert (request.seed_policy, request.seed) == (expected, None)
    named = {} if expected == "random" else {"seed_policy": expected}
    assert request.explicit_parameters == named


def test_a_policy_of_the_settings_does_not_name_the_request() -> None:
    request = resolve(defaults=replace(DEFAULTS, seed_policy="fixed"))
    assert (request.seed_policy, request.explicit_parameters) == ("fixed", {})


def test_a_seed_that_is_given_wins_over_every_policy() -> None:
    request = resolve({"seed": 7}, {"seed_policy": "reuse"}, seed_policy="increment")
    assert request.seed == 7
    assert request.explicit_parameters == {"seed": 7}


def test_other_words_are_sent_with_style_and_are_no_content_of_the_document() -> None:
    plain, request = resolve(), resolve(prompt=" A boat. ")
    assert request.prompt == "A boat.\n\nStyle: film still"
    assert (request.scene_prompt, request.expanded_prompt, request.content_hash) == (
        plain.scene_prompt,
        plain.expanded_prompt,
        plain.content_hash,
    )
    assert request.explicit_parameters == {"prompt": "A boat."}
    assert request.hash_with(7) != plain.hash_with(7)


def test_other_references_change_the_request_and_not_the_content() -> None:
    plain, request = resolve(), resolve(references=("https://example.com/a.png",))
    assert request.references == ("https://example.com/a.png",)
    assert request.document_references == plain.references
    assert request.content_hash == plain.content_hash
    assert request.explicit_parameters == {"references": ["https://example.com/a.png"]}
    assert request.hash_with(7) != plain.hash_with(7)


def test_candidates_name_the_request_where_there_are_several() -> None:
    assert resolve().image_count == resolve(candidates=1).image_count == 1
    assert resolve(candidates=1).explicit_parameters == {}
    request = resolve(candidates=3)
    assert (request.image_count, request.explicit_parameters) == (3, {"candidates": 3})
    assert request.content_hash == resolve().content_hash
    assert request.hash_with(7) != resolve().hash_with(7)


def test_what_is_behind_a_reference_is_content_and_part_of_the_request() -> None:
    unseen = read_document(
        {"references": ["asset:a"], "scenes": {"one": {"scene_frame_prompt": "A lighthouse."}}}
    )
    seen = replace(unseen, pictures={"asset:a": KnownPicture(sha256="a" * 64)})
    other = replace(unseen, pictures={"asset:a": KnownPicture(sha256="b" * 64)})
    requests = [
        resolve_request(document, document.scenes[0], DEFAULTS, RequestOverrides())
        for document in (unseen, seen, other)
    ]
    assert [request.document_digests for request in requests] == [
        (None,),
        ("a" * 64,),
        ("b" * 64,),
    ]
    assert len({request.content_hash for request in requests}) == 3
    assert len({request.hash_with(7) for request in requests}) == 3
    instead = resolve_request(
        seen, seen.scenes[0], DEFAULTS, RequestOverrides(references=("https://example.com/a.png",))
    )
    assert instead.content_hash == requests[1].content_hash
