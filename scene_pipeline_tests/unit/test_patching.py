"""Start frames are written into the imported text, and not a byte beside them changes."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import NotFoundError
from scene_pipeline.scenes.json_text import parse_document
from scene_pipeline.scenes.patching import export_document, patch_start_frames

URL = "https://frames.example/projects/1/scenes/a.jpeg"

PRETTY = """{
  "title": "Film",
  "scenes": {
    "a": {
      "scene_frame_prompt": "x",
      "weight": 1.50
    }
  }
}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            PRETTY,
            PRETTY.replace("1.50\n", f'1.50,\n      "scene_start_frame": "{URL}"\n'),
            id="indented",
        ),
        pytest.param(
            PRETTY.replace("\n", "\r\n"),
            PRETTY.replace("1.50\n", f'1.50,\n      "scene_start_frame": "{URL}"\n').replace(
                "\n", "\r\n"
            ),
            id="windows line ends",
        ),
        pytest.param(
            PRETTY.replace("  ", "\t"),
            PRETTY.replace("1.50\n", f'1.50,\n      "scene_start_frame": "{URL}"\n').replace(
                "  ", "\t"
            ),
            id="tabs",
        ),
        pytest.param(
            '{"scenes":{"a":{"p":"x","q":1}}}',
            f'{{"scenes":{{"a":{{"p":"x","q":1,"scene_start_frame":"{URL}"}}}}}}',
            id="compact",
        ),
        pytest.param(
            '{"scenes": {"a": {"p": "x"}}}',
            f'{{"scenes": {{"a": {{"p": "x", "scene_start_frame": "{URL}"}}}}}}',
            id="one line, one member",
        ),
        pytest.param(
            '{"scenes": {"a": { "p": "x" }}}',
            f'{{"scenes": {{"a": {{ "p": "x", "scene_start_frame": "{URL}" }}}}}}',
            id="one line, spaced braces",
        ),
        pytest.param(
            '{"scenes": {"a": {"p" : 1 , "q" : [ 2 ] } } }',
            f'{{"scenes": {{"a": {{"p" : 1 , "q" : [ 2 ], "scene_start_frame" : "{URL}" }} }} }}',
            id="wide",
        ),
        pytest.param(
            '{"scenes": {"a": {}}}',
            f'{{"scenes": {{"a": {{"scene_start_frame": "{URL}"}}}}}}',
            id="empty scene",
        ),
        pytest.param(
            '{"scenes": [{"id": "b"}, {"id": "a", "p": "x"}]}',
            f'{{"scenes": [{{"id": "b"}}, {{"id": "a", "p": "x", "scene_start_frame": "{URL}"}}]}}',
            id="list",
        ),
        pytest.param(
            '{"scenes": {"a": {"scene_start_frame": null, "p": "x"}}}',
            f'{{"scenes": {{"a": {{"scene_start_frame": "{URL}", "p": "x"}}}}}}',
            id="null is replaced",
        ),
        pytest.param(
            '{"scenes": {"a": {"p": "x", "scene_start_frame":"old" , "q": 1}}}',
            f'{{"scenes": {{"a": {{"p": "x", "scene_start_frame":"{URL}" , "q": 1}}}}}}',
            id="a value is replaced",
        ),
        pytest.param(
            '{"scenes": {"\\u0061": {"scene\\u005fstart_frame": "old"}}}',
            f'{{"scenes": {{"\\u0061": {{"scene\\u005fstart_frame": "{URL}"}}}}}}',
            id="escaped keys",
        ),
        pytest.param(
            '\ufeff \n{"scenes":{"a":{"p":1}}}\n\n',
            f'\ufeff \n{{"scenes":{{"a":{{"p":1,"scene_start_frame":"{URL}"}}}}}}\n\n',
            id="byte order mark and blank lines",
        ),
    ],
)
def test_a_start_frame_is_written_in_the_style_of_the_text(before: str, after: str) -> None:
    assert patch_start_frames(before, {"a": URL}) == after
    assert patch_start_frames(after, {"a": URL}) == after, "a second time changes nothing"


def test_the_same_url_in_another_spelling_is_left_alone() -> None:
    text = json.dumps({"scenes": {"a": {"scene_start_frame": URL}}}).replace("/", "\\/")
    assert patch_start_frames(text, {"a": URL}) == text


def test_members_of_the_same_name_elsewhere_are_not_touched() -> None:
    text = (
        '{"scene_start_frame": 1, "cast": {"a": {"scene_start_frame": 2}}, "scenes": {"a": {"p":'
        ' {"scene_start_frame": 3, "scenes": {"a": {}}}, "scene_start_frame": "old"}},'
        ' "x": {"scenes": {"a": {"scene_start_frame": 4}}}}'
    )
    assert patch_start_frames(text, {"a": URL}) == text.replace("old", URL)


def test_a_scene_that_the_text_does_not_hold_is_told() -> None:
    with pytest.raises(NotFoundError, match='no scene "b"'):
        patch_start_frames(PRETTY, {"b": URL})


def test_nothing_to_write_changes_nothing() -> None:
    assert patch_start_frames(PRETTY, {}) == PRETTY


text_values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text_values, inner, max_size=3),
    max_leaves=6,
)
scene_members = st.dictionaries(
    st.sampled_from(["p", "q", "scenes", "scene_start_frame", "\u00e9", "a b"]) | text_values,
    json_values,
    max_size=4,
)
written_styles = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 2, "\t"]),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,  ", " :\t"), (",\n", ":\n")]),
    }
)


