"""The schema that ships with the package, the example, and what the documentation promises."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scene_pipeline.scenes.document import ProjectDocument, parse_document, read_document
from scene_pipeline.scenes.patching import export_document
from scene_pipeline.scenes.problems import schema
from scene_pipeline.scenes.prompts import expand_prompt

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "lighthouse.json"
DOCUMENTATION = ROOT / "docs" / "master-json.md"


def example() -> ProjectDocument:
    """The example, read."""
    return read_document(parse_document(EXAMPLE.read_bytes()))


def test_the_schema_is_valid_draft_2020_12() -> None:
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(dict(schema()))


def test_every_rule_of_the_schema_says_in_words_what_it_expects() -> None:
    """Verdicts are made of these descriptions."""

    def parts(node: Any) -> list[dict[str, Any]]:
        if isinstance(node, list):
            return [part for element in node for part in parts(element)]
        if not isinstance(node, dict):
            return []
        nested = [part for key, child in node.items() if key != "anyOf" for part in parts(child)]
        return [node, *nested] if "type" in node and "$schema" not in node else nested

    found = parts(dict(schema()))
    assert len(found) > 20
    assert [part for part in found if "description" not in part] == []


def test_the_example_is_a_film_of_twelve_sound_scenes() -> None:
    document = example()
    assert document.key == "lighthouse"
    assert [scene.scene_id for scene in document.scenes] == [f"scene_{n}" for n in range(1, 13)]
    assert document.problems == ()
    assert document.notices == ()
    assert Draft202012Validator(dict(schema())).is_valid(json.loads(EXAMPLE.read_text("utf-8")))


def test_the_example_has_prompts_of_the_length_that_people_write() -> None:
    lengths = [len(scene.prompt.split()) for scene in example().scenes]
    assert min(lengths) >= 60
    assert max(lengths) <= 120


def test_the_examples_characters_recur_and_its_prompts_fit_a_models_window() -> None:
    """FLUX schnell reads 256 tokens; English has about three words to four tokens."""
    document = example()
    expanded = [expand_prompt(document, scene) for scene in document.scenes]
    appearances = [character.name for prompt in expanded for character in prompt.characters]
    assert appearances.count("Ilsa") >= 6
    assert appearances.count("Noor") >= 4
    assert max(len(prompt.text.split()) for prompt in expanded) <= 192


def test_the_example_leaves_provider_and_model_to_the_settings() -> None:
    generation = example().generation
    assert (generation.provider, generation.model) == (None, None)


def test_an_export_of_the_example_differs_in_start_frames_alone() -> None:
    imported = EXAMPLE.read_bytes()
    current = parse_document(imported)
    for scene_id, scene in current["scenes"].items():
        scene["scene_start_frame"] = f"http://127.0.0.1:8420/frames/{scene_id}.jpeg"
    exported = export_document(imported, current)
    assert parse_document(exported) == current
    added = [
        line
        for line in exported.decode().splitlines()
        if line not in imported.decode().splitlines()
    ]
    assert len([line for line in added if "scene_start_frame" in line]) == 12
    assert len(exported.splitlines()) == len(imported.splitlines()) + 12


@pytest.mark.parametrize(
    "block", re.findall(r"```json\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.S)
)
def test_every_example_of_the_documentation_is_a_sound_document(block: str) -> None:
    document = read_document(parse_document(block.encode()))
    assert document.problems == ()
    assert document.notices == ()


def test_the_documentation_names_every_known_field_and_code() -> None:
    text = DOCUMENTATION.read_text("utf-8")
    definitions = schema()["$defs"]
    fields = {
        *schema()["properties"],
        *definitions["scene"]["properties"],
        *definitions["generation"]["properties"],
        *definitions["character"]["properties"],
        *definitions["reference"]["properties"],
    }
    assert {field for field in fields if f"`{field}`" not in text} == set()
    package = ROOT / "scene_pipeline" / "scenes"
    sources = "".join(
        (package / name).read_text("utf-8")
        for name in ("json_text.py", "document.py", "problems.py")
    )
    codes = set(re.findall(r'(?:_refusal|Problem)\(\s*"([a-z_0-9]+)"', sources))
    codes |= set(re.findall(r'"(prompt_[a-z_]+)"', sources))
    assert len(codes) > 15
    assert {code for code in codes if f"`{code}`" not in text} == set()
