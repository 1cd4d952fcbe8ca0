"""When what is at its provider only is tried again: less and less often, never too late."""

from datetime import timedelta

from scene_pipeline.database.heal_times import due_state
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.heal import HealReport, heal
from scene_pipeline_tests.films import Studio, assert_invariants, film
from scene_pipeline_tests.integration.test_heal import run_with_store_down, store_down


def heal_due(studio: Studio, limit: int = 100) -> HealReport:
    return studio.do(lambda services: heal(services, limit=limit, only_due=True))


def state(studio: Studio) -> tuple[str, int] | None:
    async def ask(services: Services) -> tuple[str, int] | None:
        async with services.pool.connection() as conn:
            return await due_state(conn, 100)

    return studio.do(ask)


def wait_seconds(studio: Studio, scene_id: str = "scene_1") -> int:
    """How long until a version is due, to the second."""
    [row] = studio.sql(
        "SELECT extract(epoch FROM heal_at - coalesce(heal_tried_at, stored_at))::float AS n"
        " FROM generations WHERE scene_id = %s",
        scene_id,
    )
    return round(float(row["n"]))


def make_due(studio: Studio) -> None:
    studio.sql("UPDATE generations SET heal_at = now() WHERE heal_at IS NOT NULL")


def expire_in(studio: Studio, minutes: float) -> None:
    moment = timedelta(minutes=minutes)
    studio.sql("UPDATE scene_images SET external_expires_at = now() + %s", moment)
    studio.sql("UPDATE generations SET external_expires_at = now() + %s", moment)


def test_pauses_grow_while_the_store_stays_down(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    run_with_store_down(fal_studio)
    expire_in(fal_studio, 600)
    waits = [wait_seconds(fal_studio)]
    assert state(fal_studio) is None
    for _ in range(6):
        assert heal_due(fal_studio).versions == ()  # not due yet
        make_due(fal_studio)
        with store_down(fal_studio):
            assert heal_due(fal_studio).count("external") == 1
        waits.append(wait_seconds(fal_studio))

    assert waits == [30, 60, 120, 300, 600, 1800, 1800]
    make_due(fal_studio)
    assert heal_due(fal_studio).count("healed") == 1
    assert state(fal_studio) is None
    assert_invariants(fal_studio)


def test_it_is_tried_once_more_shortly_before_it_expires(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    run_with_store_down(fal_studio)
    fal_studio.sql("UPDATE generations SET heal_attempts = 9")
    waits = []
    for minutes in (20, 5, -5):
        expire_in(fal_studio, minutes)
        make_due(fal_studio)
        with store_down(fal_studio):
            heal_due(fal_studio)
        waits.append(wait_seconds(fal_studio))

    [last_call, last_minutes, afterwards] = waits
    assert 590 <= last_call <= 600  # ten minutes before the end
    assert (last_minutes, afterwards) == (60, 1800)


def test_what_was_not_tried_while_the_store_is_down_waits_with_the_rest(
    fal_studio: Studio,
) -> None:
    fal_studio.bring(film([f"Scene number {number}" for number in range(16)]))
    run_with_store_down(fal_studio)
    make_due(fal_studio)

    with store_down(fal_studio):
        report = heal_due(fal_studio)

    assert report.store_failure is not None
    assert state(fal_studio) is None  # nobody asks the store again at once
    [row] = fal_studio.sql("SELECT count(*) AS n FROM generations WHERE heal_attempts > 0")
    assert row["n"] < 16
    assert [row["code"] for row in fal_studio.sql("SELECT code FROM alerts")] == [
        report.store_failure.code
    ]
    make_due(fal_studio)
    with store_down(fal_studio):
        heal_due(fal_studio)
    assert len(fal_studio.sql("SELECT 1 FROM alerts")) == 1  # told once a day


def test_one_success_makes_the_rest_due_at_once(fal_studio: Studio) -> None:
    fal_studio.bring(film([f"Scene number {number}" for number in range(6)]))
    run_with_store_down(fal_studio)
    make_due(fal_studio)
    with store_down(fal_studio):
        heal_due(fal_studio)
    fal_studio.sql("UPDATE generations SET heal_at = now() WHERE scene_id = 'scene_1'")

    first = heal_due(fal_studio)

    assert [version.scene.scene_id for version in first.versions] == ["scene_1"]
    assert state(fal_studio) is not None
    assert heal_due(fal_studio).count("healed") == 5
    assert_invariants(fal_studio)


def test_a_lost_picture_is_told_once_and_tried_once_a_day(
    fal: FalStandIn, fal_studio: Studio
) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    run_with_store_down(fal_studio)
    fal.faults.add("image_gone")
    fal.faults.add("image_gone")
    reports = []
    for _ in range(2):
        make_due(fal_studio)
        reports.append(heal_due(fal_studio))

    assert [report.versions[0].status for report in reports] == ["lost", "lost"]
    assert [report.versions[0].was_lost for report in reports] == [False, True]
    assert wait_seconds(fal_studio) == 86_400
    alerts = fal_studio.sql("SELECT code, scene_id, next_action FROM alerts")
    assert [(row["code"], row["scene_id"]) for row in alerts] == [("result_lost", "scene_1")]


def test_what_is_due_is_another_state_after_every_attempt(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    run_with_store_down(fal_studio)
    make_due(fal_studio)
    before = state(fal_studio)
    with store_down(fal_studio):
        heal_due(fal_studio)
    make_due(fal_studio)
    after = state(fal_studio)

    assert before is not None
    assert after is not None
    assert before[0] != after[0]
    assert before[1] == after[1] == 1


def test_archived_projects_are_healed_and_a_drills_are_left_to_it(fal_studio: Studio) -> None:
    fal_studio.bring(film(["A lighthouse"]))
    run_with_store_down(fal_studio)
    make_due(fal_studio)
    fal_studio.sql("UPDATE projects SET archived_at = now(), is_scratch = true")
    assert state(fal_studio) is None
    assert heal_due(fal_studio).versions == ()
    fal_studio.sql("UPDATE projects SET is_scratch = false")

    assert state(fal_studio) is not None
    assert heal_due(fal_studio).count("healed") == 1
