"""Why pictures cannot be sent, told before a run and without any key."""

import json
from typing import Any

from scene_pipeline.pipeline.references.refusals import PictureRefusals
from scene_pipeline.scenes.document import ProjectDocument, read_document
from scene_pipeline.scenes.requests import (
    RequestDefaults,
    RequestOverrides,
    ResolvedRequest,
    resolve_request,
)
from scene_pipeline_tests.films import film

PICTURES = [f"https://example.com/{name}.png" for name in "ab"]
NEEDS_ONE = "fal-ai/flux-2/edit"
TAKES_NONE = "fal-ai/flux/schnell"
DEFAULTS = RequestDefaults(provider="fal", models={"fal": TAKES_NONE}, image_size="64x64")


def document(**scenes: dict[str, Any]) -> ProjectDocument:
    """A film with what its scenes are said to have besides a prompt."""
    given = json.loads(film(dict.fromkeys(scenes, "A pier")))
    for scene_id, members in scenes.items():
        given["scenes"][scene_id] |= members
    return read_document(given)


def refusals(film: ProjectDocument, model: str, **overrides: Any) -> list[str | None]:
    """Codes by scene, in their order."""
    asked = PictureRefusals(film)
    wishes = RequestOverrides(model=model, **overrides)
    found = []
    for scene in film.scenes:
        request: ResolvedRequest = resolve_request(film, scene, DEFAULTS, wishes)
        refused = asked.of(scene.scene_id, request)
        found.append(refused.code if refused else None)
    return found


def test_a_model_that_needs_a_picture_and_gets_none_is_told() -> None:
    film = document(bare={}, named={"references": PICTURES[:1]})

    assert refusals(film, NEEDS_ONE) == ["reference_required", None]
    assert refusals(film, NEEDS_ONE, references=()) == ["reference_required"] * 2
    assert refusals(film, TAKES_NONE) == [None, "references_unsupported"]


def test_a_scene_that_goes_on_from_the_one_before_has_a_picture() -> None:
    night = {"continuity_group": "night"}
    film = document(first=night, alone={"continuity_group": "day"}, second=night)

    assert refusals(film, NEEDS_ONE) == ["reference_required", "reference_required", None]


def test_more_pictures_than_the_model_takes_are_told_whoever_names_them() -> None:
    film = document(one={"references": PICTURES[:1]})

    named = tuple(f"https://example.com/{number}.png" for number in range(20))
    assert refusals(film, NEEDS_ONE, references=named) == ["references_unsupported"]
    assert refusals(film, TAKES_NONE, references=tuple(PICTURES)) == ["references_unsupported"]
    assert refusals(film, TAKES_NONE, references=()) == [None]
