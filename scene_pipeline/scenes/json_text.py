"""Bytes in, a JSON object that jsonb can hold out, or one clear sentence.

Belongs here: everything that is wrong with a file before anybody asks what it means. Does not
belong here: the format of the master JSON (`scenes.document`).

Mode of operation: the size is checked first, nothing is read recursively except by the parser
itself, and one walk over the parsed value finds what the parser lets pass.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from scene_pipeline.errors import DocumentError, Problem

MAX_DOCUMENT_BYTES = 20_000_000
MAX_DEPTH = 200
"""Levels of nesting. Deeper values pass this parser but not every other one on the way."""

_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_UTF8_BYTE_ORDER_MARK = "\ufeff"
_MAX_PROBLEMS = 50
_SHOWN_KEY_LENGTH = 80
_TOO_DEEP = f"The document is nested deeper than {MAX_DEPTH} levels."
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_SYNTAX_ERRORS = {
    "Extra data": "there is more text after the end of the document",
    "Unterminated string": "a text that starts here is never closed",
    "Invalid control character": "a line break or tab in a text must be written \\n or \\t",
    "Invalid \\": "a backslash in a text must be doubled or start a valid escape",
    "Expecting ',' delimiter": "a comma is missing",
    "Expecting ':' delimiter": "a colon is missing after a key",
    "Expecting property name": "a key in double quotation marks is expected",
    "Illegal trailing comma": "there is a comma too many",
    "Expecting value": "a value is expected",
}


class _Duplicated(dict[str, Any]):
    """An object in which a key stands twice; carries the keys to the walk, which knows the path."""

    keys_seen_twice: tuple[str, ...] = ()


class _NotANumber:
    """NaN, an infinity, or a number beyond what a float can hold."""

    def __init__(self, text: str) -> None:
        self.text = text


def parse_document(data: bytes) -> dict[str, Any]:
    """Read a master JSON file's bytes.

    Args:
        data: The file, at most 20 MB of UTF-8; a byte order mark is allowed.

    Returns:
        The parsed object, its keys in the order of the file.

    Raises:
        DocumentError: The bytes are not one JSON object that PostgreSQL's jsonb can hold. The codes
            are document_too_large, document_empty, not_utf8, not_json, json_too_deep,
            number_invalid, duplicate_key, nul_character, lone_surrogate and not_an_object.
    """
    text = _decode(data)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_NotANumber,
            parse_float=_parse_float,
        )
    except json.JSONDecodeError as error:
        raise _refusal("not_json", _syntax_sentence(text, error)) from error
    except RecursionError as error:
        raise _refusal("json_too_deep", _TOO_DEEP) from error
    except ValueError as error:  # Python reads no whole numbers beyond 4300 digits
        message = "The document contains a number with thousands of digits."
        raise _refusal("number_invalid", message) from error
    problems = _find_problems(value)
    if problems:
        more = f" (and {len(problems) - 1} more of this kind)" if len(problems) > 1 else ""
        raise DocumentError(
            problems[0].message.rstrip(".") + f"{more}.", code=problems[0].code, problems=problems
        )
    if not isinstance(value, dict):
        message = f"The document must be a JSON object in braces; it is {kind_of(value)}."
        raise _refusal("not_an_object", message)
    return value


def member_path(parent: str, key: str) -> str:
    """Write the path of an object's member: `$.scenes.scene_1`, or `$.scenes["a b"]`."""
    if len(key) <= _SHOWN_KEY_LENGTH and _PLAIN_KEY.fullmatch(key):
        return f"{parent}.{key}"
    return f"{parent}[{json.dumps(key[:_SHOWN_KEY_LENGTH])}]"


def kind_of(value: object) -> str:
    """Name a JSON value's kind in words: "a list"; true, false and null are named themselves."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "a number"


def _decode(data: bytes) -> str:
    if len(data) > MAX_DOCUMENT_BYTES:
        megabytes = len(data) / 1_000_000
        raise _refusal(
            "document_too_large",
            f"The document has {megabytes:.1f} MB; at most {MAX_DOCUMENT_BYTES // 1_000_000} MB"
            " are read.",
        )
    for mark, name in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            raise _refusal("not_utf8", f"The document is {name}; save it as UTF-8.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"The document is not UTF-8: byte {error.start} (line {line}) cannot be read."
        raise _refusal("not_utf8", message) from error
    text = text.removeprefix(_UTF8_BYTE_ORDER_MARK)
    if not text.strip():
        raise _refusal("document_empty", "The document is empty.")
    return text


def _refusal(code: str, message: str) -> DocumentError:
    return DocumentError(message, code=code, problems=(Problem(code, "$", message),))


def _syntax_sentence(text: str, error: json.JSONDecodeError) -> str:
    where = f"line {error.lineno}, column {error.colno}"
    before, rest = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    if not rest:
        return f"The document is not JSON: it is cut off ({where})."
    if before.endswith(",") and rest[0] in "}]":
        return f"The document is not JSON: there is a comma too many before {where}."
    words = next(
        (ours for theirs, ours in _SYNTAX_ERRORS.items() if error.msg.startswith(theirs)), error.msg
    )
    return f"The document is not JSON: {words} ({where})."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    counts = Counter(key for key, _ in pairs)
    duplicated = _Duplicated(members)
    duplicated.keys_seen_twice = tuple(key for key, count in counts.items() if count > 1)
    return duplicated


def _parse_float(text: str) -> Any:
    number = float(text)
    return number if math.isfinite(number) else _NotANumber(text)


def _find_problems(root: Any) -> tuple[Problem, ...]:
    """Walk the value without recursion; give the problems of the first kind that is met."""
    problems = list(_value_problems("$", root))
    stack: list[tuple[str, int, Any]] = [("$", 1, root)]
    while stack and len(problems) < _MAX_PROBLEMS:
        path, depth, container = stack.pop()
        if depth > MAX_DEPTH:
            return (Problem("json_too_deep", "$", _TOO_DEEP),)
        for child_path, child in _children(path, container):
            problems.extend(_value_problems(child_path, child))
            if isinstance(child, dict | list):
                stack.append((child_path, depth + 1, child))
    return tuple(problem for problem in problems if problem.code == problems[0].code)


def _children(path: str, container: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(container, dict):
        for key, child in container.items():
            yield member_path(path, key), child
    elif isinstance(container, list):
        for index, child in enumerate(container):
            yield f"{path}[{index}]", child


def _value_problems(path: str, value: Any) -> Iterator[Problem]:
    if isinstance(value, _NotANumber):
        message = f"{path} is {value.text[:40]}, which is not a number that JSON can hold."
        yield Problem("number_invalid", path, message)
    elif isinstance(value, str):
        yield from _text_problems(path, value, "")
    elif isinstance(value, dict):
        for key in value:
            yield from _text_problems(path, key, "a key of ")
        if isinstance(value, _Duplicated):
            for key in value.keys_seen_twice:
                message = f"The key {key[:_SHOWN_KEY_LENGTH]!r} stands twice in {path}."
                yield Problem("duplicate_key", path, message)


def _text_problems(path: str, text: str, prefix: str) -> Iterator[Problem]:
    """Find what PostgreSQL cannot hold in a text."""
    match = _UNSTORABLE.search(text)
    if match is None:
        return
    if match.group() == "\x00":
        message = f"There is a NUL character (\\u0000) in {prefix}{path}."
        yield Problem("nul_character", path, message)
    else:
        message = f"There is half a character (a lone surrogate) in {prefix}{path}."
        yield Problem("lone_surrogate", path, message)
