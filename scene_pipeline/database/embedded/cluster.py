"""The cluster on disk: made once, found again ever after.

Belongs here: `initdb`, the two databases, and where the data lies. Does not belong here: the
running server (`postmaster`).
"""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from scene_pipeline.database.embedded.account import (
    Account,
    can_enter,
    choose_account,
    identity,
)
from scene_pipeline.database.embedded.binaries import (
    Binaries,
    find_binaries,
    reachable_binaries,
)
from scene_pipeline.database.embedded.children import dies_with_parent
from scene_pipeline.database.embedded.layout import (
    DATABASES,
    SUPERUSER,
    ClusterRecord,
    Layout,
)
from scene_pipeline.errors import DatabaseError

INITDB_TIMEOUT_SECONDS = 120
WORKSHOP_PREFIX = "initdb-"
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
"""All that PostgreSQL's programs get to see: no PG* variable of the user's reaches them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is ready to be started."""

    data: Path
    binaries: Binaries
    account: Account | None
    """Who runs it; None for the current user."""
    password: str = field(repr=False)


def prepare_cluster(layout: Layout, system_state: Path) -> Cluster:
    """Find the cluster, or make it. The caller holds the supervisor's lock.

    Args:
        layout: The embedded server's files.
        system_state: Where root puts data and programs that the unprivileged user cannot reach.

    Raises:
        DatabaseError: No programs, no place, or a cluster that cannot be used.
    """
    account = choose_account(layout.directory)
    record = layout.read_cluster() or _new_record(layout, account, system_state)
    data = Path(record.data) if record.data else layout.default_data
    if not can_enter(data.parent, account):
        raise DatabaseError(
            f"The embedded database in {data} cannot be reached by user "
            f"{account.name if account else 'running this'}, as which PostgreSQL has to run.",
            code="database_directory_refused",
            next_action=f"Let that user pass through {data.parent}, or move the project back.",
        )
    version_file = data / "PG_VERSION"
    major = int(version_file.read_text().split(".")[0]) if version_file.exists() else None
    binaries = reachable_binaries(find_binaries(major), account, system_state)
    cluster = Cluster(data, binaries, account, record.password)
    if major is None:
        _initialise(cluster)
    return cluster


def _new_record(layout: Layout, account: Account | None, system_state: Path) -> ClusterRecord:
    if layout.default_data.exists():
        raise DatabaseError(
            f"There is a database in {layout.default_data}, but cluster.json with its password is "
            "missing.",
            code="database_record_missing",
            next_action="Restore cluster.json, or move the data directory away to start afresh.",
        )
    data = None
    if not can_enter(layout.directory, account):
        # The name also depends on chance: a project made anew at the same path starts empty.
        name = hashlib.sha256(f"{layout.directory} {secrets.token_hex(8)}".encode()).hexdigest()
        place = system_state / name[:16]
        place.mkdir(mode=0o755, parents=True)
        (place / "project.txt").write_text(f"{layout.directory}\n", encoding="utf-8")
        data = str(place / "data")
    record = ClusterRecord(password=secrets.token_urlsafe(24), data=data)
    layout.write_cluster(record)
    return record


def _initialise(cluster: Cluster) -> None:
    """Make the cluster aside and rename it: a start killed half-way leaves nothing that counts."""
    for abandoned in cluster.data.parent.glob(f"{WORKSHOP_PREFIX}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix=WORKSHOP_PREFIX, dir=cluster.data.parent))
    password_file = workshop / "password"
    password_file.write_text(cluster.password, encoding="utf-8")
    if cluster.account is not None:
        for path in (workshop, password_file):
            os.chown(path, cluster.account.uid, cluster.account.gid)
    fresh = workshop / "data"
    _run(
        cluster,
        [
            cluster.binaries.initdb, "-D", fresh, "-U", SUPERUSER, "--auth=scram-sha-256",
            f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C", "--no-instructions",
        ],
    )  # fmt: skip
    _run(
        cluster,
        [cluster.binaries.postgres, "--single", "-D", fresh, "template1"],
        "".join(f"CREATE DATABASE {name};\n" for name in DATABASES),
    )
    fresh.rename(cluster.data)
    shutil.rmtree(workshop)


def _run(cluster: Cluster, command: list[str | Path], stdin: str = "") -> None:
    answer = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, cwd="/",
        env=ENVIRONMENT, timeout=INITDB_TIMEOUT_SECONDS,
        preexec_fn=dies_with_parent(signal.SIGKILL), **identity(cluster.account),
    )  # fmt: skip
    # A stand-alone backend reports a failed statement and still ends with 0.
    complaints = [
        line for line in answer.stderr.splitlines() if "ERROR:" in line or "FATAL:" in line
    ]
    if answer.returncode != 0 or complaints:
        reason = (complaints or answer.stderr.splitlines() or ["no reason given"])[-1].strip()
        raise DatabaseError(
            f"The embedded database could not be made in {cluster.data}: {reason}",
            code="database_initialisation_failed",
            next_action="Correct what it says and start again, or set DATABASE_URL.",
        )
