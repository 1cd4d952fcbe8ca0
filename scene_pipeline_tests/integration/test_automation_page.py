"""The SQL that docs/automation.md shows other programs does what the page says, for that role."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

import scene_pipeline

PAGE = (Path(scene_pipeline.__file__).parents[1] / "docs" / "automation.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sql\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def block(*words: str) -> str:
    """The one block of SQL that has all of these words."""
    [found] = [text for text in BLOCKS if all(word in text for word in words)]
    return re.sub(r"\$\d", "%s", found)


def test_a_role_with_these_rights_can_do_all_that_the_page_shows(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:  # the role is gone with the transaction
        for statement in block("CREATE ROLE").split(";"):
            conn.execute(statement)
        conn.execute("SET LOCAL ROLE studio")

        [(_, key)] = conn.execute(block("INSERT INTO projects")).fetchall()
        document: dict[str, Any] = {"scenes": [{"id": "dawn", "scene_frame_prompt": "Dawn."}]}
        save = block("SET master_json = $1")
        first = conn.execute(save, (Jsonb(document), 1)).fetchall()
        late = conn.execute(save, (Jsonb({"scenes": {}}), 1)).fetchall()
        conn.execute(block("jsonb_set"))
        for _ in range(2):
            conn.execute(block("INSERT INTO regeneration_requests"))
        for statement in block("scene_status", "get_scene_image_url").split(";"):
            conn.execute(statement)

        saved = conn.execute(
            "SELECT revision, master_json #>> '{scenes,0,scene_frame_prompt}' FROM projects"
        ).fetchall()
        asked = conn.execute("SELECT scene_id, asked FROM regeneration_requests").fetchall()
        conn.rollback()

    assert key == "harbour"
    assert (first, late) == ([(2,)], [])
    assert saved == [(3, "A harbour at dusk.")]
    assert asked == [("ferry", 2)]


@pytest.mark.parametrize("statement", ["DELETE FROM projects", "UPDATE projects SET key = 'x'"])
def test_the_role_has_no_more_rights_than_these(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as conn:
        for line in block("CREATE ROLE").split(";"):
            conn.execute(line)
        conn.execute("SET LOCAL ROLE studio")

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)
        conn.rollback()
