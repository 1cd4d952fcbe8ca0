"""The prompts table and its Markdown."""

import pandas as pd

from scene_pipeline.scenes.document import read_document
from scene_pipeline.scenes.requests import RequestDefaults, RequestOverrides, resolve_request
from scene_pipeline.scenes.table import (
    PROMPTS_TABLE_COLUMNS,
    PromptRow,
    markdown_table,
    prompt_row,
    prompts_table,
)

DEFAULTS = RequestDefaults("offline", {"offline": "offline/landscape"}, "landscape_16_9")


def rows() -> list[PromptRow]:
    """The rows of a film of two scenes."""
    document = read_document(
        {
            "style": "film still",
            "characters": {"Ilsa": "an old keeper"},
            "scenes": {
                "scene_1": {"scene_frame_prompt": "Ilsa waits."},
                "scene_2": {"scene_frame_prompt": "The sea."},
            },
        }
    )
    requests = [
        resolve_request(document, scene, DEFAULTS, RequestOverrides()) for scene in document.scenes
    ]
    return [
        prompt_row(scene, request) for scene, request in zip(document.scenes, requests, strict=True)
    ]


def test_the_table_has_a_row_per_scene_in_the_order_of_the_film() -> None:
    table = prompts_table(rows())
    assert tuple(table.columns) == PROMPTS_TABLE_COLUMNS
    assert list(table["scene_id"]) == ["scene_1", "scene_2"]
    first = table.iloc[0]
    assert first["prompt"] == "Ilsa waits."
    assert first["expanded_prompt"] == "Ilsa waits.\n\nIlsa: an old keeper\n\nStyle: film still"
    assert first["prompt_characters"] == 11
    assert first["characters"] == "Ilsa"
    assert (first["size"], first["provider"], first["model"]) == (
        "1024x576",
        "offline",
        "offline/landscape",
    )
    assert len(first["content_hash"]) == 64


def test_an_empty_table_keeps_its_columns_and_types() -> None:
    table = prompts_table([])
    assert table.empty
    assert list(table.dtypes) == list(prompts_table(rows()).dtypes)


def test_markdown_shows_every_row_and_column() -> None:
    frame = prompts_table(rows())[["scene_id", "position"]]
    assert markdown_table(frame) == (
        "| scene_id | position |\n| --- | --- |\n| scene_1 | 1 |\n| scene_2 | 2 |"
    )


def test_markdown_is_bounded_in_rows_and_cells() -> None:
    frame = pd.DataFrame({"prompt": ["word " * 1000] * 5000})
    text = markdown_table(frame, max_rows=3, max_cell_characters=20)
    assert text.splitlines() == [
        "| prompt |",
        "| --- |",
        *["| word word word word\u2026 |"] * 3,
        "",
        "4997 more rows are not shown.",
    ]


def test_no_text_breaks_out_of_its_cell() -> None:
    frame = pd.DataFrame({"prompt": ["a | b\n| c\r\n`d` *e* [f](g) <img src=x> & \\"]})
    *_, line = markdown_table(frame).splitlines()
    assert line == r"| a \| b \| c \`d\` \*e\* \[f\](g) &lt;img src=x> &amp; \\ |"
