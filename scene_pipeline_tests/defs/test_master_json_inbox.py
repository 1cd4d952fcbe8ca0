"""The inbox as Dagster's daemon sees it: a sensor that imports and launches nothing."""

import secrets
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from scene_pipeline.definitions import build_definitions
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.sensors import SENSORS
from scene_pipeline.defs.sensors.master_json_inbox import master_json_inbox
from scene_pipeline.storage.s3_client import build_s3_client
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.inboxes import Inbox, watched
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS, seaweedfs  # noqa: F401  # a fixture


@pytest.fixture
def inbox(studio: Studio, tmp_path: Path) -> Inbox:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return watched(studio, folder)


def words(instance: dg.DagsterInstance, studio: Studio) -> str:
    """What a tick says that launches nothing."""
    runtime = PipelineRuntime(studio.settings, studio.database_url)
    context = dg.build_sensor_context(
        instance=instance, definitions=build_definitions(resources={"pipeline": runtime})
    )
    result = master_json_inbox(context, pipeline=runtime)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message is not None
    return result.skip_message


def test_without_a_setting_nothing_is_looked_at(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    assert "SCENE_PIPELINE_INBOX is not set" in words(instance, studio)


def test_a_tick_imports_and_launches_nothing(instance: dg.DagsterInstance, inbox: Inbox) -> None:
    inbox.put("film.json", film(["Dawn"]))
    inbox.put("broken.json", b"{")

    first, second = words(instance, inbox.studio), words(instance, inbox.studio)

    assert "1 imported, 1 set aside, 1 written back" in first
    assert "Nothing is new among the 2 documents" in second
    assert instance.get_runs_count() == 0
    assert inbox.studio.sql("SELECT count(*) AS n FROM generations") == [{"n": 0}]


def test_what_was_imported_is_due_for_the_sensor_of_changes(
    instance: dg.DagsterInstance, inbox: Inbox
) -> None:
    inbox.put("film.json", film(["Dawn"]))

    words(instance, inbox.studio)

    assert inbox.studio.sql("SELECT scene_id FROM scenes WHERE wanted_at <= now()") == [
        {"scene_id": "scene_1"}
    ]


def test_an_inbox_that_is_gone_fails_the_tick_with_code_and_cure(
    instance: dg.DagsterInstance, inbox: Inbox
) -> None:
    inbox.folder.rmdir()

    with pytest.raises(dg.Failure) as caught:
        words(instance, inbox.studio)

    assert (caught.value.description or "").startswith("[inbox_not_readable] ")
    assert "SCENE_PIPELINE_INBOX" in (caught.value.description or "")


def test_a_bucket_is_reached_through_the_same_resource_as_the_frames(
    instance: dg.DagsterInstance,
    studio: Studio,
    seaweedfs: SeaweedFS,  # noqa: F811
    tmp_path: Path,
) -> None:
    prefix = f"inbox-{secrets.token_hex(6)}"
    settings = seaweedfs.settings(tmp_path / "home", inbox=f"s3://{seaweedfs.bucket}/{prefix}")
    with closing(build_s3_client(settings)) as client:
        client.put_object(Bucket=seaweedfs.bucket, Key=f"{prefix}/film.json", Body=film(["Dawn"]))

    assert "1 imported, 1 written back" in words(instance, replace(studio, settings=settings))


def test_a_bucket_that_is_silent_fails_the_tick_without_secrets(
    instance: dg.DagsterInstance, studio: Studio
) -> None:
    settings = studio.settings.model_copy(
        update={
            "inbox": "s3://frames/inbox",
            "s3_endpoint_url": "http://127.0.0.1:1",
            "s3_access_key_id": "scenekey",
            "s3_secret_access_key": "scenesecret123",
        }
    )

    with pytest.raises(dg.Failure) as caught:
        words(instance, replace(studio, settings=settings))

    assert (caught.value.description or "").startswith("[storage_unreachable] ")
    assert "scenesecret123" not in (caught.value.description or "")


def test_the_sensor_is_on_by_default_and_says_what_it_spends() -> None:
    assert master_json_inbox in SENSORS
    assert master_json_inbox.default_status is dg.DefaultSensorStatus.RUNNING
    assert "Spends nothing" in (master_json_inbox.description or "")
