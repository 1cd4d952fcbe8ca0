"""Names and formats of the files by which clients and supervisor meet.

Belongs here: paths below `<home>/postgres` and the JSON records kept there. Does not belong here:
what the records are used for.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from scene_pipeline.errors import DatabaseError

APPLICATION_DATABASE = "scene_pipeline"
DAGSTER_DATABASE = "dagster"
DATABASES = (APPLICATION_DATABASE, DAGSTER_DATABASE)
SUPERUSER = "scene_pipeline"

SYSTEM_STATE = Path("/var/lib/scene-pipeline")
"""Where root keeps data and binaries that the unprivileged user could not reach otherwise."""


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A running server, as `server.json` tells of it; exists only while it accepts connections."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    pid: int
    """Process id of the postmaster."""
    supervisor_pid: int
    version: str
    """PostgreSQL's version, "18.4"."""
    location: str
    """The data directory."""
    programs: str
    """The directory of PostgreSQL's programs."""


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """The cluster of this data directory, as `cluster.json` remembers it between starts."""

    password: str = field(repr=False)
    data: str | None
    """Absolute path where root had to put the data elsewhere; None for `<home>/postgres/data`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one embedded server."""

    directory: Path
    """`<home>/postgres`."""

    @classmethod
    def of_home(cls, home: Path) -> "Layout":
        """The layout below a project's data directory."""
        return cls(home.absolute() / "postgres")

    @property
    def clients_lock(self) -> Path:
        """Held shared by every client, exclusively by a supervisor that is going away."""
        return self.directory / "clients.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held exclusively by the one supervisor for its whole life."""
        return self.directory / "supervisor.lock"

    @property
    def default_data(self) -> Path:
        """Where the data lies unless root had to put it elsewhere."""
        return self.directory / "data"

    @property
    def server_log(self) -> Path:
        """What PostgreSQL writes."""
        return self.directory / "server.log"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor writes; empty unless it fails."""
        return self.directory / "supervisor.log"

    def read_server(self) -> ServerRecord | None:
        """The running server, or None."""
        record = self._read("server.json")
        return ServerRecord(**record) if record else None

    def write_server(self, record: ServerRecord) -> None:
        """Tell clients that the server accepts connections."""
        self._write("server.json", asdict(record))

    def remove_server(self) -> None:
        """Tell clients that no server accepts connections."""
        (self.directory / "server.json").unlink(missing_ok=True)

    def read_cluster(self) -> ClusterRecord | None:
        """What is known of the cluster, or None before the first start."""
        record = self._read("cluster.json")
        return ClusterRecord(**record) if record else None

    def write_cluster(self, record: ClusterRecord) -> None:
        """Remember the cluster's password and place."""
        self._write("cluster.json", asdict(record))

    def read_failure(self) -> DatabaseError | None:
        """Why the last start failed, or None."""
        record = self._read("failure.json")
        return DatabaseError(**record) if record else None

    def write_failure(self, error: DatabaseError) -> None:
        """Leave the reason for the client that is waiting for the start."""
        self._write(
            "failure.json",
            {
                "message": error.message,
                "code": error.error_code,
                "next_action": error.next_action,
            },
        )

    def remove_failure(self) -> None:
        """Forget an earlier failure before a new start."""
        (self.directory / "failure.json").unlink(missing_ok=True)

    def open_file(self, path: Path, mode: Literal["lock", "log"]) -> int:
        """Open one of our files for its owner alone, creating it when missing.

        Returns:
            A descriptor that children do not inherit.

        Raises:
            DatabaseError: Another user owns the directory.
        """
        flags = os.O_RDWR if mode == "lock" else os.O_WRONLY | os.O_APPEND
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._refusal(error) from error
        self._give_to_owner(descriptor)
        return descriptor

    def make_directory(self) -> None:
        """Create the directory, private to its owner but passable for PostgreSQL's own user.

        Raises:
            DatabaseError: It cannot be created.
        """
        try:
            self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            text = (self.directory / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refusal(error) from error
        record = json.loads(text)
        return record if isinstance(record, dict) else None

    def _write(self, name: str, record: Mapping[str, object]) -> None:
        # Written aside and renamed: a reader sees the old record or the new one, never a part.
        temporary = self.directory / f"{name}.{os.getpid()}.tmp"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            self._give_to_owner(descriptor)
            json.dump(record, file)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self.directory / name)

    def _give_to_owner(self, descriptor: int) -> None:
        # Root working in a user's directory must not lock that user out of it.
        if os.geteuid() == 0:
            owner = self.directory.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _refusal(self, error: OSError) -> DatabaseError:
        return DatabaseError(
            f"The embedded database's directory {self.directory} cannot be used: {error.strerror}.",
            code="database_directory_refused",
            next_action="Run as the user who owns it, or set SCENE_PIPELINE_HOME to another place.",
        )
