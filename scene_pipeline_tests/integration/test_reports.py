"""Reports: every micro-dollar of the ledger once, by scene, model and day, in agreeing tables."""

import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scene_pipeline.database.budgets import CostTotals, cost_totals
from scene_pipeline.database.frame_history import FrameHistory, frame_histories
from scene_pipeline.database.reporting import read_project_lines
from scene_pipeline.errors import NotFoundError
from scene_pipeline.pipeline.facts import usd
from scene_pipeline.pipeline.reporting.portfolio_report import (
    PortfolioReport,
    StoredPortfolioReport,
    make_portfolio_report,
    read_portfolio_report,
)
from scene_pipeline.pipeline.reporting.project_report import (
    ProjectReport,
    StoredReport,
    make_project_report,
    project_report_of,
    read_project_report,
)
from scene_pipeline.pipeline.reporting.stored_tables import StoredTable
from scene_pipeline.pipeline.reporting.tables import ReportTable, Value
from scene_pipeline.pipeline.services import Services
from scene_pipeline_tests.films import Studio, film
from scene_pipeline_tests.standins.postgres import DatabasePool, PostgresServer
from scene_pipeline_tests.standins.scripted_provider import (
    Fault,
    ScriptedProvider,
    scripted_provider,
)

MONEY = ("cost_usd", "metered_usd", "estimated_usd", "doubtful_usd", "wasted_usd")


def metered(database_url: str, home: Path, provider: ScriptedProvider) -> Studio:
    """The pipeline with a service that meters, and pays again for what was lost for good."""
    settings = provider.settings(home, ambiguous_settle_seconds=0.1, on_ambiguous="pay_again")
    return Studio(settings, database_url, {"fal": provider}, hurries=True)


@pytest.fixture
def paying(database_url: str, tmp_path: Path, provider: ScriptedProvider) -> Studio:
    return metered(database_url, tmp_path / "home", provider)


def ask(studio: Studio, scene_id: str, **overrides: Any) -> None:
    studio.sql(
        "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
        " SELECT id, %s, %s::jsonb FROM projects WHERE key = 'film'",
        scene_id,
        json.dumps(overrides),
    )


def again(studio: Studio, provider: ScriptedProvider, scene_id: str, fault: Fault) -> str:
    """Ask for another version of a scene, from a service that fails in some way."""
    ask(studio, scene_id)
    provider.set_fault(fault)
    status = studio.run(scene_id).statuses[scene_id]
    provider.set_fault("none")
    return status


def report_of(studio: Studio, key: str = "film") -> ProjectReport:
    async def work(services: Services) -> ProjectReport:
        async with services.pool.connection() as conn:
            return await read_project_report(conn, key)

    return studio.do(work)


def portfolio_of(studio: Studio) -> PortfolioReport:
    async def work(services: Services) -> PortfolioReport:
        async with services.pool.connection() as conn:
            return await read_portfolio_report(conn)

    return studio.do(work)


def stored(studio: Studio, key: str = "film") -> StoredReport:
    return studio.do(lambda services: make_project_report(services, key))


def stored_portfolio(studio: Studio) -> StoredPortfolioReport:
    return studio.do(make_portfolio_report)


def ledger(studio: Studio) -> CostTotals:
    [row] = studio.sql("SELECT id FROM projects WHERE key = 'film'")

    async def work(services: Services) -> CostTotals:
        async with services.pool.connection() as conn:
            return await cost_totals(conn, row["id"])

    return studio.do(work)


def file_bytes(studio: Studio, storage_path: str) -> bytes:
    async def work(services: Services) -> bytes:
        return b"".join(services.store.open(storage_path))

    return studio.do(work)


def row_of(table: ReportTable, name: str) -> dict[str, Value]:
    [found] = [r for r in table.records() if next(iter(r.values())) == name]
    return found


def total(rows: Sequence[dict[str, Value]], column: str) -> Any:
    return sum(row[column] for row in rows)


