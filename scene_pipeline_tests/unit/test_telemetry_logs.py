"""Our log: one line per record, with what it is about, and nothing that must not be shown."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from scene_pipeline.errors import ProviderError
from scene_pipeline.settings import Settings, load_settings
from scene_pipeline.telemetry.context import LogContext, current_context, log_context
from scene_pipeline.telemetry.lines import FACTS, MAX_LINE
from scene_pipeline.telemetry.logs import set_up
from scene_pipeline_tests.secrets_search import SecretSearch

log = logging.getLogger("scene_pipeline.somewhere")


def written(tell: Callable[[], object], **settings: Any) -> str:
    """What the log says while something is told."""
    lines = io.StringIO()
    set_up(load_settings(**{"log_level": "info", "log_format": "json", **settings}), lines)
    tell()
    return lines.getvalue()


def told(tell: Callable[[], object], **settings: Any) -> dict[str, Any]:
    """The one JSON line."""
    [line] = written(tell, **settings).splitlines()
    value: dict[str, Any] = json.loads(line)
    return value


def fail(error: Exception) -> None:
    """Log an error as one does that was caught."""
    log.error("It failed.", exc_info=error)


def test_a_line_says_when_how_grave_where_and_what() -> None:
    line = told(lambda: log.info("stored %d bytes", 12, extra={FACTS: {"bytes": 12}}))

    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "scene_pipeline.somewhere",
        "message": "stored 12 bytes",
        "bytes": 12,
    }


def test_what_is_known_of_the_work_stands_on_the_line() -> None:
    def tell() -> None:
        with log_context(run="r1"), log_context(project="film", scene="s1", generation="g1"):
            log.info("submitted")

    line = told(tell)

    assert (line["project"], line["scene"], line["generation"], line["run"]) == (
        "film",
        "s1",
        "g1",
        "r1",
    )


def test_text_lines_are_for_people() -> None:
    def tell() -> None:
        with log_context(project="film", scene="s1"):
            log.warning("It was refused.")

    line = written(tell, log_format="text")

    assert line.endswith(
        " WARNING scene_pipeline.somewhere: It was refused. [project=film scene=s1]\n"
    )


def test_the_context_follows_tasks_and_ends_with_its_block() -> None:
    async def work(scene: str) -> LogContext:
        with log_context(scene=scene):
            await asyncio.sleep(0)
            child = asyncio.create_task(look())
            return await child

    async def look() -> LogContext:
        await asyncio.sleep(0)
        return current_context()

    async def both() -> tuple[LogContext, LogContext]:
        with log_context(project="film"):
            return await asyncio.gather(work("s1"), work("s2"))

    first, second = asyncio.run(both())

    assert first == LogContext(project="film", scene="s1")
    assert second == LogContext(project="film", scene="s2")
    assert current_context() == LogContext()


def test_the_context_is_handed_into_threads_with_a_copy() -> None:
    with ThreadPoolExecutor(1) as threads, log_context(scene="s1"):
        seen = threads.submit(copy_context().run, current_context).result()

    assert seen.scene == "s1"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "foreign",
    ["one\ntwo", "one\r\ntwo", "one\u2028two", "one\x85two", "one\x1b[2Jtwo", "one\x00two"],
)
def test_foreign_text_stays_on_one_line(form: str, foreign: str) -> None:
    text = written(lambda: log.info("It says: %s", foreign), log_format=form)

    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert "one" in text
    assert "two" in text


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("character", ["x", "\U0001f600", '"', "\x01", " x"])
def test_lines_are_bounded(form: str, character: str) -> None:
    def tell() -> None:
        with log_context(project=character * 9000, scene=character * 9000):
            log.info("%s", character * 100_000, extra={FACTS: {"key": character * 9000}})

    text = written(tell, log_format=form)

    assert len(text) <= MAX_LINE + 1
    assert len(text.splitlines()) == 1


def test_an_error_of_ours_is_told_by_its_code_without_a_traceback() -> None:
    def tell() -> None:
        fail(ProviderError("It was refused.", code="refused"))

    line = told(tell)

    assert line["code"] == "refused"
    assert "traceback" not in line


def test_the_end_of_any_other_error_is_kept_on_the_line() -> None:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        raise ValueError("no such thing")

    def tell() -> None:
        try:
            deep(50)
        except ValueError:
            log.exception("A defect.")

    assert told(tell)["traceback"].endswith("ValueError: no such thing")


def test_a_message_whose_arguments_do_not_fit_is_told_as_it_stands() -> None:
    assert told(lambda: log.info("%d bytes", "twelve"))["message"] == "%d bytes"


def secret_settings() -> dict[str, Any]:
    return {
        "fal_key": "key-id-5f1c:key-secret-93ab",
        "database_url": "postgresql://film:p%40ss-w0rd@db.example/film",
        "s3_secret_access_key": "wJalrXUtnFEMI/K7MDENG",
        "alert_webhook_url": "https://hooks.example/services/T0SECRET/B0SECRET",
        "egress_proxy": "http://user:proxy-pass@proxy.example:3128",
        "api_token": "a-token-of-the-library",
    }


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_of_the_settings_is_ever_in_a_line(form: str) -> None:
    given = secret_settings()
    search = SecretSearch(
        {
            **given,
            "the key's secret half": "key-secret-93ab",
            "the database password": "p@ss-w0rd",
            "the encoded password": "p%40ss-w0rd",
            "the proxy's password": "proxy-pass",
        }
    )

    def tell() -> None:
        for value in (*search.secrets.values(), given["s3_secret_access_key"].replace("/", "%2F")):
            log.info("It says %s, and goes on.", value)
            log.info("%s%s", "x" * 1990, value)
            log.info("%s%s", "x" * 19_990, value)
            with log_context(project=value):
                log.info("told", extra={FACTS: {"key": value}})
            fail(ValueError(value))

    search.text("the log", written(tell, log_format=form, **given))

    assert search.found == []
    assert search.searched > 1000


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        (
            "see https://x.example/a.png?X-Amz-Signature=1f&x=2 there",
            "see https://x.example/a.png there",
        ),
        ("https://user:word@x.example/a", "https://x.example/a"),
        ("postgresql://user:p@ss@x.example/a?b=c", "postgresql://x.example/a"),
        ("{'authorization': 'Key abc:def'}", "{'[hidden]'}"),
        ('{"Authorization": "Bearer abc"}', '{"[hidden]"}'),
        ("Authorization: Key abc:def", "[hidden]"),
        ("sent Bearer abc.def.ghi to it", "sent [hidden] to it"),
    ],
)
def test_signed_addresses_and_authorizations_are_cut(foreign: str, shown: str) -> None:
    assert told(lambda: log.info("%s", foreign))["message"] == shown


@pytest.mark.parametrize("piece", ["a.", "a-", "http://", "http://a/", "x://y@", "Authorization:"])
def test_no_text_takes_long_to_search(piece: str) -> None:
    hostile = (piece * 20_000)[:20_000]
    began = time.process_time()
    told(lambda: log.info("%s", hostile))
    assert time.process_time() - began < 0.5


def test_nothing_is_told_twice(capfd: pytest.CaptureFixture[str]) -> None:
    foreign = logging.StreamHandler()
    logging.getLogger().addHandler(foreign)
    try:
        for _ in range(3):
            set_up(load_settings())
        log.warning("It was refused.")
    finally:
        logging.getLogger().removeHandler(foreign)

    assert capfd.readouterr().err.count("It was refused.") == 1


def test_by_default_only_warnings_are_told() -> None:
    def tell() -> None:
        log.info("submitted")
        log.warning("refused")

    settings: Settings = load_settings()
    lines = written(tell, log_level=settings.log_level, log_format=settings.log_format)

    assert [line.split(": ")[1] for line in lines.splitlines()] == ["refused"]


def test_other_libraries_stay_as_quiet_as_they_are() -> None:
    lines = written(
        lambda: logging.getLogger("httpx").info("GET https://x.example/?key=1"), log_level="debug"
    )

    assert lines == ""


def test_a_reader_that_has_left_stops_no_work() -> None:
    stream = io.StringIO()
    set_up(load_settings(), stream)
    stream.close()

    log.warning("refused")
