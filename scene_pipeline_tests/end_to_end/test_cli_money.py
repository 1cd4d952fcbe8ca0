"""`prices`, `resolve`, and the caps that `status` and `run` show."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scene_pipeline.drill.standin.server import FalStandIn
from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[FalStandIn]:
    with FalStandIn(tmp_path / "fal", hang_seconds=5.0) as standin:
        yield standin


@pytest.fixture
def paid_cli(cli: CommandLine, fal: FalStandIn, database_url: str) -> CommandLine:
    """The console script with Fal's stand-in, and budgets and prices of its own."""
    cli.variables = {
        **fal.environment,
        "DATABASE_URL": database_url,
        "SCENE_PIPELINE_AMBIGUOUS_SETTLE_SECONDS": "0.2",
        "SCENE_PIPELINE_AMBIGUOUS_PATIENCE_SECONDS": "1",
        "SCENE_PIPELINE_SUBMIT_TIMEOUT_SECONDS": "2",
    }
    return cli


def test_a_lost_request_is_shown_decided_about_and_counted(
    fal: FalStandIn, paid_cli: CommandLine
) -> None:
    fal.api.is_down = True
    lost = "A lighthouse [[fault:drop_after_accept*1]]"
    path = paid_cli.write("lost.json", film([lost, "A calm sea"], key="lost"))

    first = paid_cli.run(path)
    shown = paid_cli("status", "lost", "--json")
    nothing = paid_cli("resolve", "lost", "scene_2", "--abandon", "--json")
    both = paid_cli("resolve", "lost", "scene_1", "--abandon", "--pay-again")
    decided = paid_cli("resolve", "lost", "scene_1", "--pay-again")
    second = paid_cli.run("lost")
    words = paid_cli("status", "lost").out

    assert first.code == 1
    assert first.statuses == {"scene_1": "ambiguous", "scene_2": "generated"}
    assert "resolve lost scene_1 --pay-again" in first.scenes["scene_1"]["error"]["next_action"]
    assert shown.scenes["scene_1"]["state"] == "ambiguous"
    [project, day] = shown.document["budgets"]
    assert (project["scope"], project["period"]) == ("project", "all")
    assert (project["cap_usd"], project["spent_usd"]) == (5.0, 0.003)
    assert (project["reserved_usd"], project["left_usd"]) == (0.003, 4.994)
    assert (day["scope"], day["cap_usd"]) == ("day", 20.0)
    assert (nothing.code, nothing.document["error"]["code"]) == (2, "nothing_ambiguous")
    assert (both.code, both.out) == (2, "")
    assert decided.code == 0
    assert "run lost" in decided.out
    assert second.statuses == {"scene_1": "generated", "scene_2": "kept"}
    assert second.document["spent_usd"] == {"metered": 0.006, "estimated": 0.0, "in_doubt": 0.003}
    assert second.document["left_usd"]["project"] == 4.991
    assert "$0.009 spent ($0.006 metered, $0.003 in doubt)" in words
    assert "project $5.00 ($0.009 spent, $4.991 left)" in words
    assert len(fal.meter.accepted) == 3


def test_prices_show_where_they_come_from_and_are_renewed(
    fal: FalStandIn, paid_cli: CommandLine
) -> None:
    fal.api.prices["fal-ai/flux/dev"]["unit_price"] = 0.03
    fal.api.prices["fal-ai/flux-pro/v1.1"]["currency"] = "EUR"
    mine = paid_cli.write(
        "mine.json",
        json.dumps(
            {
                "as_of": "2026-10-01",
                "prices": {"fal": {"fal-ai/own": {"unit_price": "0.01", "unit": "image"}}},
            }
        ).encode(),
    )

    renewed = paid_cli("prices", "--refresh", "--json")
    table = paid_cli("prices", "--json", env={"SCENE_PIPELINE_PRICES_FILE": str(mine)})
    words = paid_cli("prices").out

    assert (renewed.code, table.code) == (0, 0)
    assert "fal-ai/flux/dev" in renewed.document["refreshed"]
    assert "not in USD" in renewed.document["refused"]["fal-ai/flux-pro/v1.1"]
    by_model = {price["model"]: price for price in table.document["prices"]}
    assert by_model["fal-ai/flux/dev"]["unit_price_usd"] == 0.03
    assert by_model["fal-ai/flux/dev"]["layer"] == "fetched"
    assert by_model["fal-ai/flux-pro/v1.1"]["layer"] == "shipped"
    assert by_model["fal-ai/own"]["layer"] == "file"
    assert "Fal's price API" in words
    assert "2026-09-26" in words


def test_prices_are_not_renewed_without_a_key(cli: CommandLine) -> None:
    done = cli("prices", "--refresh", "--json")

    assert done.code == 2
    assert done.document["error"]["code"] == "fal_key_missing"
