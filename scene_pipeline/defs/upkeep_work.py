"""What the ops of upkeep have in common: one at a time, told in numbers, failing in words.

Belongs here: that. Does not belong here: the ops (`upkeep`, `healing`).
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from scene_pipeline.defs.dead_runs import process_tags
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.errors import ScenePipelineError
from scene_pipeline.pipeline.orders import Failure

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.pipeline.services import Services

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


def numbers_output(context: dg.OpExecutionContext, numbers: Mapping[str, int]) -> dg.Output[None]:
    """Tell numbers in a line of the log and beside the op's output."""
    context.log.info(line_of(numbers))
    return dg.Output(None, metadata=dict(numbers))


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