@pytest.fixture(scope="module")
def eventful(
    postgres_server: PostgresServer,
    database_pool: DatabasePool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Studio]:
    """A film with a second version, a failure, rejections and a doubtful payment; only to be read.

    One scene is left without a frame, and one left the document. Another project is archived, a
    third is a drill's.
    """
    name = database_pool.take()
    with scripted_provider() as service:
        studio = metered(postgres_server.url(name), tmp_path_factory.mktemp("reports"), service)
        studio.bring(film(["One", "Two", "Three", "Four", "Five", "Gone"]))
        studio.run("scene_1", "scene_2", "scene_3", "scene_6")
        assert again(studio, service, "scene_1", "none") == "generated"
        assert again(studio, service, "scene_2", "dies_for_good") == "failed"
        assert again(studio, service, "scene_3", "blank") == "failed"
        lose_a_payment(studio, service, "scene_4")
        studio.sql("UPDATE projects SET master_json = master_json #- '{scenes,scene_6}'")
        studio.run("scene_1")  # plans the document anew
        for key in ("other", "drill"):
            studio.bring(film(["Dawn", "Dusk"], key=key))
            studio.run("scene_1", key=key)
        studio.sql("UPDATE projects SET archived_at = now() WHERE key <> 'film'")
        studio.sql("UPDATE projects SET is_scratch = true WHERE key = 'drill'")
        yield studio
    postgres_server.drop(name)


def lose_a_payment(studio: Studio, service: ScriptedProvider, scene_id: str) -> None:
    """A request is lost, cannot be looked up, and is followed by another."""
    service.set_fault("lost_and_history_down")
    assert studio.run(scene_id).statuses == {scene_id: "ambiguous"}
    studio.sql(
        "UPDATE generations SET submitting_at = now() - interval '2 hours'"
        " WHERE state = 'submitting'"
    )
    service.before_accepting = lambda _request: service.set_fault("none")
    assert studio.run(scene_id).statuses == {scene_id: "generated"}
    service.before_accepting = lambda _request: None


def test_the_money_of_a_report_is_the_ledgers_to_the_micro_dollar(eventful: Studio) -> None:
    report, totals = report_of(eventful), ledger(eventful)
    [budget] = eventful.sql(
        "SELECT spent_micros FROM budgets WHERE scope = 'project'"
        " AND key = (SELECT id::text FROM projects WHERE key = 'film')"
    )
    by_scene = {
        row["scene_id"]: usd(row["cost_micros"])
        for row in eventful.sql(
            "SELECT scene_id, cost_micros FROM scene_status WHERE project_key = 'film'"
        )
    }

    assert report.totals.money.total_micros == totals.total_micros == budget["spent_micros"] > 0
    assert report.totals.money.metered_micros == totals.metered_micros > 0
    assert report.totals.money.estimated_micros == totals.estimated_micros > 0
    assert report.totals.money.doubtful_micros == totals.doubtful_micros > 0
    for table in (report.scenes, report.models):
        rows = table.records()
        assert total(rows, "cost_usd") == usd(totals.total_micros)
        assert total(rows, "doubtful_usd") == usd(totals.doubtful_micros)
        for row in rows:
            parts = [row["metered_usd"], row["estimated_usd"], row["doubtful_usd"]]
            assert row["cost_usd"] == sum(parts)  # type: ignore[arg-type]  # decimals
    shown = {row["scene_id"]: row["cost_usd"] for row in report.scenes.records()}
    assert {name: shown[name] for name in by_scene} == by_scene


