"""Telling a process from a later one that was given the same id.

Belongs here: that question alone, because several rooms ask it. Does not belong here: what is done
about a process.
"""

from pathlib import Path

_START_TIME_FIELD = 19
"""Index of `starttime` among the fields after the command's closing bracket in /proc/PID/stat."""


def start_ticks(pid: int) -> str | None:
    """When a process began, in clock ticks since the boot.

    Returns:
        None where there is no such process, only a zombie of it, or the system does not tell.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[_START_TIME_FIELD]
