"""Imports as Dagster's work: asked for, launched once, taken up again, told one by one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.import_run import run_imports
from scene_pipeline.defs.launch_requests import LAUNCHES_PER_TICK
from scene_pipeline.defs.metadata import IMPORT_LAUNCH_TAG, PROJECT_TAG, REASON_TAG
from scene_pipeline.defs.partitions import LIBRARIES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.schedules import upload_sweep_nightly
from scene_pipeline.defs.sensors.asset_imports import asset_imports
from scene_pipeline.errors import SceneError
from scene_pipeline.pipeline.failpoints import arm
from scene_pipeline.pipeline.library.import_events import ImportOutcome
from scene_pipeline.pipeline.library.imports import MAX_ATTEMPTS
from scene_pipeline.pipeline.library.uploads import UploadRequest, begin_upload
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.defs.ticks import RUN_KEY_TAG, Daemon
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.import_desk import ImportDesk, settings_for, site
from scene_pipeline_tests.standins.hostile_http import HostileServer
from scene_pipeline_tests.standins.pictures import scene_file


@pytest.fixture
def server() -> Iterator[HostileServer]:
    files = {"/hero.png": scene_file("PNG", 1), "/villain.jpg": scene_file("JPEG", 2)}
    with site(files) as running:
        yield running


@pytest.fixture
def studio(server: HostileServer, database_url: str, tmp_path: Path) -> Studio:
    return Studio(settings_for(server, tmp_path / "home"), database_url)


@pytest.fixture
def desk(studio: Studio, server: HostileServer) -> ImportDesk:
    return ImportDesk(studio, server)


def job(runtime: PipelineRuntime) -> dg.JobDefinition:
    return build_definitions(resources={"pipeline": runtime}).resolve_job_def("imports")


def execute(daemon: Daemon, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """Execute what the sensor asked for."""
    return job(daemon.runtime).execute_in_process(
        instance=daemon.instance,
        run_config=request.run_config,
        tags={
            **request.tags,
            "dagster/partition": str(request.partition_key),
            RUN_KEY_TAG: str(request.run_key),
        },
        raise_on_error=False,
    )


def create(
    daemon: Daemon, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str
) -> dg.DagsterRun:
    """A run of the request, as it looks before or after it was executed."""
    return daemon.instance.create_run_for_job(
        job(daemon.runtime),
        tags={**request.tags, "dagster/partition": str(request.partition_key), **tags},
        run_config=dict(request.run_config),
        status=status,
    )


def let_time_pass(studio: Studio) -> None:
    studio.sql("UPDATE asset_imports SET due_at = now() - interval '1 s' WHERE due_at > now()")


def states(desk: ImportDesk) -> list[str]:
    return [row["state"] for row in desk.rows()]


def metadata(instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("user_asset"), asset_partitions=[key]), limit=1
    ).records
    [record] = records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.metadata)


def test_nothing_due_is_one_question(daemon: Daemon, desk: ImportDesk) -> None:
    desk.studio.sql(
        "INSERT INTO asset_imports (kind, source, source_url, due_at)"
        " VALUES ('image', 'url', 'https://later.example/', now() + interval '1 h')"
    )
    context = dg.build_sensor_context(instance=daemon.instance)

    assert isinstance(asset_imports(context, pipeline=daemon.runtime), dg.SkipReason)


def test_each_project_gets_one_run(daemon: Daemon, desk: ImportDesk) -> None:
    desk.studio.bring(film(["Dawn"]))
    [project] = desk.studio.sql("SELECT id FROM projects")
    desk.ask("/hero.png", "/villain.jpg")
    desk.ask("/hero.png", project_id=project["id"])

    shared, own = daemon.tick(asset_imports)

    assert (shared.partition_key, own.partition_key) == ("_library", "film")
    assert own.tags[PROJECT_TAG] == "film"
    assert PROJECT_TAG not in shared.tags
    assert own.tags[REASON_TAG] == "addresses or uploads wait to be imported"
    assert daemon.instance.get_dynamic_partitions(LIBRARIES_NAME) == ["_library", "film"]
    assert daemon.tick(asset_imports) == []
    assert all(execute(daemon, request).success for request in (shared, own))
    assert states(desk) == ["done"] * 3
    let_time_pass(desk.studio)
    assert daemon.tick(asset_imports) == []


def test_an_import_is_told_with_its_result(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png", "/gone.png")
    [request] = daemon.tick(asset_imports)

    result = execute(daemon, request)

    assert not result.success
    told = metadata(daemon.instance, "_library")
    assert {name: told[f"imports_{name}"].value for name in ("new", "failed", "duplicate")} == {
        "new": 1,
        "failed": 1,
        "duplicate": 0,
    }
    rows = {
        record.data["source"].rpartition("/")[2]: record.data for record in told["imports"].records
    }
    assert rows["hero.png"]["result"] == "new"
    assert str(rows["hero.png"]["asset_id"]).startswith("ast_")
    assert "[link_expired]" in str(rows["gone.png"]["error"])
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    words = failure.step_failure_data.user_failure_data.description or ""
    assert "1 of 2 imports" in words
    assert "gone.png: [link_expired]" in words
    assert "hero.png" not in words


def test_a_run_that_never_came_to_be_is_asked_for_again(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    [first] = daemon.tick(asset_imports)
    assert daemon.tick(asset_imports) == []
    let_time_pass(desk.studio)

    [again] = daemon.tick(asset_imports)

    assert again.run_key != first.run_key
    assert execute(daemon, again).success
    assert states(desk) == ["done"]
    # The first came to be after all: it finds nothing to do.
    assert execute(daemon, first).success


def test_a_tick_that_is_cut_off_loses_nothing(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    arm("import_tick_after_mark:raise")
    try:
        with pytest.raises(SceneError):
            daemon.tick(asset_imports)
    finally:
        arm(None)
    let_time_pass(desk.studio)

    [request] = daemon.tick(asset_imports)

    assert execute(daemon, request).success


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_what_a_run_will_do_is_left_to_it(
    daemon: Daemon, desk: ImportDesk, status: dg.DagsterRunStatus
) -> None:
    desk.ask("/hero.png")
    [request] = daemon.tick(asset_imports)
    create(daemon, request, status)
    let_time_pass(desk.studio)

    assert daemon.tick(asset_imports) == []

    [row] = desk.rows()
    assert (row["state"], row["attempts"]) == ("pending", 1)


def test_what_a_dead_run_left_is_taken_up(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    [request] = daemon.tick(asset_imports)
    run = create(daemon, request, dg.DagsterRunStatus.FAILURE)
    desk.studio.sql("UPDATE asset_imports SET state = 'running', run_id = %s", run.run_id)
    let_time_pass(desk.studio)

    [again] = daemon.tick(asset_imports)

    assert execute(daemon, again).success
    assert states(desk) == ["done"]


def test_what_a_person_cancelled_is_not_begun_again(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    [request] = daemon.tick(asset_imports)
    create(daemon, request, dg.DagsterRunStatus.CANCELED)
    let_time_pass(desk.studio)

    assert daemon.tick(asset_imports) == []

    [row] = desk.rows()
    assert (row["state"], row["error_code"]) == ("failed", "run_canceled")


def test_an_import_is_launched_a_bounded_number_of_times(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    for _ in range(MAX_ATTEMPTS):
        assert len(daemon.tick(asset_imports)) == 1
        let_time_pass(desk.studio)

    assert daemon.tick(asset_imports) == []

    [row] = desk.rows()
    assert (row["state"], row["error_code"]) == ("failed", "not_imported")
    assert desk.events() == ["upload_failed"]


def test_a_tick_launches_a_bounded_number_of_runs(daemon: Daemon, desk: ImportDesk) -> None:
    desk.studio.sql(
        "INSERT INTO projects (key, master_json) SELECT 'p' || n, '{\"scenes\": {}}'::jsonb"
        " FROM generate_series(1, %s) n",
        LAUNCHES_PER_TICK + 5,
    )
    desk.studio.sql(
        "INSERT INTO asset_imports (project_id, kind, source, source_url)"
        " SELECT id, 'image', 'url', 'https://elsewhere.example/' FROM projects"
    )

    assert [len(daemon.tick(asset_imports)) for _ in range(3)] == [LAUNCHES_PER_TICK, 5, 0]


def test_by_hand_everything_of_the_project_is_imported(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    desk.studio.sql("UPDATE asset_imports SET due_at = now() + interval '1 h'")
    daemon.instance.add_dynamic_partitions(LIBRARIES_NAME, ["_library"])

    by_hand = dg.RunRequest(partition_key="_library", run_key="by hand")

    assert execute(daemon, by_hand).success
    assert states(desk) == ["done"]
    again = execute(daemon, by_hand)
    assert again.success
    assert metadata(daemon.instance, "_library")["imports_total"].value == 0


def test_a_run_takes_its_own_launch_only(daemon: Daemon, desk: ImportDesk) -> None:
    desk.ask("/hero.png")
    [request] = daemon.tick(asset_imports)
    desk.ask("/villain.jpg")

    assert execute(daemon, request).success

    assert states(desk) == ["done", "pending"]


def test_a_command_watches_its_own_run(daemon: Daemon, desk: ImportDesk) -> None:
    told: list[Any] = []
    runtime = PipelineRuntime(
        desk.studio.settings, desk.studio.database_url, import_observer=told.append
    )
    launch_id = "6f1c2a52-5a0f-4f4e-9a53-0c1f3a1d2b11"
    asked = desk.ask("/hero.png", "/gone.png")
    desk.studio.sql("UPDATE asset_imports SET launch_id = %s", launch_id)

    run_id = run_imports(daemon.instance, runtime, None, UUID(launch_id))

    outcomes = [event for event in told if isinstance(event, ImportOutcome)]
    assert {one.import_id for one in outcomes} == {row.id for row in asked.imports}
    run = daemon.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags[IMPORT_LAUNCH_TAG] == launch_id


def test_uploads_that_nobody_confirmed_are_swept_by_a_schedule(
    daemon: Daemon, desk: ImportDesk
) -> None:
    async def begin(services: Services) -> None:
        await begin_upload(services, UploadRequest("image", "image/png"))

    desk.studio.do(begin)
    desk.studio.sql("UPDATE asset_imports SET created_at = now() - interval '2 days'")
    request = upload_sweep_nightly(dg.build_schedule_context(instance=daemon.instance))
    assert isinstance(request, dg.RunRequest)
    sweep = build_definitions(resources={"pipeline": daemon.runtime}).resolve_job_def(
        upload_sweep_nightly.job_name
    )

    assert sweep.execute_in_process(instance=daemon.instance).success

    assert states(desk) == ["expired"]