def test_a_scene_tells_its_versions_attempts_failures_and_what_is_not_shown(
    eventful: Studio,
) -> None:
    report = report_of(eventful)
    price = row_of(report.scenes, "scene_6")["cost_usd"]
    assert isinstance(price, Decimal)
    told = {
        name: {c: row_of(report.scenes, name)[c] for c in columns}
        for name, columns in {
            "scene_1": ("state", "version", "versions", "attempts", "failures", "wasted_usd"),
            "scene_2": ("version", "versions", "attempts", "failure_codes", "cost_usd"),
            "scene_3": ("version", "versions", "failure_codes", "wasted_usd"),
            "scene_4": ("versions", "attempts", "doubtful_usd", "wasted_usd", "cost_usd"),
            "scene_5": ("state", "version", "attempts", "seconds_median", "cost_usd"),
            "scene_6": ("state", "version", "wasted_usd"),
        }.items()
    }

    assert told == {
        "scene_1": {
            "state": "current", "version": 2, "versions": 2, "attempts": 2, "failures": 0,
            "wasted_usd": price,
        },
        "scene_2": {
            "version": 1, "versions": 1, "attempts": 2, "failure_codes": "died",
            "cost_usd": 2 * price,
        },
        "scene_3": {
            "version": 1, "versions": 3, "failure_codes": "content_rejected x2",
            "wasted_usd": 2 * price,
        },
        "scene_4": {
            "versions": 1, "attempts": 2, "doubtful_usd": price, "wasted_usd": price,
            "cost_usd": 2 * price,
        },
        "scene_5": {
            "state": "missing", "version": None, "attempts": 0, "seconds_median": None,
            "cost_usd": 0,
        },
        "scene_6": {"state": "retired", "version": 1, "wasted_usd": price},
    }  # fmt: skip
    assert [row[0] for row in report.scenes.rows][-1] == "scene_6"
    assert row_of(report.scenes, "scene_1")["seconds"] != 0


def test_a_model_tells_its_frames_rejections_seconds_and_price_of_a_frame(
    eventful: Studio,
) -> None:
    report = report_of(eventful)
    [model] = report.models.records()

    assert (model["provider"], model["frames"], model["versions"]) == ("fal", 4, 8)
    assert (model["attempts"], model["failures"], model["rejections"]) == (10, 3, 2)
    assert isinstance(model["seconds_median"], float)
    assert isinstance(model["seconds_p95"], float)
    assert model["seconds_median"] <= model["seconds_p95"]
    assert model["cost_per_frame_usd"] == usd(report.totals.money.total_micros) / 4
    [rejected, died] = report.failures.records()
    assert (rejected["code"], rejected["failures"]) == ("content_rejected", 2)
    assert (died["code"], died["failures"], died["scenes"]) == ("died", 1, 1)
    assert "It failed" in str(died["said"])


def test_files_hold_the_table_and_equal_data_is_stored_once(eventful: Studio) -> None:
    first, second = stored(eventful), stored(eventful)
    table = first.report.scenes
    names = [column.name for column in table.columns]

    assert first.tables == second.tables
    assert eventful.sql("SELECT count(*) AS n FROM report_files") == [{"n": 6}]
    packed = pd.read_parquet(io.BytesIO(file_bytes(eventful, first.scenes.parquet.storage_path)))
    assert list(packed.columns) == names
    assert [tuple(row) for row in packed[["scene_id", "cost_usd"]].itertuples(index=False)] == [
        (row["scene_id"], row["cost_usd"]) for row in table.records()
    ]
    text = file_bytes(eventful, first.scenes.csv.storage_path).decode()
    written = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert list(written.columns) == names
    assert list(written["cost_usd"]) == [f"{r['cost_usd']:.6f}" for r in table.records()]
    assert "A film" not in text


def table_in(studio: Studio, files: StoredTable) -> pd.DataFrame:
    """A table as another program reads it; both of its files say the same."""
    packed = pd.read_parquet(io.BytesIO(file_bytes(studio, files.parquet.storage_path)))
    written = pd.read_csv(io.BytesIO(file_bytes(studio, files.csv.storage_path)))
    assert list(written.columns) == list(packed.columns)
    assert len(written) == len(packed)
    return packed


