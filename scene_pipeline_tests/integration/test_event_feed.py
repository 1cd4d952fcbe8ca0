"""The feed read forward while others write: every event once, in order, none left out."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from scene_pipeline.cli import watch
from scene_pipeline.cli.event_words import _WORDS, event_line
from scene_pipeline.cli.terminal import Terminal
from scene_pipeline.cli.watch import event_json
from scene_pipeline.database.event_feed import EventFeed, under_way
from scene_pipeline.database.events import append_event
from scene_pipeline.database.rows import Connection
from scene_pipeline_tests.films import Studio, film

PAGE = 100


@asynccontextmanager
async def connected(url: str, *, autocommit: bool = False) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(
        url, row_factory=dict_row, autocommit=autocommit
    ) as conn:
        yield conn


def with_three(
    url: str, work: Callable[[Connection, Connection, Connection], Awaitable[None]]
) -> None:
    """Call with a reader and two writers."""

    async def main() -> None:
        async with (
            connected(url, autocommit=True) as reader,
            connected(url) as first,
            connected(url) as second,
        ):
            await work(reader, first, second)

    asyncio.run(main())


async def write(conn: Connection, name: str, project_id: UUID | None = None) -> None:
    await append_event(conn, "project_imported", project_id=project_id, data={"name": name})


async def names(feed: EventFeed, conn: Connection, limit: int = PAGE) -> list[str]:
    return [event.data["name"] for event in await feed.read(conn, limit)]


def test_a_smaller_id_that_is_committed_later_is_told_first(database_url: str) -> None:
    async def work(reader: Connection, first: Connection, second: Connection) -> None:
        feed = EventFeed(0)
        await write(first, "smaller id")
        await write(second, "larger id")
        await second.commit()

        while_open = await names(feed, reader)
        held_up = bool(feed.held_up_by)
        await first.commit()

        assert (while_open, held_up) == ([], True)
        assert await names(feed, reader) == ["smaller id", "larger id"]
        assert await names(feed, reader) == []

    with_three(database_url, work)


def test_what_was_taken_back_holds_up_nothing_that_came_after_it(database_url: str) -> None:
    async def work(reader: Connection, first: Connection, second: Connection) -> None:
        feed = EventFeed(0)
        await write(first, "never")
        await write(second, "there")
        await second.commit()
        assert await names(feed, reader) == []

        await first.rollback()

        assert await names(feed, reader) == ["there"]

    with_three(database_url, work)


def test_a_transaction_that_writes_no_event_holds_up_nothing(database_url: str) -> None:
    async def work(reader: Connection, first: Connection, second: Connection) -> None:
        await first.execute("SELECT count(*) FROM pipeline_events")
        await first.execute("SELECT pg_current_xact_id()")
        await write(second, "there")
        await second.commit()

        assert await names(EventFeed(0), reader) == ["there"]

    with_three(database_url, work)


def test_writers_that_come_all_the_time_do_not_hold_it_up_for_ever(database_url: str) -> None:
    async def work(reader: Connection, first: Connection, second: Connection) -> None:
        feed = EventFeed(0)
        told = []
        await write(first, "0")
        for number in range(1, 20):  # one of the two is always in the middle of its work
            beginning, ending = (second, first) if number % 2 else (first, second)
            await write(beginning, str(number))
            await ending.commit()
            told += await names(feed, reader)

        assert told == [str(number) for number in range(len(told))]
        assert len(told) > 10

    with_three(database_url, work)


def test_a_place_taken_now_tells_what_was_not_committed_yet_and_nothing_older(
    database_url: str,
) -> None:
    async def work(reader: Connection, first: Connection, second: Connection) -> None:
        await write(second, "old")
        await second.commit()
        await write(first, "begun before")
        await write(second, "committed before")
        await second.commit()

        feed = await EventFeed.from_now_on(reader, None)
        await write(second, "after")
        await second.commit()
        await first.commit()

        assert feed.newest_known == 3
        assert await names(feed, reader) == ["begun before", "after"]

    with_three(database_url, work)


def test_pages_are_read_to_the_end_without_gaps_or_doubles(database_url: str) -> None:
    async def work(reader: Connection, first: Connection, _second: Connection) -> None:
        for number in range(25):
            await write(first, str(number))
        await first.commit()
        feed, told = EventFeed(0), []

        for _ in range(3):
            told += await names(feed, reader, limit=10)

        assert told == [str(number) for number in range(25)]
        assert not feed.has_more

    with_three(database_url, work)


def test_whatever_another_program_wrote_as_an_event_is_told_in_some_words(studio: Studio) -> None:
    kinds = [*_WORDS, "no_such_kind\x1b[2J"]
    studio.sql(
        "INSERT INTO pipeline_events (kind, data) SELECT kind, data"
        " FROM unnest(%s::text[]) AS kind, unnest(%s::jsonb[]) AS data",
        kinds,
        ["[1]", "null", '"x"', '{"message": {"a": 1}, "code": [], "size_bytes": "x"}'],
    )

    async def work(reader: Connection, _first: Connection, _second: Connection) -> None:
        events = await EventFeed(0).read(reader, 1000)

        assert len(events) == 4 * len(kinds)
        for event in events:
            assert event_line(event).isprintable()
            assert event_json(event)["kind"] == event.kind

    with_three(studio.database_url, work)


def test_one_project_is_told_without_the_others(studio: Studio) -> None:
    studio.bring(film(["A lighthouse"], key="one"))
    studio.bring(film(["A harbour"], key="two"))
    [row] = studio.sql("SELECT id FROM projects WHERE key = 'two'")
    studio.run("scene_1", key="one")
    studio.run("scene_1", key="two")

    async def work(reader: Connection, _first: Connection, _second: Connection) -> None:
        events = await EventFeed(0, row["id"]).read(reader, PAGE)

        assert {event.project_key for event in events} == {"two"}
        kinds = [event.kind for event in events]
        assert kinds[0] == "project_imported"
        assert kinds[-1] == "frame_published"
        assert [event.id for event in events] == sorted(event.id for event in events)

    with_three(studio.database_url, work)


def test_generations_that_are_not_finished_are_under_way(studio: Studio) -> None:
    studio.bring(film(["A lighthouse", "A harbour"]))
    studio.run()
    studio.sql("UPDATE generations SET state = 'recorded' WHERE scene_id = 'scene_2'")

    async def work(reader: Connection, _first: Connection, _second: Connection) -> None:
        found = await under_way(reader, None)

        assert [(one.project_key, one.scene_id, one.state) for one in found] == [
            ("film", "scene_2", "recorded")
        ]
        assert await under_way(reader, uuid4()) == []

    with_three(studio.database_url, work)


def test_a_page_that_ends_with_the_newest_does_not_hide_what_came_since(database_url: str) -> None:
    async def work(reader: Connection, first: Connection, _second: Connection) -> None:
        feed = EventFeed(0)
        for number in range(2):
            await write(first, str(number))
        await first.commit()
        assert await names(feed, reader, limit=2) == ["0", "1"]
        await write(first, "2")
        await first.commit()

        assert await names(feed, reader, limit=2) == ["2"]

    with_three(database_url, work)


def test_eight_writers_at_once_are_told_completely_and_in_order(database_url: str) -> None:
    each, writers = 40, 8

    def write_some(number: int) -> None:
        with psycopg.connect(database_url) as conn:
            for step in range(each):
                conn.execute(
                    "INSERT INTO pipeline_events (kind, data)"
                    " VALUES ('project_imported', jsonb_build_object('name', %s::text))",
                    (f"{number}-{step}",),
                )
                if step % 3 == 0:
                    conn.rollback()
                else:
                    conn.commit()

    async def work(reader: Connection, _first: Connection, _second: Connection) -> None:
        feed = EventFeed(0)
        threads = [threading.Thread(target=write_some, args=(n,)) for n in range(writers)]
        for thread in threads:
            thread.start()
        told: list[int] = []
        while any(thread.is_alive() for thread in threads):
            told += [event.id for event in await feed.read(reader, 7)]
            await asyncio.sleep(0)
        for thread in threads:
            thread.join()
        while found := await feed.read(reader, PAGE):
            told += [event.id for event in found]
        cursor = await reader.execute("SELECT id FROM pipeline_events ORDER BY id")

        assert told == [row["id"] for row in await cursor.fetchall()]
        assert len(told) == writers * (each - (each + 2) // 3)

    with_three(database_url, work)


def test_watch_says_once_that_an_open_transaction_is_waited_for_however_slow_the_polls_are(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0.0, 7.0)
    told: list[str] = []
    notes: list[str] = []
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.005)

    async def work(reader: Connection, first: Connection, second: Connection) -> None:
        await write(first, "holds up")
        await write(second, "waits")
        await second.commit()
        terminal = Terminal(is_json=True)
        following = asyncio.create_task(watch._Watch(terminal)._follow(reader, EventFeed(0)))
        try:
            async with asyncio.timeout(30):
                while next(clock) < 700 or not notes:
                    await asyncio.sleep(0.01)
                    notes.extend(capsys.readouterr().err.splitlines())
                await first.commit()
                while len(told) < 2:
                    await asyncio.sleep(0.01)
                    out, err = capsys.readouterr()
                    told.extend(out.splitlines())
                    notes.extend(err.splitlines())
        finally:
            following.cancel()

    with_three(database_url, work)

    assert [note for note in notes if "Waiting for 1 open transaction" in note] == notes
    assert len(notes) == 1
