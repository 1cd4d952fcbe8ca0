"""Who runs PostgreSQL: the user itself, or somebody harmless where the user is root.

Belongs here: choosing the account and asking what it can reach. Does not belong here: changing
permissions of anything that is not ours.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from scene_pipeline.errors import DatabaseError

UNPRIVILEGED_USERS = ("postgres", "nobody")
PROBE_TIMEOUT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user on this machine."""

    name: str
    uid: int
    gid: int


class ProcessIdentity(TypedDict, total=False):
    """The arguments by which `subprocess` changes the user of a child."""

    user: int
    group: int
    extra_groups: list[int]


def identity(account: Account | None) -> ProcessIdentity:
    """What to give to `subprocess`; nothing for the current user."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def choose_account(directory: Path) -> Account | None:
    """Who has to run PostgreSQL, which refuses to be root.

    Args:
        directory: The embedded server's directory. Where root works in a directory of an ordinary
            user, that user runs the server, so that both can use the same data.

    Returns:
        None where the current user is not root.

    Raises:
        DatabaseError: Root, and no unprivileged user exists.
    """
    if os.geteuid() != 0:
        return None
    owner = directory.stat()
    if owner.st_uid != 0:
        return Account(f"with id {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise DatabaseError(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody.",
        code="database_needs_user",
        next_action="Run as an ordinary user, or set DATABASE_URL to a server of your own.",
    )


def can_enter(directory: Path, account: Account | None) -> bool:
    """Whether the account can pass through a directory and all its parents; asked, not computed.

    Raises:
        DatabaseError: This process may not act as that account at all.
    """
    try:
        answer = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", directory],
            capture_output=True, check=False, cwd="/",
            timeout=PROBE_TIMEOUT_SECONDS, **identity(account),
        )  # fmt: skip
    except PermissionError as error:
        name = account.name if account else "this user"
        raise DatabaseError(
            f"PostgreSQL must run as user {name}, and this system does not let root become that.",
            code="database_needs_user",
            next_action="Run as an ordinary user, or set DATABASE_URL to a server of your own.",
        ) from error
    return answer.returncode == 0
