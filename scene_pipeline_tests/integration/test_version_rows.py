"""A version, once recorded, is never overwritten or deleted by anything but retention."""

import psycopg
import pytest

from scene_pipeline_tests.films import Studio, film

KEPT_FOR_GOOD = {
    "version": "7",
    "scene_id": "'scene_2'",
    "generation_id": "gen_random_uuid()",
    "generation_prompt": "'other words'",
    "generated_at": "now() + interval '1 day'",
    "sha256": f"'{'0' * 64}'",
    "file_size": "1",
    "width": "1",
    "thumbnail": "NULL",
    "fal_metadata": "'{\"other\": 1}'",
    "provider": "'another'",
    "image_index": "3",
    "id": "gen_random_uuid()",
}
MAY_CHANGE = {
    "is_current": "false",
    "rejection": "'a person objects'",
    "storage_url": "'https://example.com/healed.png'",
    "external_expires_at": "now()",
    "original_fal_url": "'https://example.com/x'",
    "storage_status": "'external'",
}


@pytest.fixture
def filmed(studio: Studio) -> Studio:
    studio.bring(film(["A lighthouse", "A storm"]))
    studio.run()
    studio.sql("UPDATE scene_images SET fal_metadata = fal_metadata")  # no change is no offence
    return studio


@pytest.mark.parametrize("column", KEPT_FOR_GOOD)
def test_what_a_version_is_cannot_be_changed(column: str, filmed: Studio) -> None:
    value = KEPT_FOR_GOOD[column]
    with pytest.raises(psycopg.errors.RestrictViolation, match="never overwritten"):
        filmed.sql(f"UPDATE scene_images SET {column} = {value} WHERE scene_id = 'scene_1'")  # noqa: S608


@pytest.mark.parametrize("column", MAY_CHANGE)
def test_its_place_and_where_its_bytes_are_can(column: str, filmed: Studio) -> None:
    value = MAY_CHANGE[column]
    filmed.sql(f"UPDATE scene_images SET {column} = {value} WHERE scene_id = 'scene_1'")  # noqa: S608


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM scene_images", "never overwritten or deleted"),
        ("DELETE FROM scene_images WHERE NOT is_current OR is_current", "never overwritten"),
        ("TRUNCATE scene_images CASCADE", "never deleted"),
    ],
)
def test_a_version_cannot_be_deleted(statement: str, words: str, filmed: Studio) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match=words):
        filmed.sql(statement)
    assert len(filmed.sql("SELECT 1 FROM scene_images")) == 2


def test_facts_of_an_external_version_can_be_filled_in(filmed: Studio) -> None:
    filmed.sql("UPDATE scene_images SET storage_status = 'external' WHERE scene_id = 'scene_1'")
    filmed.sql(
        "UPDATE scene_images SET storage_status = 'stored', width = 10, height = 20,"
        " thumbnail = NULL WHERE scene_id = 'scene_1'"
    )
    with pytest.raises(psycopg.errors.RestrictViolation):
        filmed.sql("UPDATE scene_images SET width = 11 WHERE scene_id = 'scene_1'")


def test_retention_says_so_first_and_only_for_its_transaction(filmed: Studio) -> None:
    with psycopg.connect(filmed.database_url) as conn:
        with conn.transaction():
            conn.execute("SET LOCAL scene_pipeline.retention = 'on'")
            conn.execute("DELETE FROM scene_images WHERE scene_id = 'scene_1'")
        with pytest.raises(psycopg.errors.RestrictViolation), conn.transaction():
            conn.execute("DELETE FROM scene_images")
    assert filmed.sql("SELECT scene_id FROM scene_images") == [{"scene_id": "scene_2"}]


def test_the_view_and_the_function_of_the_seed_answer(filmed: Studio) -> None:
    [project] = filmed.sql("SELECT id, master_json FROM projects")
    shown = filmed.sql(
        "SELECT * FROM current_scene_images WHERE project_id = %s ORDER BY scene_id", project["id"]
    )
    [found] = filmed.sql(
        "SELECT get_scene_image_url(%s, 'scene_2') AS url,"
        " get_scene_image_url(%s, 'scene_3') AS nothing",
        project["id"],
        project["id"],
    )

    assert list(shown[0])[:4] == ["project_id", "scene_id", "storage_url", "generated_at"]
    assert [row["scene_id"] for row in shown] == ["scene_1", "scene_2"]
    written = project["master_json"]["scenes"]["scene_2"]["scene_start_frame"]
    assert found == {"url": written, "nothing": None}
    assert shown[1]["storage_url"] == written
