"""The offline provider's pictures: deterministic, varied, led by the prompt's words."""

import base64
import io
import itertools
import os
import subprocess
import sys
from hashlib import sha256

import pytest
from PIL import Image, ImageStat

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, ReferencePicture, Submission
from scene_pipeline.providers.landscape.mood import read_mood
from scene_pipeline.providers.offline import OfflineProvider

PLACES = {
    "sea": "A lighthouse on the coast, waves, the keeper walks, a ship far out, gulls",
    "forest": "Deep pine forest, a man stands in a clearing",
    "mountain": "Mountain peaks above a valley",
    "city": "City streets and a skyline",
    "interior": "Inside the kitchen, a table, a man",
    "desert": "Dunes of the desert, a campfire",
    "field": "A cottage in a meadow, one oak",
}
HOURS = {
    "night": "at midnight under stars",
    "dawn": "at dawn",
    "day": "at noon",
    "golden": "at golden sunset",
    "dusk": "at dusk, twilight",
}
WEATHERS = {
    "clear": "clear and calm",
    "cloudy": "cloudy",
    "storm": "storm, thunder, lightning",
    "rain": "rain, a downpour",
    "snow": "snow, a blizzard",
    "fog": "fog, misty haze",
}


def request_for(prompt: str, seed: int = 1, **changes: object) -> ImageRequest:
    fields: dict[str, object] = {
        "generation_id": "g",
        "endpoint": "offline/landscape",
        "prompt": prompt,
        "seed": seed,
        "width": 256,
        "height": 144,
        **changes,
    }
    return ImageRequest(**fields)  # type: ignore[arg-type]  # a factory with overrides


def drawn(request: ImageRequest) -> Image.Image:
    picture = Image.open(io.BytesIO(OfflineProvider().read_image(request, 0)))
    picture.load()
    return picture


def test_every_place_hour_and_weather_is_read_from_its_words() -> None:
    for place, hour, weather in itertools.product(PLACES, HOURS, WEATHERS):
        mood = read_mood(f"{PLACES[place]}, {HOURS[hour]}, {WEATHERS[weather]}", 1)

        assert (mood.place, mood.hour, mood.weather) == (place, hour, weather)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("hour", "weather"), list(zip(itertools.cycle(HOURS), WEATHERS, strict=False))
)
def test_no_picture_is_of_a_single_colour(place: str, hour: str, weather: str) -> None:
    prompt = f"{PLACES[place]}, {HOURS[hour]}, {WEATHERS[weather]}"

    assert ImageStat.Stat(drawn(request_for(prompt)).convert("L")).stddev[0] > 8


@pytest.mark.parametrize("size", [(16, 16), (17, 400), (400, 17), (576, 1024), (333, 333)])
def test_any_shape_is_drawn_at_its_size(size: tuple[int, int]) -> None:
    request = request_for(PLACES["sea"], width=size[0], height=size[1], output_format="png")

    assert drawn(request).size == size


@pytest.mark.parametrize("size", [(15, 100), (100, 5000), (0, 0)])
def test_a_size_beyond_its_means_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ProviderError) as caught:
        OfflineProvider().submit(request_for("x", width=size[0], height=size[1]))

    assert (caught.value.error_code, caught.value.charge) == ("size_unsupported", "not_charged")


def test_the_same_request_is_the_same_bytes_in_every_process() -> None:
    request = request_for("A lighthouse in a storm at night, a ship, gulls", seed=42)
    here = sha256(OfflineProvider().read_image(request, 0)).hexdigest()
    program = (
        "from hashlib import sha256\n"
        "from scene_pipeline.providers.base import ImageRequest\n"
        "from scene_pipeline.providers.offline import OfflineProvider\n"
        f"print(sha256(OfflineProvider().read_image({request!r}, 0)).hexdigest())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        check=True,
        capture_output=True,
        text=True,
    )

    assert elsewhere.stdout.strip() == here


def test_seed_and_prompt_both_change_the_picture() -> None:
    pictures = {
        drawn(request_for(prompt, seed)).tobytes()
        for prompt in ("The sea at dawn", "The sea at dawn.")
        for seed in (1, 2)
    }

    assert len(pictures) == 4


@pytest.mark.parametrize("prompt", ["", "日本の海", "x" * 20_000, "\x00\ud800"])
def test_any_text_can_be_drawn(prompt: str) -> None:
    assert drawn(request_for(prompt)).size == (256, 144)


def test_there_is_no_second_picture() -> None:
    with pytest.raises(ProviderError):
        OfflineProvider().read_image(request_for("x"), 1)


def drawn_candidate(request: ImageRequest, index: int) -> bytes:
    return OfflineProvider().read_image(request, index)


def test_a_candidate_is_drawn_with_the_seed_after_the_one_before() -> None:
    request = request_for("The sea at dawn", 5, image_count=3)

    assert len(OfflineProvider().fetch_result(request, Submission("local:g")).images) == 3
    assert [drawn_candidate(request, index) for index in range(3)] == [
        drawn_candidate(request_for("The sea at dawn", 5 + index), 0) for index in range(3)
    ]


def test_a_picture_that_was_not_asked_for_is_not_drawn() -> None:
    with pytest.raises(ProviderError):
        drawn_candidate(request_for("x", image_count=3), 3)


def test_more_candidates_than_it_draws_are_refused() -> None:
    with pytest.raises(ProviderError) as caught:
        OfflineProvider().submit(request_for("x", image_count=9))

    assert (caught.value.error_code, caught.value.charge) == (
        "candidates_unsupported",
        "not_charged",
    )


def reference(colour: tuple[int, int, int], digest: str = "a" * 64) -> ReferencePicture:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(encoded, "PNG")
    data = base64.b64encode(encoded.getvalue()).decode()
    return ReferencePicture(digest, "image/png", f"data:image/png;base64,{data}", "scene_1")


def test_a_reference_lends_the_picture_its_colour() -> None:
    plain = ImageStat.Stat(drawn(request_for("The sea at dawn"))).mean
    red = ImageStat.Stat(
        drawn(request_for("The sea at dawn", references=(reference((255, 0, 0)),)))
    ).mean

    assert red[0] > plain[0] + 20
    assert red[2] < plain[2] - 20


@pytest.mark.parametrize(
    "url", ["https://example.com/a.png", "data:image/png;base64,!!", "data:image/png;base64,AAAA"]
)
def test_a_reference_it_cannot_read_still_makes_a_difference(url: str) -> None:
    pictures = {
        drawn(
            request_for(
                "The sea", references=(ReferencePicture(digest * 64, "image/png", url, "scene_1"),)
            )
        ).tobytes()
        for digest in "0f"
    }

    assert len(pictures) == 2
