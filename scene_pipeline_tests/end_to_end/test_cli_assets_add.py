"""`assets add URL` and `assets imports`: addresses into the library from the terminal."""

import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.import_desk import site
from scene_pipeline_tests.standins.hostile_http import HostileServer, Line, Script, answer
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.waiting import wait_until


class OnceSlow:
    """Gives half a file and hangs, the first time; then the whole."""

    def __init__(self, data: bytes) -> None:
        self._whole = answer(data, Content_Type="image/png")
        self._is_first = True

    def __call__(self, line: Line) -> None:
        if self._is_first:
            self._is_first = False
            line.send(self._whole[: len(self._whole) // 2])
            line.hang()
        line.send(self._whole)


@pytest.fixture
def server(cli: CommandLine) -> Iterator[HostileServer]:
    # Colours that no other test's pictures have: the data directory is shared.
    files: dict[str, Script] = {
        "/hero.png": scene_file("PNG", 71),
        "/villain.jpg?signature=top-secret": scene_file("JPEG", 72),
        "/slow-SIGKILL.png": OnceSlow(scene_file("PNG", 73)),
        "/slow-SIGINT.png": OnceSlow(scene_file("PNG", 75)),
    }
    with site(files) as running:
        place = f"127.0.0.1:{running.port}"
        cli.variables = {
            "ASSET_HOST_ALLOWLIST": place,
            "SCENE_PIPELINE_TRUSTED_PRIVATE_HOSTS": place,
        }
        yield running


def test_addresses_and_files_get_a_result_each(
    cli: CommandLine, server: HostileServer, tmp_path: Path
) -> None:
    assert cli("import", cli.write("film.json", film(["Dawn"], key="cast"))).code == 0
    file = tmp_path / "file.png"
    file.write_bytes(scene_file("PNG", 74))
    addresses = [server.url(path) for path in ("/hero.png", "/gone.png")]
    addresses.append(server.url("/villain.jpg?signature=top-secret"))

    added = cli("assets", "add", *addresses, file, "--project", "cast", "--tag", "Cast", "--json")
    listed = cli("assets", "imports", "--project", "cast", "--json")
    in_tokyo = cli("assets", "imports", "--project", "cast", env={"TZ": "Asia/Tokyo"})

    assert added.code == 1, added.err
    found = {one["source"].rpartition("/")[2]: one for one in added.document["assets"]}
    assert {name: one["status"] for name, one in found.items()} == {
        "hero.png": "new",
        "gone.png": "failed",
        "villain.jpg": "new",
        "file.png": "new",
    }
    assert found["gone.png"]["error"]["code"] == "link_expired"
    assert found["hero.png"]["asset_id"].startswith("ast_")
    imports = {one["source"].rpartition("/")[2]: one for one in listed.document["imports"]}
    assert {name: one["state"] for name, one in imports.items()} == {
        "hero.png": "done",
        "gone.png": "failed",
        "villain.jpg": "done",
    }
    asked = datetime.fromisoformat(imports["hero.png"]["asked_at"])
    assert f"{asked.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%d %H:%M}" in in_tokyo.out
    assert imports["hero.png"]["asset_id"] == found["hero.png"]["asset_id"]
    assert "top-secret" not in added.out + added.err + listed.out


def test_an_address_that_cannot_be_read_fails_alone(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "file.png"
    file.write_bytes(scene_file("PNG", 76))

    added = cli("assets", "add", "http://[", file, "--json")

    assert added.code == 1
    assert [one["status"] for one in added.document["assets"]] == ["new", "failed"]


@pytest.mark.parametrize("arguments", [("show", "\udcff"), ("list", "--client", "\udcff")])
def test_bytes_that_are_no_text_are_told(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    told = cli("assets", *arguments)

    assert told.code == 2
    assert "no text" in told.err


def test_in_a_file_each_end_is_a_line(cli: CommandLine, server: HostileServer) -> None:
    added = cli("assets", "add", server.url("/hero.png"), "https://elsewhere.example/a.png")

    assert added.code == 1
    lines = [line for line in added.out.splitlines() if "://" in line]
    assert len(lines) == 2
    [refused] = [line for line in lines if "elsewhere.example" in line]
    assert "failed: [blocked_host]" in refused
    assert "ASSET_HOST_ALLOWLIST" in refused
    assert "ast_" in next(line for line in lines if "hero.png" in line)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_was_stopped_is_taken_up_by_the_next(
    cli: CommandLine, server: HostileServer, number: signal.Signals
) -> None:
    address = server.url(f"/slow-{number.name}.png")
    process = cli.start("assets", "add", address)
    with process:
        wait_until(lambda: bool(server.heads), 90)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (130 if number is signal.SIGINT else -signal.SIGKILL)

    added = cli("assets", "add", address, "--json")

    assert added.code == 0, added.err
    [one] = added.document["assets"]
    assert one["status"] == "new"
    left = [path for path in (cli.home / "tmp").glob("import-*/*") if path.stat().st_size]
    assert len(left) <= 1  # of the killed one, until it is a minute old
