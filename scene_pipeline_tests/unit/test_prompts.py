"""How a scene's own words become the prompt that is sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.scenes.document import read_document
from scene_pipeline.scenes.prompts import ExpandedPrompt, expand_prompt


def expand(prompt: str = "Ilsa waits.", *, scene: Any = None, **members: Any) -> ExpandedPrompt:
    """The expanded prompt of a film's only scene."""
    document = read_document(
        {"scenes": {"one": {"scene_frame_prompt": prompt, **(scene or {})}}, **members}
    )
    return expand_prompt(document, document.scenes[0])


CAST = {
    "Ilsa": {"description": "an old keeper", "references": ["asset:ilsa"]},
    "Noor": {"description": "a girl in orange"},
}


def test_a_scene_alone_is_sent_unchanged_but_for_white_space_around_it() -> None:
    prompt = "  Two  spaces,\n\u202eRTL\u202c, caf\u0065\u0301 \U0001f4a1 \u2028 end \n"
    assert expand(prompt) == ExpandedPrompt(prompt.strip(), None, (), ())


def test_the_scene_comes_first_then_its_characters_then_the_style() -> None:
    expanded = expand("Noor looks up. Ilsa waits.", characters=CAST, style="film still")
    assert expanded.text == (
        "Noor looks up. Ilsa waits.\n\n"
        "Noor: a girl in orange\nIlsa: an old keeper\n\n"
        "Style: film still"
    )
    assert [character.name for character in expanded.characters] == ["Noor", "Ilsa"]


@pytest.mark.parametrize(
    ("prompt", "is_mentioned"),
    [
        ("Ilsa waits.", True),
        ("ILSA waits.", True),
        ("The hands of ilsa, wet.", True),
        ("Ilsa's lamp.", True),
        ("(Ilsa)", True),
        ("Ilsabeth waits.", False),
        ("Milsa waits.", False),
        ("Ilsa_2 waits.", False),
        ("The sea.", False),
    ],
)
def test_a_character_is_found_by_its_name_as_a_whole_word(prompt: str, is_mentioned: bool) -> None:
    assert ("an old keeper" in expand(prompt, characters=CAST).text) == is_mentioned


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("\u5c0f\u660e", "\u9ed1\u591c\u91cc\u5c0f\u660e\u8d70\u5728\u6d77\u8fb9"),
        ("\ubbfc\uc218", "\ubbfc\uc218\uac00 \uac77\ub294\ub2e4"),
        (
            "\u0418\u043b\u044c\u0437\u0430",
            "\u0418\u041b\u042c\u0417\u0410 \u0436\u0434\u0451\u0442.",
        ),
        ("C-3PO (old)", "There stands c-3po (old)."),
        (".*", "A poster says .* in red."),
    ],
)
def test_names_of_every_script_are_found(name: str, prompt: str) -> None:
    expanded = expand(prompt, characters={name: "as described"})
    assert [character.name for character in expanded.characters] == [name]


def test_a_name_is_not_read_as_a_pattern() -> None:
    assert expand("A lighthouse.", characters={".*": "anything"}).characters == ()


def test_every_name_of_a_character_finds_it_once() -> None:
    cast = [{"id": "keeper", "name": "Ilsa Brandt", "description": "an old keeper"}]
    expanded = expand("The keeper, Ilsa Brandt, waits.", characters=cast)
    assert expanded.text.count("Ilsa Brandt: an old keeper") == 1


def test_a_scene_that_names_its_characters_gets_those_and_no_others() -> None:
    expanded = expand("Ilsa waits.", scene={"characters": ["noor"]}, characters=CAST)
    assert [character.name for character in expanded.characters] == ["Noor"]


def test_an_empty_list_of_characters_means_nobody() -> None:
    expanded = expand("A portrait of Ilsa.", scene={"characters": []}, characters=CAST)
    assert expanded.text == "A portrait of Ilsa."


def test_names_that_nobody_describes_add_nothing() -> None:
    assert expand(scene={"characters": ["Nour"]}, characters=CAST).text == "Ilsa waits."


@pytest.mark.parametrize("own", [{"Ilsa": "a child"}, [{"name": "Ilsa", "description": "a child"}]])
def test_a_scenes_own_description_hides_the_projects(own: object) -> None:
    assert expand(scene={"characters": own}, characters=CAST).text.endswith("Ilsa: a child")


def test_a_character_without_a_description_only_lends_its_references() -> None:
    expanded = expand(characters={"Ilsa": {"reference": "asset:ilsa"}})
    assert (expanded.text, expanded.references) == ("Ilsa waits.", ("asset:ilsa",))


def test_references_are_the_scenes_then_the_characters_then_the_projects() -> None:
    expanded = expand(
        scene={"references": ["asset:rock", "asset:look"]},
        characters=CAST,
        references=["asset:look", "asset:mood"],
    )
    assert expanded.references == ("asset:rock", "asset:look", "asset:ilsa", "asset:mood")


def test_a_scenes_negative_prompt_replaces_the_projects() -> None:
    assert expand(negative_prompt="text").negative == "text"
    assert expand(negative_prompt="text", scene={"negative_prompt": "people"}).negative == "people"
    assert expand(negative_prompt="text", scene={"negative_prompt": " "}).negative == "text"


@given(st.permutations(["Ilsa", "Noor", "Tove", "Per"]))
def test_the_order_in_which_characters_are_kept_changes_nothing(names: list[str]) -> None:
    expanded = expand("Per, Noor, Tove and Ilsa.", characters={n: f"is {n}" for n in names})
    assert [character.name for character in expanded.characters] == ["Per", "Noor", "Tove", "Ilsa"]
