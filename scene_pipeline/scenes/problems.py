"""What is wrong with a document, in a film maker's words.

Belongs here: the JSON Schema that ships with the package, and the translation of its verdicts into
`errors.Problem`. Does not belong here: what happens to a scene with a problem (`scenes.document`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from scene_pipeline.errors import Problem
from scene_pipeline.scenes.json_text import kind_of, member_path

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

SCHEMA_FILE = "master-json.schema.json"

_PROMPT_FIELD = "scene_frame_prompt"
_PROMPT_CODES = {
    "required": "prompt_missing",
    "type": "prompt_invalid",
    "pattern": "prompt_empty",
    "maxLength": "prompt_too_long",
}


@cache
def schema() -> Mapping[str, Any]:
    """Give the JSON Schema of the master JSON (Draft 2020-12), read from the package once."""
    text = resources.files("scene_pipeline.scenes").joinpath(SCHEMA_FILE).read_text("utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def document_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what the schema forbids outside of `scenes`."""
    without_scenes = {**document, "scenes": {"scene": {_PROMPT_FIELD: "."}}}
    for error in _validator("").iter_errors(without_scenes):
        yield _problem(error, "$", None)


def scene_problems(
    scene: object, *, path: str, scene_id: str, is_listed: bool
) -> Iterator[Problem]:
    """Find what the schema forbids in one scene.

    Args:
        scene: The value that stands for the scene.
        path: Its JSON path in the document.
        scene_id: The name under which the scene is set aside.
        is_listed: Whether it stands in a list, where it carries its own `id`.
    """
    definition = "listedScene" if is_listed else "scene"
    for error in _validator(definition).iter_errors(scene):
        yield _problem(error, path, scene_id)


@cache
def _validator(definition: str) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # slow, for documents only

    if not definition:
        return Draft202012Validator(dict(schema()))
    part = {"$ref": f"#/$defs/{definition}", "$defs": schema()["$defs"]}
    return Draft202012Validator(part)


def _problem(error: "ValidationError", path: str, scene_id: str | None) -> Problem:
    steps = list(error.absolute_path)
    if error.validator == "required":
        steps.append(_missing_member(error))
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else member_path(path, step)
    subject = _subject(steps, scene_id)
    return Problem(_code(error, steps), path, f"{subject} {_verdict(error)}.", scene_id)


def _missing_member(error: "ValidationError") -> str:
    required: Any = error.validator_value
    instance: Any = error.instance
    return next(str(name) for name in required if name not in instance)


def _subject(steps: Sequence[str | int], scene_id: str | None) -> str:
    inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)[1:]
    if scene_id is None:
        return f"`{inner[:120]}`" if inner else "The document"
    return f'In scene "{scene_id[:80]}" `{inner[:120]}`' if inner else f'Scene "{scene_id[:80]}"'


def _code(error: "ValidationError", steps: Sequence[str | int]) -> str:
    if steps == ["id"]:
        return "bad_scene_id"
    if steps != [_PROMPT_FIELD]:
        return "schema"
    if error.validator == "type" and error.instance is None:
        return "prompt_missing"
    return _PROMPT_CODES.get(str(error.validator), "schema")


def _verdict(error: "ValidationError") -> str:
    """Say what is wrong with the subject: the end of a sentence, without its full stop."""
    instance: Any = error.instance
    limit: Any = error.validator_value
    description = error.schema.get("description") if isinstance(error.schema, Mapping) else None
    must = f"must be {description}" if description else "must be something else"
    match error.validator:
        case "required":
            verdict = "is missing"
        case "type":
            is_number = isinstance(instance, int | float)
            verdict = f"{must}; it is {json.dumps(instance) if is_number else kind_of(instance)}"
        case "pattern" | "minLength" if not instance.strip():
            verdict = "is empty"
        case "maxLength":
            verdict = f"is too long: {len(instance)} characters, of which {limit} are allowed"
        case "maxItems" | "maxProperties":
            verdict = f"has {len(instance)} entries, of which {limit} are allowed"
        case _:
            verdict = f"{must}; it is {json.dumps(instance, ensure_ascii=False)[:60]}"
    return verdict