def test_models_and_failures_are_files_as_well(eventful: Studio) -> None:
    made = stored(eventful)

    models, failures = table_in(eventful, made.models), table_in(eventful, made.failures)

    assert models.to_dict("records") == made.report.models.records()
    assert list(failures["code"]) == ["content_rejected", "died"]
    assert failures.to_dict("records") == made.report.failures.records()
    kinds = {file.kind for table in made.tables.values() for file in (table.csv, table.parquet)}
    assert kinds == {
        f"project_{name}_{form}"
        for name in ("report", "models", "failures")
        for form in ("csv", "parquet")
    }


def test_models_and_days_of_all_projects_are_files_as_well(eventful: Studio) -> None:
    made = stored_portfolio(eventful)

    assert table_in(eventful, made.models).to_dict("records") == made.report.models.records()
    assert table_in(eventful, made.days).to_dict("records") == made.report.days.records()
    assert stored_portfolio(eventful).tables == made.tables


def test_seconds_are_the_same_beside_a_frame_and_in_every_report(paying: Studio) -> None:
    paying.bring(film(["One"]))
    paying.run()
    [row] = paying.sql(
        "UPDATE generations SET submitting_at = completed_at - interval '40 seconds',"
        " submitted_at = completed_at - interval '10 seconds' RETURNING id"
    )

    async def beside_it(services: Services) -> FrameHistory:
        async with services.pool.connection() as conn:
            return (await frame_histories(conn, [row["id"]]))[row["id"]]

    history = paying.do(beside_it)
    report, portfolio = report_of(paying), portfolio_of(paying)

    assert history.generation_seconds == history.attempts[0].seconds == 40
    assert report.totals.seconds == report.models.records()[0]["seconds_median"] == 40
    assert portfolio.models.records()[0]["seconds_median"] == 40


def test_an_answer_that_is_older_than_its_request_has_no_seconds(paying: Studio) -> None:
    """A row that is asked for again keeps the old answer's moment until it has one of its own."""
    paying.bring(film(["One"]))
    paying.run()
    [row] = paying.sql(
        "UPDATE generations SET submitting_at = completed_at + interval '1 second' RETURNING id"
    )

    async def beside_it(services: Services) -> FrameHistory:
        async with services.pool.connection() as conn:
            return (await frame_histories(conn, [row["id"]]))[row["id"]]

    history = paying.do(beside_it)

    assert (history.generation_seconds, history.attempts[0].seconds) == (None, None)
    assert report_of(paying).models.records()[0]["seconds_median"] is None


def test_a_picture_that_stands_in_for_another_payment_is_not_wasted(
    paying: Studio, provider: ScriptedProvider
) -> None:
    paying.bring(film(["A lighthouse"]))
    paying.run()
    paying.sql(
        "UPDATE projects SET master_json = jsonb_set(master_json #- '{scenes,scene_1}',"
        " '{scenes,beacon}', (master_json #> '{scenes,scene_1}') - 'scene_start_frame')"
    )
    assert paying.run("beacon").statuses == {"beacon": "kept"}
    assert len(provider.accepted) == 1

    report = report_of(paying)
    [line] = portfolio_of(paying).projects.records()

    assert (report.totals.frames, report.totals.versions) == (1, 2)
    assert report.totals.money.total_micros > 0
    assert report.totals.money.wasted_micros == 0
    assert line["wasted_usd"] == 0
    assert row_of(report.scenes, "beacon")["free_frames"] == 1


def test_the_portfolio_agrees_with_every_project_and_with_the_days(eventful: Studio) -> None:
    portfolio, report = portfolio_of(eventful), report_of(eventful)
    one, other = portfolio.projects.records()

    assert (one["project"], other["project"]) == ("film", "other")
    assert (one["archived"], other["archived"]) == (None, "yes")
    assert {name: one[name] for name in MONEY} == {
        name: total(report.scenes.records(), name) for name in MONEY
    }
    for name in ("frames", "versions", "attempts", "failures"):
        assert one[name] == getattr(report.totals, name)
    assert (one["scenes"], one["ready"], one["not_ready"]) == (5, 4, 1)
    assert one["last_7_days_usd"] == one["last_30_days_usd"] == one["cost_usd"]
    everything = total([one, other], "cost_usd")
    assert total(portfolio.days.records(), "cost_usd") == everything
    assert total(portfolio.models.records(), "cost_usd") == everything
    assert total(portfolio.days.records(), "versions") == total([one, other], "versions")
    assert total(portfolio.days.records(), "attempts") == total([one, other], "attempts")
    assert usd(portfolio.totals.money.total_micros) == everything
    [model] = report.models.records()
    [among_all] = portfolio.models.records()
    shared = ("rejections", "failures")
    assert [among_all[name] for name in shared] == [model[name] for name in shared]
    assert isinstance(among_all["seconds_p95"], float)
    assert portfolio.chart_days[-1].frames == total(portfolio.days.records(), "versions")