@st.composite
def films(draw: st.DrawFn) -> dict[str, Any]:
    """A document around some scenes, which stand in an object or a list."""
    scenes: Any = draw(st.dictionaries(text_values, scene_members, min_size=1, max_size=4))
    if draw(st.booleans()):
        scenes = [{**scene, "id": scene_id} for scene_id, scene in scenes.items()]
    around = draw(st.dictionaries(text_values.filter(lambda k: k != "scenes"), json_values))
    members = [*around.items(), ("scenes", scenes)]
    return dict(draw(st.permutations(members)))


def with_frames(film: dict[str, Any], frames: dict[str, str]) -> dict[str, Any]:
    """The film with start frames, built the plain way."""
    copy: dict[str, Any] = json.loads(json.dumps(film))
    scenes = copy["scenes"]
    by_id = scenes if isinstance(scenes, dict) else {scene["id"]: scene for scene in scenes}
    for scene_id, url in frames.items():
        by_id[scene_id]["scene_start_frame"] = url
    return copy


def ids_of(film: dict[str, Any]) -> list[str]:
    """The ids of a film's scenes."""
    scenes = film["scenes"]
    return list(scenes) if isinstance(scenes, dict) else [scene["id"] for scene in scenes]


@given(films(), written_styles, st.data())
def test_the_patched_text_says_the_same_and_the_frames(
    film: dict[str, Any], style: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(film, **style)
    chosen = data.draw(st.lists(st.sampled_from(ids_of(film)), unique=True))
    frames = {scene_id: f"{URL}?{index}" for index, scene_id in enumerate(chosen)}
    patched = patch_start_frames(text, frames)
    assert json.loads(patched) == with_frames(film, frames)


@given(films(), written_styles, st.data())
def test_every_other_character_stays_where_it_was(
    film: dict[str, Any], style: dict[str, Any], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(ids_of(film)), unique=True))
    present = with_frames(film, dict.fromkeys(chosen, "https://old.example/frame"))
    text = json.dumps(present, **style)
    patched = patch_start_frames(text, dict.fromkeys(chosen, URL))
    assert patched.replace(json.dumps(URL), '"https://old.example/frame"') == text


def test_an_export_changes_nothing_but_start_frames() -> None:
    imported = PRETTY.replace("x", "caf\u00e9 \\u00e9").encode()
    current = parse_document(imported)
    current["scenes"]["a"]["scene_start_frame"] = URL
    exported = export_document(imported, current).decode()
    assert parse_document(exported.encode()) == current
    assert exported.replace(f',\n      "scene_start_frame": "{URL}"', "").encode() == imported


def test_an_export_without_changes_is_the_import() -> None:
    imported = b'\xef\xbb\xbf{"scenes":{"a":{"p":1.0}}}\r\n'
    assert export_document(imported, parse_document(imported)) == imported


def test_a_number_that_a_database_spells_otherwise_is_no_change() -> None:
    imported = b'{"scenes": {"a": {"p": 1.0, "q": 1e2}}}'
    assert export_document(imported, {"scenes": {"a": {"p": 1, "q": 100}}}) == imported


@pytest.mark.parametrize(
    "current",
    [
        {"scenes": {"a": {"p": "y", "scene_start_frame": URL}}},
        {"scenes": {"a": {"p": "x"}, "b": {"scene_start_frame": URL}}},
        {"scenes": {"b": {"p": "x"}}},
        {"scenes": {"a": {"p": "x", "scene_start_frame": None}}},
        {"scenes": {"a": {}}},
        {"scenes": {"a": {"p": "x"}}, "title": True},
        {"scenes": [{"id": "a", "p": "x"}]},
        {"scenes": {}},
        {},
    ],
)
def test_a_document_that_was_edited_is_written_as_it_is_now(current: dict[str, Any]) -> None:
    imported = b'{"scenes": {"a": {"p": "x"}}, "title": 1}'
    exported = export_document(imported, current)
    assert json.loads(exported) == current
    assert exported.decode() == json.dumps(json.loads(exported), indent=2) + "\n"


def test_a_truth_value_is_not_taken_for_a_number() -> None:
    exported = export_document(b'{"scenes": {"a": {"p": 1}}}', {"scenes": {"a": {"p": True}}})
    assert b"true" in exported


def test_a_rewritten_document_keeps_the_imported_order() -> None:
    imported = b'{"title": "x", "scenes": {"opening": {"z": 1, "p": 1}, "end": {"p": 2}}}'
    current = {"scenes": {"end": {"p": 3}, "opening": {"p": 1, "z": 1, "new": 0}}, "title": "x"}
    exported = export_document(imported, current)
    assert json.loads(exported) == current
    keys = re.findall(r'"(\w+)":', exported.decode())
    assert keys == ["title", "scenes", "opening", "z", "p", "new", "end", "p"]


def test_a_project_that_was_never_imported_can_be_exported() -> None:
    exported = export_document(None, {"scenes": {"a": {"p": "caf\u00e9"}}})
    assert (
        exported == '{\n  "scenes": {\n    "a": {\n      "p": "caf\u00e9"\n    }\n  }\n}\n'.encode()
    )


@given(films(), written_styles, st.data())
def test_an_export_always_equals_the_current_document(
    film: dict[str, Any], style: dict[str, Any], data: st.DataObject
) -> None:
    imported = json.dumps(film, **style).encode()
    current = data.draw(films() | st.just(film))
    assert json.loads(export_document(imported, current)) == current
