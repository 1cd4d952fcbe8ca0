"""No key, password, header or signature in anything that a run says or keeps."""

import logging
from urllib.parse import urlsplit

import pytest

from scene_pipeline.drill.standin.faults import STAGES
from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline_tests.films import Run, Studio, film
from scene_pipeline_tests.secrets_search import SecretSearch
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

STOP_THE_LINE = ("echo_key", "unauthorized", "payment_required", "exhausted_balance")
HANGING = frozenset({"hang_after_accept", "drip_answer", "image_drip", "endless_logs"})
"""They say nothing that the others do not, and take their time."""
FAULTS = tuple(
    name for name, stage in STAGES.items() if name not in HANGING and name not in STOP_THE_LINE
)
REFUSALS = tuple(name for name in FAULTS if STAGES[name] == "before")


@pytest.fixture
def s3_studio(fal_studio: Studio, seaweedfs: SeaweedFS) -> Studio:
    """Fal's stand-in and a real S3 server, each with its secret."""
    return with_bucket(fal_studio, seaweedfs, seaweedfs.secret_access_key)


def with_bucket(studio: Studio, seaweedfs: SeaweedFS, secret: str) -> Studio:
    given = {
        "s3_bucket": seaweedfs.bucket,
        "s3_endpoint_url": seaweedfs.http_url,
        "s3_access_key_id": seaweedfs.access_key_id,
        "s3_secret_access_key": secret,
    }
    return Studio(studio.settings.model_copy(update=given), studio.database_url)


def search_of(studio: Studio) -> SecretSearch:
    settings = studio.settings
    key_id, key_secret = str(settings.fal_key).split(":")
    return SecretSearch(
        {
            "the Fal key": str(settings.fal_key),
            "the Fal key's secret half": key_secret,
            "the Fal key's first half": f"Key {key_id}",
            "the S3 secret": str(settings.s3_secret_access_key),
            "the database password": str(urlsplit(studio.database_url).password),
        }
    )


def search_run(search: SecretSearch, name: str, run: Run) -> None:
    for event in run.events:
        search.text(f"event of {name}", repr(event))


@pytest.mark.parametrize(
    "names",
    [REFUSALS, pytest.param(FAULTS, marks=pytest.mark.long)],
    ids=["refusals", "every_fault"],
)
def test_a_stream_through_faults_keeps_its_secrets(
    names: tuple[str, ...],
    s3_studio: Studio,
    fal: FalStandIn,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    search = search_of(s3_studio)
    faults = {fault: f"A scene [[fault:{fault}*1]]" for fault in names}
    s3_studio.bring(film({**faults, "sound": "A calm sea"}))

    runs = {"the faults": s3_studio.run()}
    runs["the second run"] = s3_studio.run()
    for fault in STOP_THE_LINE:
        fal.faults.add(fault)
        runs[fault] = s3_studio.run("sound", mode="regenerate", token=fault)

    assert runs["the faults"].statuses["sound"] == "generated"
    assert {runs[fault].statuses["sound"] for fault in STOP_THE_LINE} == {"failed"}
    for name, run in runs.items():
        search_run(search, name, run)
    out = capfd.readouterr()
    search.text("stdout", out.out)
    search.text("stderr", out.err)
    search.text("the log", caplog.text)
    search.files(s3_studio.settings.home_directory)
    search.database(s3_studio.database_url)
    assert search.found == []
    assert search.searched > 10_000


def test_a_store_that_refuses_is_told_without_its_secret(
    fal_studio: Studio, seaweedfs: SeaweedFS, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wrong = with_bucket(fal_studio, seaweedfs, "another-secret-of-the-bucket")
    search = search_of(wrong)
    wrong.bring(film(["A lighthouse"]))

    try:
        search_run(search, "a refused upload", wrong.run())
    except ScenePipelineError as error:
        search.text("the error", f"{error!r} {error.message} {error.next_action}")

    search.text("the log", caplog.text)
    search.database(wrong.database_url)
    assert search.found == []


def test_the_search_finds_what_it_looks_for(studio: Studio) -> None:
    search = SecretSearch({"a password": "p4ssw0rd"})
    studio.sql('INSERT INTO projects (master_json) VALUES (\'{"a": "p4ssw0rd"}\')')

    search.text("a line", "GET /x?X-Amz-Signature=0 AUTHORIZATION: Key 1")
    search.database(studio.database_url)

    assert [complaint.split(":")[0] for complaint in search.found] == [
        "X-Amz-Signature in a line",
        "AUTHORIZATION in a line",
        "a password in table projects",
    ]
