"""How often an import tells of its bytes, and how it calls what it comes from."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scene_pipeline.pipeline.library.bringing import ByteCount
from scene_pipeline.pipeline.library.sources import shown_address
from scene_pipeline.pipeline.library.workspace import remove_leftovers, workspace
from scene_pipeline.scenes.identity import library_partition_key, parse_library_partition_key

MIB = 2**20


def told_of(counts: list[tuple[float, int]]) -> list[int]:
    """What is written of bytes that arrive at these seconds."""
    now = 0.0
    written: list[int] = []

    async def write(received: int, total: int | None) -> None:
        assert total == 100 * MIB
        written.append(received)

    async def main() -> None:
        nonlocal now
        clock: Callable[[], float] = lambda: now  # noqa: E731  # reads what the loop below sets
        count = ByteCount(asyncio.get_running_loop(), clock)
        writer = asyncio.create_task(count.write(write))
        for seconds, received in counts:
            now = seconds
            count(received, 100 * MIB)
            for _ in range(3):  # let the writer have its turn
                await asyncio.sleep(0)
        count.end()
        await writer

    asyncio.run(main())
    return written


def test_bytes_are_told_at_most_once_per_second_and_mib() -> None:
    arriving = [(0.1 * step, step * MIB // 2) for step in range(1, 31)]  # 5 MiB per second

    assert told_of(arriving) == [5 * MIB, 10 * MIB, 15 * MIB]


def test_a_trickle_is_told_per_mib() -> None:
    assert told_of([(float(second), second * MIB // 4) for second in range(1, 13)]) == [
        MIB,
        2 * MIB,
        3 * MIB,
    ]


def test_an_attempt_that_begins_anew_is_told() -> None:
    assert told_of([(2.0, 2 * MIB), (4.0, 1000)]) == [2 * MIB, 1000]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@files.example/a.png?signature=x#y", "https://files.example/a.png"),
        ("https://files.example:8443/a%20b.png", "https://files.example:8443/a%20b.png"),
        ("https://files.example/\u202egnp.exe\n", "https://files.example/gnp.exe"),
        ("user:secret@files.example/a.png?signature=x", "files.example/a.png"),
        ("https://[broken/", "an address that cannot be read"),
        ("", "an empty address"),
        ("https://files.example/" + "a" * 1000, ("https://files.example/" + "a" * 1000)[:300]),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_address(url).replace(" gnp", "gnp") == shown


@pytest.mark.parametrize("key", [None, "film", "_library", "%5Flibrary", "a b/c", "library"])
def test_partitions_of_the_library_are_reversible(key: str | None) -> None:
    assert parse_library_partition_key(library_partition_key(key)) == key


def test_no_two_libraries_share_a_partition() -> None:
    keys = [None, "_library", "%5Flibrary", "library"]

    assert len({library_partition_key(key) for key in keys}) == len(keys)


def test_a_folder_in_use_is_never_removed(tmp_path: Path) -> None:
    with workspace(tmp_path) as directory:
        os.utime(directory, (0, 0))
        assert remove_leftovers(tmp_path) == 0
        assert directory.is_dir()
    assert not directory.exists()
