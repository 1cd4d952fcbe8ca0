"""Partition keys, slugs, storage keys and seeds."""

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import DocumentError, UsageError
from scene_pipeline.scenes import identity

PROJECT = UUID("0b5d6a1e-8f1c-4a53-9e0e-2f4b8a1c7d10")
MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4
# what the database's check constraint says, kept apart from the code under test
SQL_STORAGE_KEY = re.compile(r"^[a-z0-9][A-Za-z0-9/_.-]*$")

names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)
project_keys = names.filter(lambda text: identity.project_key_problem(text) is None)
scene_ids = names.filter(lambda text: identity.scene_id_problem(text) is None)


@given(project_keys, scene_ids)
def test_a_partition_key_gives_back_what_it_was_built_from(project: str, scene: str) -> None:
    key = identity.partition_key(project, scene)
    assert identity.parse_partition_key(key) == (project, scene)
    project_key = identity.project_partition_key(project)
    assert identity.parse_project_partition_key(project_key) == project


@given(project_keys, scene_ids)
def test_a_partition_key_is_short_and_free_of_what_dagster_trips_over(
    project: str, scene: str
) -> None:
    key = identity.partition_key(project, scene)
    assert re.fullmatch(r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+/(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+", key)
    assert ".." not in key
    assert len(key.encode()) <= 200


@given(st.tuples(project_keys, scene_ids), st.tuples(project_keys, scene_ids))
def test_different_scenes_have_different_partition_keys(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (identity.partition_key(*one) == identity.partition_key(*other)) == (one == other)


@given(st.text(st.sampled_from("ab./%2EeF_~- \u00e9"), max_size=12))
def test_only_canonical_spellings_of_a_key_are_accepted(text: str) -> None:
    try:
        parsed = identity.parse_partition_key(text)
    except UsageError:
        return
    assert identity.partition_key(*parsed) == text


@pytest.mark.parametrize(
    ("scene_id", "expected"),
    [
        ("scene_1", "film/scene_1"),
        ("../x", "film/%2E%2E%2Fx"),
        ("a/b", "film/a%2Fb"),
        ("a|b", "film/a%7Cb"),
        ("a,b", "film/a%2Cb"),
        ("[x]", "film/%5Bx%5D"),
        ("{}", "film/%7B%7D"),
        ("a...b", "film/a%2E%2E%2Eb"),
        ("v1.2", "film/v1.2"),
        ("50%", "film/50%25"),
        ("a b", "film/a%20b"),
        ("caf\u00e9", "film/caf%C3%A9"),
        ("cafe\u0301", "film/cafe%CC%81"),
        ("Scene_1", "film/Scene_1"),
    ],
)
def test_odd_scene_ids_are_encoded_rather_than_refused(scene_id: str, expected: str) -> None:
    assert identity.partition_key("film", scene_id) == expected


@pytest.mark.parametrize(
    "scene_id", ["", "a\nb", "a\x00", "\x7f", "a\x85b", "\ud800", "x" * 120, "\u00e9" * 20]
)
def test_scene_ids_that_no_key_can_hold_are_told(scene_id: str) -> None:
    problem = identity.scene_id_problem(scene_id)
    assert problem is not None
    assert problem.startswith("The scene id")
    assert problem.encode("utf-8")
    with pytest.raises(DocumentError) as caught:
        identity.partition_key("film", scene_id)
    assert caught.value.error_code == "bad_scene_id"


def test_the_longest_halves_fill_a_key_of_200_bytes_exactly() -> None:
    assert len(identity.partition_key("p" * 80, "s" * 119)) == 200
    with pytest.raises(DocumentError) as caught:
        identity.project_partition_key("p" * 81)
    assert caught.value.error_code == "bad_project_key"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "film",
        "/a",
        "film/",
        "a/b/c",
        "film/a%2fb",
        "film/%61",
        "film/a..b",
        "film/%FF",
        "film/a%",
        "film/a b",
        "film/\u00e9",
        "film/%0A",
        "film/" + "x" * 120,
        "film/\ud800",
    ],
)
def test_foreign_partition_keys_are_refused(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        identity.parse_partition_key(key)
    assert caught.value.error_code == "bad_partition_key"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My Film", "my-film"),
        ("  Caf\u00e9 -- No.1! ", "cafe-no-1"),
        ("a" * 100, "a" * 60),
        ("a" * 59 + " b", "a" * 59),
        ("\u0444\u0438\u043b\u044c\u043c", "untitled-f8b0119c"),
        ("", "untitled-e3b0c442"),
    ],
)
def test_slugs(text: str, expected: str) -> None:
    assert identity.slug(text) == expected


