"""What the ops of upkeep have in common: one at a time, told in numbers, failing in words.

Belongs here: that. Does not belong here: the ops (`upkeep`, `healing`).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, TypeVar, get_args

import dagster as dg

from scene_pipeline.defs.dead_runs import process_tags
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.orders import Failure

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.pipeline.services import Services
    from scene_pipeline.pipeline.upkeep.retain import RetainReport

MAX_TABLE_ROWS = 100
"""Rows of one table of metadata; an event is read whole by every page that shows it."""

T = TypeVar("T")


@contextmanager
def at_work(context: dg.OpExecutionContext) -> Iterator[None]:
    """Tie the run to its process, and let it fail with code and next action.

    Without the former, a killed run would count as under way for ever, and keep the next one back.
    """
    run_id = context.run.run_id
    context.instance.add_run_tags(run_id, process_tags(run_id))
    try:
        yield
    except ScenePipelineError as error:
        told = Failure(error.error_code, error.message, error.next_action)
        raise as_dagster_failure(told, {}) from error


def with_services(
    pipeline: PipelineRuntime, name: str, work: "Callable[[Services], Awaitable[T]]"
) -> T | None:
    """Do some work unless another process is at work of that name; None where one is."""
    from scene_pipeline.database.turns import turn  # noqa: PLC0415  # psycopg

    async def in_turn(services: "Services") -> T | None:
        async with turn(services.database_url, name) as is_ours:
            return await work(services) if is_ours else None

    return pipeline.with_services(in_turn)


def parts_in_turn(
    pipeline: PipelineRuntime, name: str, work: "Callable[[Services], AsyncGenerator[T, None]]"
) -> "Generator[T | None, None, None]":
    """As `with_services`, for work that comes in parts; one None where another is at it."""
    from scene_pipeline.database.turns import turn  # noqa: PLC0415  # psycopg

    async def in_turn(services: "Services") -> "AsyncGenerator[T | None, None]":
        async with turn(services.database_url, name) as is_ours:
            if not is_ours:
                yield None
                return
            async with aclosing(work(services)) as parts:
                async for part in parts:
                    yield part

    return pipeline.each_with_services(in_turn)


def in_database(
    pipeline: PipelineRuntime, name: str, work: "Callable[[Connection], Awaitable[T]]"
) -> T | None:
    """As `with_services`, for work that needs the database alone."""
    from scene_pipeline.database.turns import turn  # noqa: PLC0415  # psycopg

    async def in_turn(conn: "Connection") -> T | None:
        async with turn(pipeline.database_url, name) as is_ours:
            return await work(conn) if is_ours else None

    return pipeline.in_database(in_turn)


def left_to_another(context: dg.OpExecutionContext) -> dg.Output[None]:
    """The output of a run that found another one at the same work."""
    context.log.info("Another run is at it; this one leaves it to that.")
    return dg.Output(None, metadata={"left_to_another_run": True})


def numbers_output(
    context: dg.OpExecutionContext,
    numbers: Mapping[str, int],
    further: Mapping[str, dg.MetadataValue] | None = None,
) -> dg.Output[None]:
    """Tell numbers in a line of the log, and with what else is told beside the op's output."""
    context.log.info(line_of(numbers))
    return dg.Output(None, metadata={**numbers, **(further or {})})


def retention_metadata(report: "RetainReport") -> dict[str, dg.MetadataValue]:
    """What retention keeps, gives up and frees in each project, as a table beside the output.

    Money is in US dollars: what the versions had cost, as metered or estimated; it stays spent.
    """
    from scene_pipeline.database.retention import KeepReason  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.facts import usd  # noqa: PLC0415

    records = [
        dg.TableRecord(
            {
                "project": project.rule.project_key,
                "gives_up": project.given_up.versions.objects,
                "freed_bytes": project.given_up.freed_bytes,
                "had_cost_usd": float(usd(project.given_up.cost_micros)),
                "rule": f"newest {project.rule.rule.keep_versions}, younger than"
                f" {project.rule.rule.keep_days:g} days",
                **{f"kept_{name}": project.kept.get(name, 0) for name in get_args(KeepReason)},
            }
        )
        for project in report.projects[:MAX_TABLE_ROWS]
    ]
    told: dict[str, dg.MetadataValue] = {
        "freed_bytes": dg.MetadataValue.int(report.total.freed_bytes),
        "given_up_cost_usd": dg.MetadataValue.float(float(usd(report.total.cost_micros))),
        "given_up_estimated_usd": dg.MetadataValue.float(float(usd(report.total.estimated_micros))),
    }
    if records:
        told["projects"] = dg.MetadataValue.table(records)
    return told


def line_of(numbers: Mapping[str, int]) -> str:
    """Numbers that are not zero, in words."""
    told = [f"{number} {name.replace('_', ' ')}" for name, number in numbers.items() if number]
    return ", ".join(told) or "Nothing was to be done."


def as_dagster_failure(failure: Failure, numbers: Mapping[str, int]) -> dg.Failure:
    """A failure with what to do about it; the pipeline itself tries again, so Dagster need not."""
    return dg.Failure(
        description=f"[{failure.code}] {failure.message}\n{failure.next_action}",
        metadata=dict(numbers),
        allow_retries=False,
    )
