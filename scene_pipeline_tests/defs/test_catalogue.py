"""The catalogue reads like documentation: every asset says what it is, whose, and what it costs."""

from collections.abc import Mapping
from typing import get_args

import dagster as dg
import psycopg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.catalogue import COLUMN_SCHEMA_KEY, SPENDS_TAG, asset_owners, table_schema
from scene_pipeline.defs.columns import (
    GENERATED_FRAME_COLUMNS,
    SCENE_IMAGE_COLUMNS,
    SCENE_PROMPT_COLUMNS,
    SCENE_START_FRAME_COLUMNS,
    USER_ASSET_COLUMNS,
    Column,
)
from scene_pipeline.pipeline.orders import Stage
from scene_pipeline.scenes.table import PROMPTS_TABLE_COLUMNS, prompts_table

SPENDERS = {"generated_frame"}


def specs() -> Mapping[str, dg.AssetSpec]:
    """Every asset of the code location, by name."""
    return {
        spec.key.to_user_string(): spec for spec in build_definitions().resolve_all_asset_specs()
    }


SPECS = specs()


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_asset_is_described(name: str) -> None:
    spec = SPECS[name]

    assert len(spec.description or "") > 80
    assert spec.group_name not in (None, "default")
    assert spec.kinds
    assert spec.owners == ["team:film"]
    assert spec.code_version
    schema = spec.metadata[COLUMN_SCHEMA_KEY]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    assert all(column.description for column in schema.schema.columns)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_asset_says_whether_it_spends(name: str) -> None:
    spec = SPECS[name]
    words = (spec.description or "").lower()

    assert spec.tags[SPENDS_TAG] == ("money" if name in SPENDERS else "nothing")
    assert "money, under the caps" in words if name in SPENDERS else "spends nothing" in words


def test_the_catalogue_holds_all_stages() -> None:
    assert set(get_args(Stage)) <= SPECS.keys()


def test_owners_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENE_PIPELINE_OWNERS", "team:ferry, ilsa@example.com")

    assert {tuple(spec.owners) for spec in build_frames_specs()} == {
        ("team:ferry", "ilsa@example.com")
    }


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("nobody, team:ferry", ["team:ferry"]),
        ("team:, a@b, <x>", ["team:film"]),
        (",", ["team:film"]),
    ],
)
def test_a_mistyped_owner_does_not_keep_the_location_from_loading(
    monkeypatch: pytest.MonkeyPatch, given: str, taken: list[str]
) -> None:
    monkeypatch.setenv("SCENE_PIPELINE_OWNERS", given)

    assert asset_owners() == taken
    assert {tuple(spec.owners) for spec in build_frames_specs()} == {tuple(taken)}


def test_a_bad_environment_leaves_the_default_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENE_PIPELINE_OWNERS", "team:ferry")
    monkeypatch.setenv("SCENE_PIPELINE_DAGSTER_PORT", "no port")

    assert asset_owners() == ["team:film"]


def build_frames_specs() -> list[dg.AssetSpec]:
    """The frame assets, which are built anew with the location."""
    found = {
        spec.key.to_user_string(): spec for spec in build_definitions().resolve_all_asset_specs()
    }
    return [found[stage] for stage in get_args(Stage)]


def test_the_columns_of_prompts_are_those_of_the_table() -> None:
    types = prompts_table([]).dtypes.astype(str).to_dict()

    assert tuple(name for name, _, _ in SCENE_PROMPT_COLUMNS) == PROMPTS_TABLE_COLUMNS
    assert {name: kind for name, kind, _ in SCENE_PROMPT_COLUMNS} == types


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("generations", GENERATED_FRAME_COLUMNS),
        ("scene_images", SCENE_IMAGE_COLUMNS),
        ("current_scene_images", SCENE_START_FRAME_COLUMNS),
        ("user_assets", USER_ASSET_COLUMNS),
    ],
)
def test_the_columns_are_those_of_the_database(
    database_url: str, table: str, columns: tuple[Column, ...]
) -> None:
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s",
            (table,),
        ).fetchall()

    assert {name: kind for name, kind, _ in columns}.items() <= dict(rows).items()


def test_a_table_schema_keeps_the_order_and_the_words() -> None:
    schema = table_schema([("b", "string", "Second letter."), ("a", "int", "")])

    assert [(one.name, one.type, one.description) for one in schema.columns] == [
        ("b", "string", "Second letter."),
        ("a", "int", None),
    ]
