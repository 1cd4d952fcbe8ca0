"""Imports into the library as an asset, one partition per project.

Belongs here: the asset, and what the UI shows of an import. Does not belong here: carrying one out
(`pipeline.library.imports`) and when a run is due (`sensors.asset_imports`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import dagster as dg
from pydantic import Field

from scene_pipeline.defs.catalogue import LIBRARY_GROUP, asset_owners, column_schema, spends
from scene_pipeline.defs.columns import USER_ASSET_COLUMNS
from scene_pipeline.defs.dead_runs import process_tags
from scene_pipeline.defs.metadata import PROJECT_TAG, MetadataValues
from scene_pipeline.defs.partitions import libraries
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import line_of
from scene_pipeline.errors import ConfigurationError
from scene_pipeline.scenes.identity import parse_library_partition_key

if TYPE_CHECKING:
    from scene_pipeline.pipeline.library.import_events import ImportOutcome
    from scene_pipeline.pipeline.services import Services

_ROWS_IN_TABLE = 200
_NAMED = 20
_COLUMNS = ("source", "result", "error", "asset_id", "kind", "bytes")
"""In the order in which they matter: Dagster's page cuts wide tables off at the right."""


class ImportConfig(dg.Config):
    """What is imported."""

    launch: str = Field(
        default="",
        description=(
            "Id of the launch whose imports are carried out, as the sensor and the command set it. "
            "Left empty: everything of this project that is not imported yet."
        ),
    )

    @property
    def launch_id(self) -> UUID | None:
        """The launch; None for everything.

        Raises:
            ConfigurationError: It is no id.
        """
        try:
            return UUID(self.launch) if self.launch else None
        except ValueError as error:
            raise ConfigurationError(
                f"launch {self.launch[:50]!r} is no id.",
                code="launch_invalid",
                next_action="Leave it empty to import everything that waits.",
            ) from error


@dg.asset(
    partitions_def=libraries,
    group_name=LIBRARY_GROUP,
    kinds={"postgres", "image"},
    owners=asset_owners(),
    tags=spends("nothing"),
    metadata=column_schema(USER_ASSET_COLUMNS),
    code_version="1",
    description=(
        "Pictures, video, sound and documents that people brought into a project's library by "
        "address or upload, each with what became of it. Materialized by hand, it imports "
        "everything of the project that waits. What is imported stands in user_assets. It spends "
        "nothing."
    ),
)
def user_asset(
    context: dg.AssetExecutionContext,
    config: ImportConfig,
    pipeline: dg.ResourceParam[PipelineRuntime],
) -> Iterator[dg.MaterializeResult[None]]:
    """Carry out the imports of a launch side by side, and tell what became of each."""
    project_key = parse_library_partition_key(context.partition_key)
    tags = process_tags(context.run.run_id)
    if project_key is not None and PROJECT_TAG not in context.run.tags:
        tags[PROJECT_TAG] = project_key
    context.instance.add_run_tags(context.run.run_id, tags)
    outcomes = _carry_out(context, config.launch_id, project_key, pipeline)
    context.log.info(line_of(Counter(one.status for one in outcomes)))
    yield dg.MaterializeResult(metadata=_metadata(outcomes))
    failure = _failure(outcomes)
    if failure is not None:
        raise failure


def _carry_out(
    context: dg.AssetExecutionContext,
    launch_id: UUID | None,
    project_key: str | None,
    pipeline: PipelineRuntime,
) -> "list[ImportOutcome]":
    from scene_pipeline.database.imports import open_imports  # noqa: PLC0415  # psycopg
    from scene_pipeline.database.projects import get_project  # noqa: PLC0415
    from scene_pipeline.pipeline.library.imports import MAX_IMPORTS_PER_RUN, import_all  # noqa: PLC0415  # heavy

    async def work(services: "Services") -> "list[ImportOutcome]":
        async with services.pool.connection() as conn:
            owner = None if project_key is None else (await get_project(conn, project_key)).id
            rows = await open_imports(conn, owner, launch_id, MAX_IMPORTS_PER_RUN)
        return await import_all(
            services, rows, run_id=context.run.run_id, tell=pipeline.observe_import
        )

    try:
        return pipeline.with_services(work)
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        if pipeline.is_at_terminal:
            # Dagster takes an interrupt that nobody announced for a crash.
            context.instance.report_run_canceling(context.run, "Interrupted.")
        raise


def _metadata(outcomes: "Sequence[ImportOutcome]") -> MetadataValues:
    counts: Counter[str] = Counter(one.status for one in outcomes)
    values: MetadataValues = {
        "result": dg.MetadataValue.text(line_of(counts)),
        "imports": dg.MetadataValue.table(
            records=[_record(one) for one in outcomes[:_ROWS_IN_TABLE]],
            schema=dg.TableSchema(
                columns=[
                    dg.TableColumn(name, "int" if name == "bytes" else "string")
                    for name in _COLUMNS
                ]
            ),
        ),
        "imports_total": dg.MetadataValue.int(len(outcomes)),
        "bytes": dg.MetadataValue.int(sum(one.size_bytes or 0 for one in outcomes)),
    }
    for status in ("new", "duplicate", "failed", "waiting", "busy"):
        values[f"imports_{status}"] = dg.MetadataValue.int(counts[status])
    return values


def _record(outcome: "ImportOutcome") -> dg.TableRecord:
    return dg.TableRecord(
        {
            "source": outcome.source,
            "kind": outcome.kind,
            "result": outcome.status,
            "asset_id": outcome.asset_id or "",
            "bytes": outcome.size_bytes or 0,
            "error": _error_words(outcome),
        }
    )


def _error_words(outcome: "ImportOutcome") -> str:
    failure = outcome.failure
    if failure is None:
        return ""
    return f"[{failure.code}] {failure.message} {failure.next_action}"


def _failure(outcomes: "Sequence[ImportOutcome]") -> dg.Failure | None:
    """What the op raises at its end: every import that failed, with code and next action."""
    from scene_pipeline.pipeline.library.import_events import UNFINISHED_IMPORTS  # noqa: PLC0415  # psycopg

    failed = [one for one in outcomes if one.status in UNFINISHED_IMPORTS]
    if not failed:
        return None
    lines = [
        f"[imports_unfinished] {len(failed)} of {len(outcomes)} imports did not succeed.",
    ]
    lines += [f"{one.source}: {_error_words(one)}{_again(one.again_in)}" for one in failed[:_NAMED]]
    if len(failed) > _NAMED:
        lines.append(f"and {len(failed) - _NAMED} more")
    return dg.Failure(description="\n".join(lines), metadata=_metadata(failed), allow_retries=False)


def _again(wait: timedelta | None) -> str:
    return "" if wait is None else f" It is tried again in {wait.total_seconds():.0f} s."
