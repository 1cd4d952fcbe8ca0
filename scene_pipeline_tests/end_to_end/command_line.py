"""The installed console script as a person or program calls it: a process, its output, its exit."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("scene-pipeline")
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it must be."""
        parsed = json.loads(self.out)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def scenes(self) -> dict[str, dict[str, Any]]:
        """The scenes of the document, by id."""
        return {scene["scene_id"]: scene for scene in self.document["scenes"]}

    @property
    def statuses(self) -> dict[str, str]:
        """Every scene's status."""
        return {scene_id: scene["status"] for scene_id, scene in self.scenes.items()}


@dataclass
class CommandLine:
    """Commands on one data directory."""

    home: Path
    directory: Path
    """The working directory."""
    variables: dict[str, str] = field(default_factory=dict)
    """For every command, besides the data directory."""

    def environment(self, **variables: str) -> dict[str, str]:
        """Nothing of the developer's shell but where programs are found."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "SCENE_PIPELINE_HOME": str(self.home),
            "PYTHONIOENCODING": "utf-8",
            **self.variables,
            **variables,
        }

    def __call__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Finished:
        """Run a command to its end."""
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.directory,
            env=self.environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
        """Start a command and go on; its standard output is read line by line."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.directory,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def write(self, name: str, data: bytes) -> Path:
        """A file in the working directory."""
        path = self.directory / name
        path.write_bytes(data)
        return path

    def run(self, *arguments: str | Path, **variables: str) -> Finished:
        """`run --json`, whose document is the answer."""
        return self("run", *arguments, "--json", env=variables)