def test_money_is_of_the_day_on_which_its_request_was_sent(paying: Studio) -> None:
    paying.bring(film(["One", "Two", "Three"]))
    paying.run()
    for number, days in enumerate((0, 8, 40), start=1):
        paying.sql(
            "UPDATE generations SET submitting_at = submitting_at - make_interval(days => %s)"
            " WHERE scene_id = %s",
            days,
            f"scene_{number}",
        )
    portfolio = portfolio_of(paying)
    [line] = portfolio.projects.records()
    price = row_of(report_of(paying).scenes, "scene_1")["cost_usd"]
    assert isinstance(price, Decimal)

    assert (line["last_7_days_usd"], line["last_30_days_usd"]) == (price, 2 * price)
    assert line["cost_usd"] == 3 * price
    ages = [(portfolio.today - row[0]).days for row in portfolio.days.rows]  # type: ignore[operator]
    assert ages == [0, 8, 40]
    assert [sum(day.cost_usd.values()) > 0 for day in portfolio.chart_days].count(True) == 3


def test_an_installation_without_anything_has_a_report(studio: Studio) -> None:
    made = stored_portfolio(studio)

    assert made.report.totals.money.total_micros == 0
    assert made.report.projects.rows == ()
    assert file_bytes(studio, made.chart.storage_path).startswith(b"\x89PNG")
    assert stored_portfolio(studio).chart == made.chart


def test_a_project_without_frames_has_a_report(studio: Studio) -> None:
    studio.bring(film(["One"]))

    made = stored(studio).report

    assert [(r["scene_id"], r["state"]) for r in made.scenes.records()] == [("scene_1", "missing")]
    assert (made.models.rows, made.failures.rows) == ((), ())
    assert made.title == "A film"
    studio.run()
    assert [row[1] for row in stored(studio).report.scenes.rows] == ["current"]
    # No failure came: that table is what it was.
    assert studio.sql("SELECT count(DISTINCT sha256) AS n FROM report_files") == [{"n": 10}]


def test_an_unknown_project_has_none(studio: Studio) -> None:
    with pytest.raises(NotFoundError) as told:
        report_of(studio, "nobody")

    assert told.value.error_code == "project_unknown"


def test_what_changes_while_a_report_is_read_is_in_none_of_its_tables(paying: Studio) -> None:
    """One snapshot: the second table is read after another program has paid for a frame."""
    paying.bring(film(["One", "Two"]))
    paying.run("scene_1")

    async def work(services: Services) -> ProjectReport:
        async with services.pool.connection() as conn:
            execute, calls = conn.execute, 0

            async def meddling(statement: Any, *values: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                result = await execute(statement, *values, **options)
                if "scene_status" in str(statement):
                    async with services.pool.connection() as other:
                        await other.execute(
                            "UPDATE generations SET cost_micros = 999 WHERE scene_id = 'scene_1'"
                        )
                return result

            conn.execute = meddling  # type: ignore[method-assign,assignment]  # looks on
            lines = await read_project_lines(conn, "film")
            assert calls <= 8
            return project_report_of(lines)

    before = report_of(paying).totals.money.total_micros

    assert paying.do(work).totals.money.total_micros == before
    assert report_of(paying).totals.money.total_micros == 999