@given(st.text())
def test_a_slug_is_never_empty_and_always_plain(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?", identity.slug(text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lighthouse.json", "lighthouse"),
        ("films/My Film.JSON", "my-film"),
        ("C:\\films\\Noir v1.2.json", "noir-v1-2"),
        ("draft", "draft"),
    ],
)
def test_a_project_key_can_be_taken_from_a_file_name(name: str, expected: str) -> None:
    assert identity.project_key_from_filename(name) == expected


def test_a_frame_is_stored_under_project_scene_time_and_content() -> None:
    assert identity.frame_storage_key(PROJECT, "scene_1", MOMENT, DIGEST, "jpeg") == (
        f"projects/{PROJECT}/scenes/scene-1_20260304T050607Z_0123456789abcdef.jpeg"
    )


@pytest.mark.parametrize("project_id", [None, PROJECT])
def test_only_the_pages_among_reports_are_shown_as_pages(project_id: UUID | None) -> None:
    def key(extension: str) -> str:
        return identity.report_storage_key(project_id, "project_page", MOMENT, DIGEST, extension)

    assert identity.is_report_page(key("html"))
    assert not identity.is_report_page(key("csv"))
    assert not identity.is_report_page(f"assets/documents/{key('html')}")


def test_the_time_in_a_storage_key_is_utc() -> None:
    local = MOMENT.astimezone(timezone(timedelta(hours=-7)))
    assert identity.sheet_storage_key(PROJECT, local, DIGEST, "png") == (
        f"projects/{PROJECT}/sheets/sheet_20260304T050607Z_0123456789abcdef.png"
    )


def test_a_derivative_is_named_for_its_own_content_and_its_pictures_time() -> None:
    assert identity.derived_asset_key(DIGEST, "webp", MOMENT) == (
        "assets/derived/d_20260304T050607Z_0123456789abcdef.webp"
    )
    assert identity.derived_asset_key(DIGEST, "webp", MOMENT, digits=17).endswith("f0.webp")


def test_the_same_picture_stored_anew_has_other_forms_keys() -> None:
    later = MOMENT + timedelta(seconds=1)
    assert identity.derived_asset_key(DIGEST, "webp", MOMENT) != (
        identity.derived_asset_key(DIGEST, "webp", later)
    )


def test_an_asset_lies_in_the_folder_of_its_kind() -> None:
    assert identity.asset_storage_key("scene_video", MOMENT, DIGEST, "mp4") == (
        "assets/scene-videos/asset_20260304T050607Z_0123456789abcdef.mp4"
    )
    folders = {
        identity.asset_storage_key(kind, MOMENT, DIGEST, "bin").rsplit("/", 1)[0]
        for kind in identity.ASSET_KINDS
    }
    assert len(folders) == len(identity.ASSET_KINDS)


