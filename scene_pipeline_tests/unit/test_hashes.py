"""Canonical JSON and the digests that stored rows are compared with."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.scenes.hashes import (
    canonical_json,
    content_hash,
    idempotency_key,
    prompt_sha256,
    request_hash,
)
from scene_pipeline.scenes.sizes import ImageSize

CONTENT: dict[str, Any] = {
    "expanded_prompt": "A lighthouse.",
    "negative_prompt": "text",
    "references": ("asset:1", "asset:2"),
    "size": ImageSize(1024, 576),
    "expansion_version": 1,
}
REQUEST: dict[str, Any] = {
    "provider": "fal",
    "endpoint": "fal-ai/flux/schnell",
    "prompt": "A lighthouse.",
    "negative_prompt": "text",
    "references": ("asset:1", "asset:2"),
    "size": ImageSize(1024, 576),
    "seed": 7,
    "steps": 4,
    "guidance": 3.5,
    "output_format": "jpeg",
    "arguments": {"acceleration": "none"},
}
GENERATION: dict[str, Any] = {
    "project_id": UUID("0b5d6a1e-8f1c-4a53-9e0e-2f4b8a1c7d10"),
    "scene_id": "scene_1",
    "content_hash": "c" * 64,
    "endpoint": "fal-ai/flux/schnell",
    "explicit_parameters": {"seed": 7},
    "token": "",
    "candidate_index": 0,
}


def test_digests_never_change() -> None:
    """Rows of every installation hold them: another digest would make all frames stale at once."""
    assert content_hash(**CONTENT) == (
        "72777e37fb50f1bdfde46eaffc99406b800eddb3922af9e86e2b6308ef7b6634"
    )
    assert request_hash(**REQUEST) == (
        "f1ec64e850f7c5bd049c19b8761aaa9c6002ac715f49e911ca22f3693680cac4"
    )
    assert idempotency_key(**GENERATION) == (
        "4a007e867f3253302c153d28826c1b324ae7007f0c5b7bb448694864b7e07b5b"
    )
    assert prompt_sha256("caf\u00e9") == (
        "850f7dc43910ff890f8879c0ed26fe697c93a067ad93a7d50f466a7028a9bf4e"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"expanded_prompt": "A lighthouse"},
        {"negative_prompt": None},
        {"references": ("asset:2", "asset:1")},
        {"references": ()},
        {"reference_digests": ("a" * 64, None)},
        {"size": ImageSize(576, 1024)},
        {"expansion_version": 2},
    ],
)
def test_whatever_changes_the_content_changes_its_hash(change: dict[str, Any]) -> None:
    assert content_hash(**(CONTENT | change)) != content_hash(**CONTENT)


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "offline"},
        {"endpoint": "fal-ai/flux/dev"},
        {"prompt": "A lighthouse. At night."},
        {"negative_prompt": None},
        {"references": ()},
        {"size": ImageSize(576, 1024)},
        {"seed": 8},
        {"seed": None},
        {"steps": None},
        {"guidance": 3.6},
        {"output_format": "png"},
        {"arguments": {}},
    ],
)
def test_whatever_is_sent_is_part_of_the_request_hash(change: dict[str, Any]) -> None:
    assert request_hash(**(REQUEST | change)) != request_hash(**REQUEST)


@pytest.mark.parametrize(
    "change",
    [
        {"project_id": UUID(int=1)},
        {"scene_id": "scene_2"},
        {"content_hash": "d" * 64},
        {"endpoint": "fal-ai/flux/dev"},
        {"explicit_parameters": {}},
        {"explicit_parameters": {"seed": 8}},
        {"token": "request:1"},
        {"candidate_index": 1},
    ],
)
def test_whatever_is_worth_paying_for_again_changes_the_key(change: dict[str, Any]) -> None:
    assert idempotency_key(**(GENERATION | change)) != idempotency_key(**GENERATION)


def test_pictures_that_were_never_seen_leave_the_hash_as_it_was() -> None:
    plain = content_hash(**(CONTENT | {"references": ()}))
    assert plain == "4afc109b8b3f129f0a439df12e06f27b2fb3887e1559483990bc6545a80d01bc"
    assert content_hash(**(CONTENT | {"references": ()}), reference_digests=()) == plain
    unseen = content_hash(**CONTENT, reference_digests=(None, None))
    assert unseen == content_hash(**CONTENT)
    seen = content_hash(**CONTENT, reference_digests=("a" * 64, "b" * 64))
    assert seen == "3aee908d5200b16aab290329f655a969504ffefa89f86ab865a5d76fc6e78614"


def test_which_picture_is_behind_which_name_matters() -> None:
    one = content_hash(**CONTENT, reference_digests=("a" * 64, "b" * 64))
    assert content_hash(**CONTENT, reference_digests=("b" * 64, "a" * 64)) != one
    assert content_hash(**CONTENT, reference_digests=("a" * 64, None)) != one


def test_no_negative_prompt_and_an_empty_one_are_the_same() -> None:
    nothing = content_hash(**(CONTENT | {"negative_prompt": None}))
    assert content_hash(**(CONTENT | {"negative_prompt": ""})) == nothing


def test_prompts_are_hashed_as_they_are() -> None:
    assert prompt_sha256("caf\u00e9") != prompt_sha256("cafe\u0301")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ([7, 7.0, 7e0], "[7,7,7]"),
        ([-0.0, 0.1, 1e-9], "[0,0.1,1e-09]"),
        (1e22, "10000000000000000000000"),
        ("caf\u00e9\u2028", '"caf\u00e9\u2028"'),
        ((1, 2), "[1,2]"),
    ],
)
def test_equal_values_have_one_canonical_text(value: object, expected: str) -> None:
    assert canonical_json(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_what_json_does_not_have_is_not_hashed(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(json_values)
def test_canonical_json_says_the_same_and_is_stable(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers()))
def test_the_order_of_members_changes_nothing(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_what_is_usual_leaves_the_hash_of_a_request_as_it_was() -> None:
    assert request_hash(**REQUEST, image_count=1, reference_digests=()) == request_hash(**REQUEST)
    others = {
        request_hash(**REQUEST),
        request_hash(**REQUEST, image_count=2),
        request_hash(**REQUEST, reference_digests=("a" * 64,)),
        request_hash(**REQUEST, reference_digests=("a" * 64, "b" * 64)),
        request_hash(**REQUEST, reference_digests=("b" * 64, "a" * 64)),
    }
    assert len(others) == 5
