"""The catalogue: what Dagster says of the assets before anything is materialized.

Belongs here: groups, owners, tags, kinds, descriptions and column schemas. Does not belong here:
what is shown of a single materialization (`defs.frame_metadata`).
"""

from collections.abc import Iterable
from typing import Final, Literal

import dagster as dg

from scene_pipeline.defs.columns import (
    GENERATED_FRAME_COLUMNS,
    SCENE_IMAGE_COLUMNS,
    SCENE_PROMPT_COLUMNS,
    SCENE_START_FRAME_COLUMNS,
    Column,
)
from scene_pipeline.defs.environment import settings_at_load
from scene_pipeline.settings import Settings

FRAMES_GROUP: Final = "frames"
STORYBOARD_GROUP: Final = "storyboards"
LIBRARY_GROUP: Final = "library"
REPORTS_GROUP: Final = "reports"

SPENDS_TAG: Final = "scene_pipeline/spends"
"""Whether materializing an asset can cost money; the catalogue can be searched by it."""
COLUMN_SCHEMA_KEY: Final = "dagster/column_schema"
"""Dagster's own name: what the tab "Columns" of an asset shows."""


def asset_owners() -> list[str]:
    """Owners of every asset, as the environment names them.

    What Dagster does not take for an owner is left out, since one mistyped address must not keep
    the code location from loading; where nothing is left, the default stands in.
    """
    valid = [owner for owner in settings_at_load().owners if _is_owner(owner)]
    return valid or list(Settings.model_construct().owners)


def spends(answer: Literal["money", "nothing"]) -> dict[str, str]:
    """Tags of an asset, by what materializing it can cost."""
    return {SPENDS_TAG: answer}


def table_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """Columns as Dagster shows them, for definitions and for tables in metadata.

    Args:
        columns: Name, type and meaning of each, in the order in which they are shown.
    """
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, type=kind, description=meaning or None)
            for name, kind, meaning in columns
        ]
    )


def column_schema(columns: Iterable[Column]) -> dict[str, dg.MetadataValue]:
    """Metadata of an asset's definition that tells its columns."""
    return {COLUMN_SCHEMA_KEY: dg.MetadataValue.table_schema(table_schema(columns))}


def frame_specs() -> list[dg.AssetSpec]:
    """The four assets of a scene's frame, each made from the one before it."""
    return [
        _frame_spec(
            "scene_prompt",
            None,
            "What is sent to the image provider for a scene: its own prompt, with the project's "
            "style and the characters that it names. Materialized alone, it shows what would be "
            "sent, and sends nothing. It spends nothing.",
            kinds={"json"},
            columns=SCENE_PROMPT_COLUMNS,
        ),
        _frame_spec(
            "generated_frame",
            "scene_prompt",
            "The provider's answer: paid for once, and resumed by its request id after a crash. "
            "Materializing this asset CAN SPEND MONEY, under the caps of project and day: from "
            "here it asks for a new version of every scene that is chosen. The columns are the "
            "ledger's.",
            kinds={"ai", "postgres"},
            columns=GENERATED_FRAME_COLUMNS,
            tags=spends("money"),
        ),
        _frame_spec(
            "scene_image",
            "generated_frame",
            "The frame in our own storage, as a numbered version that is never overwritten. "
            "Materialized alone, it stores or heals what is paid for already, and spends nothing.",
            kinds={"postgres", "image"},
            columns=SCENE_IMAGE_COLUMNS,
        ),
        _frame_spec(
            "scene_start_frame",
            "scene_image",
            "The frame's permanent URL in the project's master JSON: the frame that goes to video. "
            "Materialized alone, it publishes the current version again, and spends nothing.",
            kinds={"postgres", "json"},
            columns=SCENE_START_FRAME_COLUMNS,
        ),
    ]


def _frame_spec(
    name: str,
    upstream: str | None,
    description: str,
    *,
    kinds: set[str],
    columns: Iterable[Column],
    tags: dict[str, str] | None = None,
) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=[] if upstream is None else [upstream],
        description=description,
        group_name=FRAMES_GROUP,
        kinds=kinds,
        tags=tags or spends("nothing"),
        owners=asset_owners(),
        metadata=column_schema(columns),
        skippable=True,
        code_version="1",
    )


def _is_owner(owner: str) -> bool:
    """Whether Dagster takes it: an address, or "team:" and a name."""
    try:
        dg.AssetSpec("owned", owners=[owner])
    except dg.DagsterInvalidDefinitionError:
        return False
    return True