def test_ids_of_assets_are_opaque_and_of_one_form() -> None:
    ids = {identity.new_asset_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(identity.is_asset_id(asset_id) for asset_id in ids)
    assert identity.is_asset_id(identity.frame_asset_id(PROJECT))
    assert identity.parse_frame_asset_id(identity.frame_asset_id(PROJECT)) == PROJECT
    assert not identity.is_asset_id("ast_1; DROP TABLE")


@given(st.text())
def test_frame_keys_satisfy_the_database(scene_id: str) -> None:
    key = identity.frame_storage_key(PROJECT, scene_id, MOMENT, DIGEST, "png")
    assert SQL_STORAGE_KEY.match(key)
    assert ".." not in key
    assert "//" not in key
    assert len(key) <= 512
    assert identity.is_storage_key(key)


@given(st.lists(st.text(st.sampled_from("aA_-1 .\u00e9"), min_size=1), min_size=2, unique=True))
def test_scenes_whose_slugs_are_equal_have_different_storage_keys(scene_ids: list[str]) -> None:
    keys = {identity.frame_storage_key(PROJECT, s, MOMENT, DIGEST, "png") for s in scene_ids}
    assert len(keys) == len(scene_ids)


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "a/../b", "a/./b", "a/", "A/b", "a b", "a" * 513, "a\n", "\u00e9"]
)
def test_foreign_storage_keys_are_recognised(key: str) -> None:
    assert not identity.is_storage_key(key)


@pytest.mark.parametrize(
    ("moment", "digest", "extension"),
    [
        (MOMENT.replace(tzinfo=None), DIGEST, "png"),
        (MOMENT, DIGEST.upper(), "png"),
        (MOMENT, DIGEST[:63], "png"),
        (MOMENT, DIGEST, "../x"),
    ],
)
def test_a_storage_key_is_not_built_from_nonsense(
    moment: datetime, digest: str, extension: str
) -> None:
    with pytest.raises(ValueError, match=r"storage key|extension"):
        identity.frame_storage_key(PROJECT, "scene_1", moment, digest, extension)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_derived_seed_has_31_bits(idempotency_key: str) -> None:
    assert 0 <= identity.derive_seed(idempotency_key) < 2**31


def test_derived_seeds_never_change() -> None:
    assert identity.derive_seed("a") == 0x4A978112


def test_more_digits_make_other_keys_for_the_same_bytes() -> None:
    keys = {
        identity.frame_storage_key(PROJECT, "scene_1", MOMENT, DIGEST, "png", digits=digits)
        for digits in range(identity.KEY_DIGITS, identity.MAX_KEY_DIGITS + 1)
    }

    assert len(keys) == 49
    assert {identity.storage_key_time(key) for key in keys} == {MOMENT}


@pytest.mark.parametrize(
    "key",
    [
        f"assets/derived/d_{DIGEST[:32]}.webp",
        "projects/x/scenes/a_20261399T000000Z_0123456789abcdef.png",
        "projects/x/scenes/a_20260101T000000Z_0123.png",
        "projects/x/scenes/a_20260101T000000Z_0123456789abcdef.png/b",
    ],
)
def test_a_key_that_does_not_tell_its_time_is_asked_in_vain(key: str) -> None:
    assert identity.storage_key_time(key) is None


def test_each_candidate_has_a_key_of_its_own_for_the_same_bytes() -> None:
    keys = {
        identity.frame_storage_key(PROJECT, scene, MOMENT, DIGEST, "png", image_index=index)
        for scene in ("a", "a_c1", "a-c1", "a c1")
        for index in range(3)
    }
    assert len(keys) == 12
    assert all(identity.is_storage_key(key) for key in keys)
    assert {identity.storage_key_time(key) for key in keys} == {MOMENT.replace(microsecond=0)}


def test_a_fixed_seed_is_the_scenes_own_for_ever() -> None:
    seed = identity.fixed_seed(PROJECT, "scene_1")
    assert seed == identity.fixed_seed(PROJECT, "scene_1")
    assert seed != identity.fixed_seed(PROJECT, "scene_2")
    assert 0 <= seed < 2**31


def test_the_seed_after_the_last_is_the_first() -> None:
    assert [identity.next_seed(seed) for seed in (0, 7, 2**31 - 1)] == [1, 8, 0]
