"""What a master JSON says, and everything that is wrong with one at once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import DocumentError, Problem
from scene_pipeline.scenes.document import (
    MAX_SCENES,
    Character,
    GenerationOptions,
    parse_document,
    read_document,
)
from scene_pipeline.scenes.sizes import ImageSize

PROMPT = "scene_frame_prompt"


def film(**members: Any) -> dict[str, Any]:
    """A document of two sound scenes, changed where the test says."""
    scenes = {"scene_1": {PROMPT: "A lighthouse."}, "scene_2": {PROMPT: "The sea."}}
    return {"scenes": scenes, **members}


def film_with(scene: object, scene_id: str = "odd") -> dict[str, Any]:
    """A document in which one scene stands beside a sound one."""
    return {"scenes": {scene_id: scene, "sound": {PROMPT: "The sea."}}}


def refusal(document: dict[str, Any]) -> DocumentError:
    """The error with which a document is refused."""
    with pytest.raises(DocumentError) as caught:
        read_document(document)
    return caught.value


def only_problem(document: dict[str, Any]) -> Problem:
    """The one reason for which the scene `odd` is set aside while `sound` goes on."""
    read = read_document(document)
    assert [scene.scene_id for scene in read.scenes] == ["sound"]
    (problem,) = read.problems
    return problem


def test_scenes_may_be_an_object_keyed_by_id() -> None:
    read = read_document(film())
    assert [(s.scene_id, s.position, s.prompt) for s in read.scenes] == [
        ("scene_1", 1, "A lighthouse."),
        ("scene_2", 2, "The sea."),
    ]
    assert read.problems == ()


def test_scenes_may_be_a_list_of_objects_with_ids() -> None:
    scenes = [{"id": "b", PROMPT: "First."}, {"id": "a", PROMPT: "Second."}]
    read = read_document({"scenes": scenes})
    assert [(scene.scene_id, scene.position) for scene in read.scenes] == [("b", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({}, "no_scenes"),
        ({"scenes": {}}, "no_scenes"),
        ({"scenes": []}, "no_scenes"),
        ({"scenes": None}, "scenes_invalid"),
        ({"scenes": "scene_1"}, "scenes_invalid"),
        ({"scenes": 12}, "scenes_invalid"),
        ({"scenes": True}, "scenes_invalid"),
    ],
)
def test_a_document_without_usable_scenes_is_refused(document: dict[str, Any], code: str) -> None:
    error = refusal(document)
    assert error.error_code == code
    assert [(problem.code, problem.path) for problem in error.problems] == [(code, "$.scenes")]
    assert "scenes" in error.message


def test_a_document_may_not_have_endlessly_many_scenes() -> None:
    scenes = {f"s{i}": {PROMPT: "x"} for i in range(MAX_SCENES + 1)}
    assert "10000 are allowed" in refusal({"scenes": scenes}).message


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        ({}, "prompt_missing"),
        ({PROMPT: None}, "prompt_missing"),
        ({PROMPT: ""}, "prompt_empty"),
        ({PROMPT: " \n\t\u00a0"}, "prompt_empty"),
        ({PROMPT: 7}, "prompt_invalid"),
        ({PROMPT: ["A lighthouse."]}, "prompt_invalid"),
        ({PROMPT: {"text": "A lighthouse."}}, "prompt_invalid"),
        ({PROMPT: True}, "prompt_invalid"),
        ({PROMPT: "x" * 10_001}, "prompt_too_long"),
        ({PROMPT: "x" * 100_000}, "prompt_too_long"),
    ],
)
def test_a_scene_without_a_usable_prompt_is_set_aside(scene: dict[str, Any], code: str) -> None:
    problem = only_problem(film_with(scene))
    assert problem.code == code
    assert problem.path == "$.scenes.odd.scene_frame_prompt"
    assert problem.scene_id == "odd"
    assert problem.message.startswith('In scene "odd" `scene_frame_prompt` ')
    assert len(problem.message) < 200


def test_a_prompt_of_exactly_the_greatest_length_is_used() -> None:
    assert len(read_document(film_with({PROMPT: "\U0001f4a1" * 10_000})).scenes) == 2


@pytest.mark.parametrize("scene", ["A lighthouse.", None, 3, ["A lighthouse."]])
def test_a_scene_that_is_no_object_is_set_aside(scene: object) -> None:
    problem = only_problem(film_with(scene))
    assert (problem.code, problem.path) == ("schema", "$.scenes.odd")
    assert problem.message.startswith('Scene "odd" must be an object')


@pytest.mark.parametrize("scene_id", ["", "a\tb", "\x00", "x" * 200, "\u00e9" * 20, "\ud800"])
def test_a_scene_id_that_no_key_can_hold_sets_the_scene_aside(scene_id: str) -> None:
    problem = only_problem(film_with({PROMPT: "x"}, scene_id))
    assert problem.code == "bad_scene_id"
    assert problem.scene_id == scene_id
    assert problem.path.isascii()


@pytest.mark.parametrize("scene_id", ["../x", "a/b", "a|b", "a,b", "[x]", "...", "{}", " ", "50%"])
def test_odd_scene_ids_are_used_as_they_are(scene_id: str) -> None:
    read = read_document(film_with({PROMPT: "x"}, scene_id))
    assert [scene.scene_id for scene in read.scenes] == [scene_id, "sound"]


def test_ids_that_differ_in_case_or_composition_are_different_scenes() -> None:
    ids = ["Scene_1", "scene_1", "caf\u00e9", "cafe\u0301"]
    read = read_document({"scenes": {scene_id: {PROMPT: "x"} for scene_id in ids}})
    assert [scene.scene_id for scene in read.scenes] == ids


def test_scenes_that_share_an_id_are_all_set_aside() -> None:
    scenes = [{"id": "a", PROMPT: "x"}, {"id": "b", PROMPT: "y"}, {"id": "a", PROMPT: "z"}]
    read = read_document({"scenes": scenes})
    assert [scene.scene_id for scene in read.scenes] == ["b"]
    assert [(p.code, p.path, p.scene_id) for p in read.problems] == [
        ("duplicate_scene", "$.scenes[0]", "a"),
        ("duplicate_scene", "$.scenes[2]", "a"),
    ]


@pytest.mark.parametrize(
    ("scene", "code", "path"),
    [
        ({PROMPT: "x"}, "bad_scene_id", "$.scenes[1].id"),
        ({"id": 2, PROMPT: "x"}, "bad_scene_id", "$.scenes[1].id"),
        ({"id": None, PROMPT: "x"}, "bad_scene_id", "$.scenes[1].id"),
        ("x", "schema", "$.scenes[1]"),
    ],
)
def test_a_listed_scene_without_an_id_is_called_by_its_place(
    scene: object, code: str, path: str
) -> None:
    read = read_document({"scenes": [{"id": "a", PROMPT: "x"}, scene]})
    assert [s.scene_id for s in read.scenes] == ["a"]
    assert [(p.code, p.path, p.scene_id) for p in read.problems] == [(code, path, "scenes[1]")]


def test_a_document_whose_scenes_are_all_set_aside_is_not_refused() -> None:
    read = read_document({"scenes": {"a": {}, "b": {PROMPT: ""}}})
    assert read.scenes == ()
    assert [problem.scene_id for problem in read.problems] == ["a", "b"]


def test_places_count_the_scenes_that_are_set_aside() -> None:
    read = read_document({"scenes": {"a": {PROMPT: "x"}, "b": {}, "c": {PROMPT: "y"}}})
    assert [(scene.scene_id, scene.position) for scene in read.scenes] == [("a", 1), ("c", 3)]
    assert read.scene_order == ("a", "b", "c")


def test_the_order_of_the_film_can_be_given_where_a_database_lost_it() -> None:
    scenes = {key: {PROMPT: "x"} for key in ("finale", "new", "opening", "middle")}
    read = read_document({"scenes": scenes}, order=["opening", "gone", "middle", "finale"])
    assert read.scene_order == ("opening", "middle", "finale", "new")
    assert [scene.position for scene in read.scenes] == [1, 2, 3, 4]


def test_every_problem_of_a_document_is_reported_at_once() -> None:
    error = refusal(
        {
            "project": {"key": "a\x01b", "title": 5},
            "style": 3,
            "characters": [{"role": "keeper"}],
            "references": [{}],
            "generation": {
                "provider": "Bad One",
                "model": "a b",
                "image_size": "9x9",
                "seed": True,
                "steps": 0,
                "guidance": -1,
                "output_format": "gif",
                "arguments": [],
            },
            "scenes": {"scene_1": {}},
        }
    )
    paths = [problem.path for problem in error.problems]
    assert set(paths) == {
        "$.project.key",
        "$.project.title",
        "$.style",
        "$.characters[0]",
        "$.references[0]",
        *(f"$.generation.{name}" for name in ("provider", "model", "image_size", "seed", "steps")),
        *(f"$.generation.{name}" for name in ("guidance", "output_format", "arguments")),
        "$.scenes.scene_1.scene_frame_prompt",
    }
    assert len(paths) == len(set(paths))
    assert error.message.endswith("(13 more to correct).")
    assert all(problem.message.endswith(".") for problem in error.problems)
    assert [problem.scene_id for problem in error.problems] == [None] * 13 + ["scene_1"]


def test_a_refusal_is_called_by_its_first_reason() -> None:
    error = refusal(film(project={"key": ""}))
    assert error.error_code == "bad_project_key"
    assert error.message == "The project key is empty."


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"style": 3}, "`style` must be a text, or an object"),
        ({"generation": {"steps": 1.5}}, "`generation.steps` must be a whole number from 1 to 200"),
        ({"generation": {"seed": 2**31}}, "it is 2147483648"),
        ({"generation": {"output_format": "webp"}}, 'must be png or jpeg; it is "webp"'),
        ({"generation": {"model": "fal-ai/flux\n"}}, "`generation.model` must be"),
        ({"generation": {"provider": "fal\n"}}, "`generation.provider` must be"),
        ({"generation": []}, "`generation` must be an object that says how frames are made"),
        ({"project": "lighthouse"}, "`project` must be an object with `key` and `title`"),
        ({"negative_prompt": ["blurry"]}, "`negative_prompt` must be a text"),
        ({"characters": {"Ilsa": 3}}, "`characters.Ilsa` must be a description, or an object"),
        ({"references": "https://a.example/1.png"}, "`references` must be a list of URLs"),
        ({"style": "x" * 10_001}, "10001 characters, of which 10000 are allowed"),
    ],
)
def test_verdicts_are_sentences_about_the_field(member: dict[str, Any], words: str) -> None:
    error = refusal(film(**member))
    assert words in error.message
    assert error.error_code == "schema"


@pytest.mark.parametrize(
    "member",
    [
        {"generation": {"steps": "four"}},
        {"generation": {"image_size": "huge"}},
        {"generation": {"image_size": {"width": 20_000, "height": 20}}},
        {"generation": {"image_size": "10000x10000"}},
        {"characters": [3]},
        {"references": {}},
        {"scene_start_frame": {}},
        {"negative_prompt": 1},
        {"continuity_group": 1},
    ],
)
def test_a_malformed_field_of_a_scene_sets_only_that_scene_aside(member: dict[str, Any]) -> None:
    problem = only_problem(film_with({PROMPT: "x", **member}))
    assert problem.code == "schema"
    assert problem.scene_id == "odd"
    assert 'scene "odd"' in problem.message


def test_all_known_fields_are_read() -> None:
    read = read_document(
        {
            "project": {"key": "film", "title": " A Film "},
            "style": "noir",
            "negative_prompt": "text",
            "characters": {"Ilsa": "a keeper"},
            "references": ["https://a.example/look.png", {"asset": "17"}],
            "generation": {
                "provider": "fal",
                "model": "fal-ai/flux/dev",
                "image_size": {"width": 640, "height": 360},
                "seed": 7.0,
                "steps": 28,
                "guidance": 3.5,
                "output_format": "png",
                "arguments": {"acceleration": "none"},
            },
            "scenes": {
                "one": {
                    PROMPT: " A lighthouse. ",
                    "scene_start_frame": "https://a.example/1.png",
                    "generation": {"seed": 1},
                    "references": [{"url": "https://a.example/rock.png", "weight": 2}],
                    "characters": ["Ilsa"],
                    "negative_prompt": "people",
                    "continuity_group": "night",
                }
            },
        }
    )
    (scene,) = read.scenes
    assert (read.key, read.title, read.style, read.negative_prompt) == (
        "film",
        "A Film",
        "noir",
        "text",
    )
    assert read.characters == (Character("Ilsa", "a keeper"),)
    assert read.references == ("https://a.example/look.png", "asset:17")
    assert read.generation == GenerationOptions(
        provider="fal",
        model="fal-ai/flux/dev",
        image_size=ImageSize(640, 360),
        seed=7,
        steps=28,
        guidance=3.5,
        output_format="png",
        arguments={"acceleration": "none"},
    )
    assert isinstance(read.generation.seed, int)
    assert scene.prompt == " A lighthouse. ", "publishing compares the words exactly"
    assert scene.start_frame == "https://a.example/1.png"
    assert scene.generation == GenerationOptions(seed=1)
    assert scene.references == ("https://a.example/rock.png",)
    assert scene.character_names == ("Ilsa",)
    assert scene.own_characters == ()
    assert scene.negative_prompt == "people"
    assert scene.continuity_group == "night"


def test_null_means_that_a_field_is_not_there() -> None:
    names = ("project", "style", "negative_prompt", "characters", "references", "generation")
    bare = {"scenes": {"one": {PROMPT: "x"}}}
    scene_names = (*names[2:], "scene_start_frame", "continuity_group")
    nulls = {
        **dict.fromkeys(names),
        "scenes": {"one": {PROMPT: "x", **dict.fromkeys(scene_names)}},
    }
    assert read_document(nulls) == read_document(bare)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (" noir ", "noir"),
        ("", None),
        ({}, None),
        ({"mood": "grim", "lens": "35mm"}, "lens: 35mm; mood: grim"),
        (
            {"description": "noir", "colour_palette": ["teal", "amber"]},
            "noir; colour palette: teal, amber",
        ),
        ({"mood": "grim", "weight": 3, "nested": {"a": "b"}}, "mood: grim"),
    ],
)
def test_a_style_is_one_text_however_it_is_spelled(style: object, expected: str | None) -> None:
    assert read_document(film(style=style)).style == expected


@given(st.permutations(["mood", "lens", "description", "grain", "era"]))
def test_the_order_of_a_styles_members_changes_nothing(keys: list[str]) -> None:
    expected = "the description; era: the era; grain: the grain; lens: the lens; mood: the mood"
    assert read_document(film(style={key: f"the {key}" for key in keys})).style == expected


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        ({"Ilsa": "a keeper"}, Character("Ilsa", "a keeper")),
        ({"Ilsa": None}, Character("Ilsa")),
        ({"Ilsa": {"description": "a keeper", "age": 67}}, Character("Ilsa", "a keeper")),
        (
            {"ilsa": {"name": "Ilsa Brandt", "description": "a keeper", "reference": "asset:1"}},
            Character("Ilsa Brandt", "a keeper", ("asset:1",), ("ilsa",)),
        ),
        ([{"name": "Ilsa", "description": "a keeper"}], Character("Ilsa", "a keeper")),
        ([{"id": "c1", "name": "Ilsa"}], Character("Ilsa", aliases=("c1",))),
        (
            [{"id": "Ilsa", "references": ["a.png", "a.png"]}],
            Character("Ilsa", references=("a.png",)),
        ),
        (["Ilsa"], Character("Ilsa")),
    ],
)
def test_a_character_may_be_spelled_in_several_ways(
    characters: object, expected: Character
) -> None:
    assert read_document(film(characters=characters)).characters == (expected,)


def test_a_name_that_nobody_describes_is_noticed_and_no_reason_to_stop() -> None:
    document = film(characters={"Ilsa": "a keeper"})
    document["scenes"]["scene_1"]["characters"] = ["ILSA", "Nour"]
    read = read_document(document)
    assert len(read.scenes) == 2
    assert [(n.code, n.scene_id) for n in read.notices] == [("unknown_character", "scene_1")]
    assert '"Nour"' in read.notices[0].message


def test_names_in_a_film_that_describes_nobody_are_foreign_data() -> None:
    document = film()
    document["scenes"]["scene_1"]["characters"] = ["Ilsa"]
    assert read_document(document).notices == ()


def test_unknown_members_are_never_an_error_and_never_touched() -> None:
    foreign = {"a": [1, {"b": None}], "c": {"d": {"e": "f"}}}
    document = film(foreign=foreign, project={"key": "film", "foreign": foreign})
    document["generation"] = {"foreign": foreign}
    document["scenes"]["scene_1"] |= {"foreign": foreign, "scene_frame_prompt_notes": foreign}
    before = json.dumps(document)
    assert read_document(document).problems == ()
    assert json.dumps(document) == before


@given(
    st.dictionaries(
        st.sampled_from(["project", "style", "characters", "references", "generation", "scenes"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [PROMPT, "id", "name", "key", "image_size", "seed", "characters"]
                    )
                    | st.text(max_size=3),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_a_document_of_any_shape_is_read_or_refused_with_reasons(document: dict[str, Any]) -> None:
    try:
        problems = read_document(document).problems
    except DocumentError as error:
        problems = error.problems or (Problem("", "", "no reason given"),)
    assert all(problem.message.endswith(".") and problem.code for problem in problems)


def test_five_thousand_scenes_are_read() -> None:
    scene = {PROMPT: "A lighthouse at dusk. " * 20, "generation": {"seed": 4}, "duration": 5}
    data = json.dumps({"scenes": {f"scene_{i}": scene for i in range(5000)}}).encode()
    read = read_document(parse_document(data))
    assert len(read.scenes) == 5000
