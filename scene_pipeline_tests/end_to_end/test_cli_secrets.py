"""Every command with secrets in its environment: none of them comes out or stays anywhere.

Our tables and Dagster's are in one database here, so that one search goes through all of them:
events, run tags, metadata, ticks.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.secrets_search import SecretSearch
from scene_pipeline_tests.standins.postgres import PostgresServer
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS

PROMPTS = {
    "sound": "A calm sea",
    "refused": "A storm [[fault:bad_request]]",
    "policy": "A knife [[fault:content_policy_at_submit]]",
    "lost": "A lighthouse [[fault:drop_after_accept*1]]",
    "result": "A kitchen [[fault:content_policy]]",
    "link": "A door [[fault:image_forbidden]]",
    "echo": "A key [[fault:echo_key*1]]",
}
WRONG = "wr0ng-s3cret"
QUIET = (
    ("run", "film"),
    ("run", "film", "--dry-run", "--json"),
    ("run", "nothing-of-that-name"),
    ("status", "film"),
    ("status", "--json"),
    ("versions", "film", "sound", "--json"),
    ("export", "film"),
    ("doctor", "--json"),
    ("collect", "--json"),
)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path / "fal") as running:
        yield running


def variables(standin: FalStandIn, seaweedfs: SeaweedFS, database_url: str) -> dict[str, str]:
    return {
        **standin.environment,
        "DATABASE_URL": database_url,
        "S3_BUCKET": seaweedfs.bucket,
        "S3_ENDPOINT_URL": seaweedfs.http_url,
        "S3_ACCESS_KEY_ID": seaweedfs.access_key_id,
        "S3_SECRET_ACCESS_KEY": seaweedfs.secret_access_key,
        "SCENE_PIPELINE_AMBIGUOUS_SETTLE_SECONDS": "3",
    }


@pytest.mark.parametrize(
    "is_thorough", [False, pytest.param(True, marks=pytest.mark.long)], ids=["quick", "thorough"]
)
def test_no_command_says_or_keeps_a_secret(
    is_thorough: bool,
    standin: FalStandIn,
    seaweedfs: SeaweedFS,
    postgres_server: PostgresServer,
    tmp_path: Path,
) -> None:
    database = postgres_server.create()
    url = postgres_server.url(database)
    password = str(urlsplit(url).password)
    search = SecretSearch(
        {
            "the Fal key": standin.key,
            "the Fal key's secret half": standin.key.split(":")[1],
            "the S3 secret": seaweedfs.secret_access_key,
            "the database password": password,
            "a wrong secret": WRONG,
        }
    )
    cli = CommandLine(tmp_path / "home", tmp_path, variables(standin, seaweedfs, url))
    cli.write("film.json", film(PROMPTS))
    wrong_password = {"DATABASE_URL": url.replace(password, WRONG, 1)}
    refused: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("run", "film", "--scene", "echo", "--regenerate"), {"FAL_KEY": f"id:{WRONG}"}),
        (("status",), wrong_password),
    ]
    if is_thorough:
        wrong_bucket = {"S3_SECRET_ACCESS_KEY": WRONG}
        refused += [
            (("run", "film", "--regenerate", "--scene", "sound"), wrong_bucket),
            (("doctor",), wrong_bucket),
            (("doctor",), wrong_password),
            (("status",), {"DATABASE_URL": f"{url}?sslmode=nonsense"}),
            *((arguments, {}) for arguments in QUIET),
        ]
    try:
        first = cli("run", "film.json", "--json")
        answers = [first, *(cli(*arguments, env=changed) for arguments, changed in refused)]
        for number, answer in enumerate(answers):
            search.text(f"stdout of call {number}", answer.out)
            search.text(f"stderr of call {number}", answer.err)
        search.files(tmp_path / "home")
        search.database(url)
    finally:
        postgres_server.drop(database)

    assert "failed" in first.statuses.values()
    assert [answer.code for answer in answers[:3]] == [1, 1, 2]
    assert search.found == []
    assert search.searched > 50_000
