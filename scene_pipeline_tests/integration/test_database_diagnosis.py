import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from scene_pipeline.database.diagnosis import diagnose_database
from scene_pipeline.database.migrations.runner import HEAD_REVISION
from scene_pipeline.database.session import check_server
from scene_pipeline.errors import DatabaseError
from scene_pipeline.findings import Finding
from scene_pipeline.settings import load_settings
from scene_pipeline_tests.standins.postgres import (
    is_supervised,
    passable_directory,
)
from scene_pipeline_tests.waiting import wait_until


def diagnose(**settings: object) -> dict[str, Finding]:
    return {found.name: found for found in diagnose_database(load_settings(**settings))}


def test_a_healthy_server_of_the_users_has_nothing_to_cure(database_url: str) -> None:
    findings = diagnose(database_url=database_url)
    assert list(findings) == [
        "database server", "database schema", "database locks", "Dagster's database",
    ]  # fmt: skip
    assert all(found.is_ok and found.cure is None for found in findings.values())
    assert findings["database schema"].detail == f"Schema {HEAD_REVISION}, the newest."
    password = urlsplit(database_url).password
    assert not password or password not in repr(findings)


def test_the_embedded_server_says_where_it_lies() -> None:
    with passable_directory() as home:
        findings = diagnose(home=home)
        assert str(home / "postgres" / "data") in findings["embedded database"].detail
        assert "No schema yet" in findings["database schema"].detail
        wait_until(lambda: not is_supervised(home))


def test_a_server_that_is_down_comes_with_a_cure() -> None:
    findings = diagnose(database_url="postgresql://127.0.0.1:1/x")
    assert not findings["database server"].is_ok
    assert "Connection refused" in findings["database server"].detail
    assert findings["database server"].cure


def test_a_schema_of_the_future_comes_with_a_cure(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE scene_pipeline_schema SET version_num = '9999'")
    found = diagnose(database_url=database_url)["database schema"]
    assert not found.is_ok
    assert "newer" in found.detail
    assert found.cure is not None
    assert found.cure.startswith("Upgrade")


@pytest.mark.parametrize(
    ("scheme", "is_ok"),
    [("postgresql+psycopg2", True), ("postgresql", False), ("postgres", False)],
)
def test_a_dagster_url_that_dagster_itself_would_misread_is_told(
    database_url: str, scheme: str, *, is_ok: bool
) -> None:
    given = database_url.replace("postgresql:", f"{scheme}:")
    found = diagnose(database_url=database_url, dagster_database_url=given)["Dagster's database"]
    assert found.is_ok is is_ok
    assert is_ok or "postgresql+psycopg2://" in (found.cure or "")


@pytest.fixture
def transaction_pooler(database_url: str, tmp_path: Path) -> Iterator[str]:
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("pgbouncer is not installed here")
    server = urlsplit(database_url)
    name = server.path.strip("/")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{name} = host=127.0.0.1 port={server.port} dbname={name}"
        f" user={server.username} password={unquote(server.password or '')}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\n"
    )
    # It refuses to be root, and gives up its rights by itself when told whom to become.
    become = ["-u", "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen([program, "-q", *become, configuration]) as process:
        try:
            url = f"postgresql://anybody@127.0.0.1:{port}/{name}"
            wait_until(lambda: answers(url))
            yield url
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        check_server(url)
    except DatabaseError:
        return False
    return True


def test_a_transaction_pooler_is_found_out(transaction_pooler: str) -> None:
    found = diagnose(database_url=transaction_pooler)["database locks"]
    assert not found.is_ok
    assert "pooler" in found.detail
    assert found.cure is not None
