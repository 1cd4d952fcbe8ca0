"""What is sent to a Fal model depends on its family, and on nothing that was not asked for."""

from typing import Any

import pytest

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.aspect_ratios import nearest_aspect_ratio
from scene_pipeline.providers.base import ImageRequest, ReferencePicture
from scene_pipeline.providers.fal_arguments import build_arguments
from scene_pipeline.providers.fal_models import model_family


def request_for(endpoint: str, **changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "g",
        "endpoint": endpoint,
        "prompt": "A quiet harbour",
        "seed": 7,
        "width": 1024,
        "height": 576,
        "negative_prompt": "text, watermark",
        "steps": 4,
        "guidance": 3.5,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


def test_the_flux_family_gets_its_parameters_and_no_negative_prompt() -> None:
    assert build_arguments(request_for("fal-ai/flux/schnell", output_format="png")) == {
        "prompt": "A quiet harbour",
        "seed": 7,
        "image_size": {"width": 1024, "height": 576},
        "num_images": 1,
        "num_inference_steps": 4,
        "guidance_scale": 3.5,
        "output_format": "png",
    }


def test_what_was_not_asked_for_is_left_to_the_model() -> None:
    sent = build_arguments(request_for("fal-ai/flux/dev", steps=None, guidance=None))

    assert not {"num_inference_steps", "guidance_scale", "enable_safety_checker"} & sent.keys()


@pytest.mark.parametrize(
    ("endpoint", "absent"),
    [
        ("fal-ai/flux-pro/v1.1", {"num_inference_steps", "guidance_scale"}),
        ("fal-ai/flux-pro/v1.1-ultra", {"image_size", "num_inference_steps"}),
        ("fal-ai/flux-2-pro", {"num_images", "guidance_scale"}),
        ("fal-ai/never-heard-of", {"negative_prompt"}),
    ],
)
def test_parameters_a_family_does_not_take_are_left_out(endpoint: str, absent: set[str]) -> None:
    assert not absent & build_arguments(request_for(endpoint)).keys()


def test_families_that_take_a_negative_prompt_get_it() -> None:
    sent = build_arguments(request_for("fal-ai/fast-sdxl"))

    assert sent["negative_prompt"] == "text, watermark"


def test_a_family_is_found_by_whole_segments_and_the_longest_prefix() -> None:
    assert "image_size" in build_arguments(request_for("fal-ai/flux-pro/v1.1"))
    ultra = build_arguments(request_for("fal-ai/flux-pro/v1.1-ultra"))
    assert ultra["aspect_ratio"] == "16:9"


def test_further_arguments_pass_through() -> None:
    arguments = {"enable_safety_checker": False, "acceleration": "high"}
    sent = build_arguments(request_for("fal-ai/flux/dev", arguments=arguments))

    assert sent["enable_safety_checker"] is False
    assert sent["acceleration"] == "high"


@pytest.mark.parametrize(
    ("size", "name"),
    [((1920, 1080), "16:9"), ((1024, 1024), "1:1"), ((900, 1600), "9:16"), ((1000, 760), "4:3")],
)
def test_a_size_in_pixels_becomes_the_nearest_ratio(size: tuple[int, int], name: str) -> None:
    assert (
        nearest_aspect_ratio(*size, model_family("fal-ai/flux-pro/kontext").aspect_ratios) == name
    )


REFERENCE = ReferencePicture(
    "a" * 64, "image/png", "https://example.com/a.png", "scene_1 version 1"
)


@pytest.mark.parametrize(
    ("endpoint", "sent"),
    [
        ("fal-ai/flux-pro/kontext", {"image_url": REFERENCE.url}),
        ("fal-ai/flux-pro/kontext/max", {"image_url": REFERENCE.url}),
        ("fal-ai/flux-pro/kontext/max/multi", {"image_urls": [REFERENCE.url]}),
        ("fal-ai/flux/dev/image-to-image", {"image_url": REFERENCE.url}),
        ("fal-ai/flux-pro/v1.1-ultra", {"image_url": REFERENCE.url}),
        ("fal-ai/flux-2/edit", {"image_urls": [REFERENCE.url]}),
        ("fal-ai/nano-banana-pro/edit", {"image_urls": [REFERENCE.url]}),
        ("fal-ai/bytedance/seedream/v4/edit", {"image_urls": [REFERENCE.url]}),
        ("fal-ai/qwen-image-edit", {"image_url": REFERENCE.url}),
        ("somebody/their-model/edit", {"image_urls": [REFERENCE.url]}),
        ("fal-ai/never-heard-of/image-to-image", {"image_url": REFERENCE.url}),
    ],
)
def test_a_reference_is_sent_the_way_the_family_takes_it(
    endpoint: str, sent: dict[str, Any]
) -> None:
    arguments = build_arguments(request_for(endpoint, references=(REFERENCE,)))
    assert {name: arguments[name] for name in arguments if name.startswith("image_url")} == sent
    assert model_family(endpoint).max_references >= 1


def test_a_picture_made_from_another_gets_its_size() -> None:
    arguments = build_arguments(
        request_for("fal-ai/flux/dev/image-to-image", references=(REFERENCE,))
    )
    assert not {"image_size", "aspect_ratio"} & arguments.keys()


@pytest.mark.parametrize(
    ("endpoint", "count"),
    [
        ("fal-ai/flux/schnell", 1),
        ("fal-ai/flux-pro/kontext/text-to-image", 1),
        ("fal-ai/never-heard-of", 1),
        ("fal-ai/flux-pro/kontext", 2),
    ],
)
def test_more_references_than_a_model_takes_are_refused(endpoint: str, count: int) -> None:
    with pytest.raises(ProviderError) as caught:
        build_arguments(request_for(endpoint, references=(REFERENCE,) * count))
    assert (caught.value.error_code, caught.value.charge) == (
        "references_unsupported",
        "not_charged",
    )


@pytest.mark.parametrize(
    "endpoint", ["fal-ai/flux-pro/kontext", "fal-ai/nano-banana/edit", "fal-ai/new/image-to-image"]
)
def test_a_model_that_edits_is_not_asked_without_a_picture(endpoint: str) -> None:
    with pytest.raises(ProviderError) as caught:
        build_arguments(request_for(endpoint))

    assert (caught.value.error_code, caught.value.charge) == ("reference_required", "not_charged")
    assert model_family(endpoint).reference_limits.is_required


def test_a_models_own_ratios_are_the_ones_it_is_asked_for() -> None:
    sent = build_arguments(request_for("fal-ai/imagen4/preview", width=2100, height=900))

    assert sent["aspect_ratio"] == "16:9", "it does not know 21:9"
    assert sent["num_images"] == 1


def test_candidates_are_asked_for_in_one_request() -> None:
    assert build_arguments(request_for("fal-ai/flux/dev", image_count=4))["num_images"] == 4


@pytest.mark.parametrize(("endpoint", "count"), [("fal-ai/flux/dev", 5), ("fal-ai/flux-2-pro", 2)])
def test_more_candidates_than_a_model_makes_are_refused(endpoint: str, count: int) -> None:
    with pytest.raises(ProviderError) as caught:
        build_arguments(request_for(endpoint, image_count=count))
    assert (caught.value.error_code, caught.value.charge) == (
        "candidates_unsupported",
        "not_charged",
    )
