"""What is refused before anybody asks what a document means."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import DocumentError
from scene_pipeline.scenes.json_text import MAX_DEPTH, MAX_DOCUMENT_BYTES, parse_document

storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable_text,
    lambda children: st.lists(children) | st.dictionaries(storable_text, children),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "document_empty", "is empty"),
        (b" \r\n\t", "document_empty", "is empty"),
        (b"\xef\xbb\xbf", "document_empty", "is empty"),
        ('{"a": "\u00e9"}'.encode("latin-1"), "not_utf8", "byte 7 (line 1)"),
        ('{"a": 1}'.encode("utf-16"), "not_utf8", "UTF-16"),
        ('{"a": 1}'.encode("utf-32"), "not_utf8", "UTF-32"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8", "byte 7"),
        (b'{"a": {"b": 1}', "not_json", "cut off (line 1, column 15)"),
        (b'{"a": "b', "not_json", "never closed (line 1, column 7)"),
        (b'{"a": 1,\n}', "not_json", "comma too many before line 2, column 1"),
        (b'{"a": [1,]}', "not_json", "comma too many before line 1, column 10"),
        (b'{"a": 1}\n{"b": 2}', "not_json", "after the end of the document (line 2, column 1)"),
        (b'{"a" 1}', "not_json", "colon is missing"),
        (b'{"a": 1 "b": 2}', "not_json", "comma is missing"),
        (b"{'a': 1}", "not_json", "double quotation marks"),
        (b'{"a": "b\nc"}', "not_json", "line break"),
        (b'{"a": "\\q"}', "not_json", "backslash"),
        (b"{a: 1}", "not_json", "line 1, column 2"),
        (b'{"a": tru}', "not_json", "line 1, column 7"),
        (b"scenes: []", "not_json", "line 1, column 1"),
        (b'{"a": NaN}', "number_invalid", "$.a is NaN"),
        (b'{"a": [0, -Infinity]}', "number_invalid", "$.a[1] is -Infinity"),
        (b'{"a": 1e999}', "number_invalid", "$.a is 1e999"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_invalid", "digits"),
        (b'{"a": 1, "a": 2}', "duplicate_key", "'a' stands twice in $."),
        (b'{"s": [{"x": {"id": 1, "id": 1}}]}', "duplicate_key", "'id' stands twice in $.s[0].x."),
        (b'{"a b": {"c": "x\\u0000y"}}', "nul_character", '$["a b"].c'),
        (b'{"\\u0000": 1}', "nul_character", "a key of $"),
        (b'{"a": ["\\ud83d"]}', "lone_surrogate", "$.a[0]"),
        (b'{"\\udc00": 1}', "lone_surrogate", "a key of $"),
        (b"[]", "not_an_object", "it is a list"),
        (b'"text"', "not_an_object", "it is a text"),
        (b"3", "not_an_object", "it is a number"),
        (b"true", "not_an_object", "it is true"),
        (b"null", "not_an_object", "it is null"),
    ],
)
def test_unusable_bytes_get_one_clear_sentence(data: bytes, code: str, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(data)
    assert caught.value.error_code == code
    assert words in caught.value.message
    assert caught.value.message.count("\n") == 0
    assert caught.value.message.encode("utf-8")
    assert [problem.code for problem in caught.value.problems] == [code]


def test_the_size_is_checked_before_anything_else() -> None:
    data = b"\xff" * (MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(DocumentError) as caught:
        parse_document(data)
    assert caught.value.error_code == "document_too_large"
    assert "20.0 MB" in caught.value.message


def test_a_document_of_exactly_the_greatest_size_is_read() -> None:
    filler = "x" * (MAX_DOCUMENT_BYTES - len('{"a":""}'))
    assert parse_document(f'{{"a":"{filler}"}}'.encode()) == {"a": filler}


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused_and_never_crashes(depth: int, opening: str, closing: str) -> None:
    data = ('{"a":' + opening * depth + "1" + closing * depth + "}").encode()
    with pytest.raises(DocumentError) as caught:
        parse_document(data)
    assert caught.value.error_code == "json_too_deep"


def test_nesting_up_to_the_limit_is_read() -> None:
    levels = MAX_DEPTH - 1
    parsed = parse_document(('{"a":' + "[" * levels + "]" * levels + "}").encode())
    assert list(parsed) == ["a"]


def test_every_problem_of_a_kind_is_listed() -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(b'{"a": NaN, "b": [NaN, Infinity], "c": "\\u0000"}')
    assert {problem.path for problem in caught.value.problems} == {"$.a", "$.b[0]", "$.b[1]"}
    assert "2 more of this kind" in caught.value.message


def test_the_list_of_problems_is_bounded() -> None:
    data = json.dumps({f"k{i}": float("nan") for i in range(5000)}).encode()
    with pytest.raises(DocumentError) as caught:
        parse_document(data)
    assert len(caught.value.problems) < 6000
    assert len(caught.value.message) < 200


def test_a_byte_order_mark_is_tolerated() -> None:
    assert parse_document(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_a_nul_that_is_only_talked_about_is_allowed() -> None:
    assert parse_document(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}


@pytest.mark.parametrize("text", ["\U0001f4a1", "\u2028", "\u202eabc", "e\u0301", "\u0645\u0631"])
def test_every_other_character_survives_unchanged(text: str) -> None:
    assert parse_document(json.dumps({"a": text}).encode()) == {"a": text}
    assert parse_document(json.dumps({"a": text}, ensure_ascii=False).encode()) == {"a": text}


@given(st.dictionaries(storable_text, json_values))
def test_every_storable_object_is_read_as_it_is(value: dict[str, object]) -> None:
    assert parse_document(json.dumps(value).encode()) == value


@given(st.binary(max_size=40))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with contextlib.suppress(DocumentError):
        assert isinstance(parse_document(data), dict)
