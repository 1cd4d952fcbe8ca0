"""Names of reference pictures, what they may say in public, and what counts as another picture."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from scene_pipeline.database.references import OwnPicture
from scene_pipeline.pipeline.projects.pictures import what_is_meant
from scene_pipeline.scenes.references import (
    KnownPicture,
    described,
    read_name,
    replaced_pictures,
    shown_name,
)

ASSET = f"ast_{'0' * 26}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"asset:{ASSET}", "asset"),
        (f"asset: {ASSET} ", "asset"),
        (f"asset:frm_{'a' * 32}", "frame"),
        ("asset:noor-portrait", "unknown"),
        ("https://example.com/a.png", "address"),
        ("HTTPS://example.com/a.png", "address"),
        ("ftp://example.com/a.png", "address"),
        ("https://[", "address"),
        ("assets/images/asset_1.png", "key"),
        ("../etc/passwd", "unknown"),
        ("a portrait", "unknown"),
    ],
)
def test_a_name_is_taken_apart(text: str, kind: str) -> None:
    assert read_name(text).kind == kind


def test_a_frame_is_named_by_its_version() -> None:
    assert read_name(f"asset:frm_{'a' * 32}").frame_id == UUID("a" * 32)


def test_an_address_may_be_that_of_any_key_in_its_path() -> None:
    name = read_name("https://bucket.example/base/projects/p/scenes/s.png?signature=x")
    assert name.keys == (
        "base/projects/p/scenes/s.png",
        "projects/p/scenes/s.png",
        "p/scenes/s.png",
        "scenes/s.png",
    )


def test_messages_hold_no_signature_user_or_endless_name() -> None:
    shown = shown_name("https://me:pw@example.com/a.png?X-Signature=secret")
    assert shown == "https://example.com/a.png?..."
    assert len(shown_name("x" * 5000)) == 200
    assert shown_name("a\nb") == "a?b"
    assert described(f"asset:{ASSET}", "hero.png") == f"asset:{ASSET} (hero.png)"


@pytest.mark.parametrize(
    ("known", "headers", "is_still"),
    [
        ({"etag": '"a"', "size_bytes": 5}, ('"a"', None, 5), True),
        ({"etag": '"a"', "size_bytes": 5}, ('"b"', None, 5), False),
        ({"etag": '"a"', "size_bytes": 5}, ('"a"', None, 6), False),
        ({"etag": 'W/"a"', "size_bytes": 5}, ('W/"a"', None, 5), False),
        ({"etag": '"a"', "size_bytes": 5}, (None, None, 5), False),
        ({"last_modified": "Mon", "size_bytes": 5}, (None, "Mon", 5), True),
        ({"last_modified": "Mon", "size_bytes": 5}, (None, "Tue", 5), False),
        ({"size_bytes": 5}, (None, None, 5), False),
    ],
)
def test_only_a_server_that_says_so_has_the_same_picture(
    known: dict[str, Any], headers: tuple[str | None, str | None, int | None], is_still: bool
) -> None:
    assert KnownPicture(sha256="a" * 64, **known).is_still(*headers) is is_still
    assert not KnownPicture(**known).is_still(*headers)


def test_a_replaced_picture_is_one_that_both_contents_name() -> None:
    before = {"references": ["a", "b", "c"], "reference_digests": {"a": "1", "b": "2", "c": "3"}}
    after = {"references": ["b", "a", "d"], "reference_digests": {"a": "9", "b": "2", "d": "4"}}
    assert list(replaced_pictures(before, after)) == ["a"]
    assert list(replaced_pictures({}, after)) == []


KEY = "assets/images/hero.png"
BARE = OwnPicture(
    key=KEY, url=None, sha256="0" * 64, content_type="image/png", width=None, height=None,
    size_bytes=9, label=None, asset_id=None, frame_id=None, is_animated=False, is_deleted=False,
    is_rejected=False,
)  # fmt: skip
LIVE = replace(BARE, asset_id="ast_1", width=64, height=64)
DELETED = replace(LIVE, asset_id="ast_2", is_deleted=True)
REJECTED = replace(BARE, frame_id=UUID(int=1), is_rejected=True)


@pytest.mark.parametrize(
    ("own", "meant"),
    [
        ((BARE, DELETED, LIVE), LIVE),
        ((BARE, DELETED), DELETED),
        ((BARE, LIVE, REJECTED), REJECTED),
        ((BARE,), BARE),
        ((), None),
    ],
)
def test_of_all_that_share_an_object_the_one_that_says_most_is_meant(
    own: Sequence[OwnPicture], meant: OwnPicture | None
) -> None:
    for order in permutations(own):
        assert what_is_meant(read_name(KEY), order, None) == meant
