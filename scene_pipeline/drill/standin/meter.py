"""The money meter: what the Fal stand-in was paid for, written down before it answers."""

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AcceptedSubmit:
    """One paid request."""

    request_id: str
    endpoint: str
    prompt: str
    seed: int | None
    accepted_at: float
    """Seconds since the epoch."""


class Meter:
    """Counts accepted submits; with a file, in a form that survives and others can read."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._accepted: list[AcceptedSubmit] = []

    def charge(self, submit: AcceptedSubmit) -> None:
        """Write one payment down for good; returns when it would survive a crash."""
        with self._lock:
            self._accepted.append(submit)
            if self._file is None:
                return
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(submit)) + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    @property
    def accepted(self) -> list[AcceptedSubmit]:
        """All payments so far, in order."""
        with self._lock:
            return list(self._accepted)

    def paid_for(self, prompt: str) -> int:
        """How often a prompt was paid for."""
        return sum(submit.prompt == prompt for submit in self.accepted)


def read_meter(file: Path) -> list[AcceptedSubmit]:
    """Read the payments of a stand-in that runs, or ran, in another process."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [AcceptedSubmit(**json.loads(line)) for line in lines]
