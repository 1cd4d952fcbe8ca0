"""The job that brings pictures home, and how its work is shown at the scenes.

Belongs here: the op and its events. Does not belong here: healing (`pipeline.upkeep.heal`) and when
it is due (`sensors.external_images`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import dagster as dg
from pydantic import Field

from scene_pipeline.defs.frame_metadata import stage_materialization
from scene_pipeline.defs.outcomes import UNFINISHED_SCENES
from scene_pipeline.defs.partitions import SCENES_NAME
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import at_work, left_to_another, numbers_output, with_services
from scene_pipeline.pipeline.orders import Stage, StageDone
from scene_pipeline.scenes.identity import partition_key

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection
    from scene_pipeline.pipeline.keeping.healer import HealedVersion
    from scene_pipeline.pipeline.orders import FrameFacts

HEALED_PER_RUN = 300
"""Versions that one run tries at most; what is left is due, so the next one goes on."""
_NAMED = 20


class HealConfig(dg.Config):
    """Which pictures are brought home."""

    project: str | None = Field(
        default=None, description="Key of the one project to heal. Left empty: all projects."
    )
    only_due: bool = Field(
        default=False,
        description=(
            "Leave out versions that were tried a short while ago, as the sensor does. Otherwise "
            "all are tried now."
        ),
    )


@dg.op(out=dg.Out(dg.Nothing), description="Brings pictures home that are at their provider only.")
def heal_external_images(
    context: dg.OpExecutionContext, config: HealConfig, pipeline: dg.ResourceParam[PipelineRuntime]
) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
    """Heal what expires first first, and show what was healed at its scenes."""
    from scene_pipeline.pipeline.upkeep.heal import heal  # noqa: PLC0415  # heavy

    with at_work(context):
        report = with_services(
            pipeline,
            "heal",
            lambda services: heal(
                services,
                project_key=config.project,
                limit=HEALED_PER_RUN,
                only_due=config.only_due,
            ),
        )
    if report is None:
        yield left_to_another(context)
        return
    yield from _materializations(context.instance, pipeline, report.versions)
    counts = Counter(version.status for version in report.versions)
    numbers = {str(status): number for status, number in counts.items()}
    output = numbers_output(context, {**numbers, "still_external": report.remaining})
    failed = _failed(report.versions)
    if failed:
        raise dg.Failure(
            description="\n".join(failed),
            # Told of scenes: `heal_times` raises the alerts, so that the run itself is no news.
            metadata={UNFINISHED_SCENES: "\n".join(failed), **numbers},
            allow_retries=False,
        )
    yield output


@dg.job(
    name="heal",
    description="Brings pictures home that are at their provider only. Spends nothing.",
    executor_def=dg.in_process_executor,
)
def heal_job() -> None:
    """Heal."""
    heal_external_images()


def _materializations(
    instance: dg.DagsterInstance, pipeline: PipelineRuntime, versions: "Sequence[HealedVersion]"
) -> Iterator[dg.AssetMaterialization]:
    """What the UI shows of healed frames that are their scenes' current ones."""
    shown = [version for version in versions if version.status == "healed" and version.is_current]
    frames = _frames_of(pipeline, shown)
    for version in shown:
        frame = frames.get(version.generation_id)
        key = partition_key(version.scene.project_key, version.scene.scene_id)
        # An archived project's pictures are healed as well, and it may have given up its keys.
        if frame is None or not instance.has_dynamic_partition(SCENES_NAME, key):
            continue
        stages: list[Stage] = ["scene_image"]
        if version.document in ("written", "already"):
            stages.append("scene_start_frame")
        for stage in stages:
            event = StageDone(version.scene, stage, {"healed": True}, frame)
            yield stage_materialization(event, key)


def _frames_of(
    pipeline: PipelineRuntime, versions: "Sequence[HealedVersion]"
) -> "dict[UUID, FrameFacts]":
    """The healed versions as they are now, by generation, with what came before them."""
    from scene_pipeline.database.frame_history import frame_histories  # noqa: PLC0415  # psycopg
    from scene_pipeline.database.versions import versions_of_generations  # noqa: PLC0415
    from scene_pipeline.pipeline.facts import frame_facts  # noqa: PLC0415
    from scene_pipeline.pipeline.frame_history import with_history  # noqa: PLC0415

    if not versions:
        return {}

    async def read(conn: "Connection") -> "dict[UUID, FrameFacts]":
        ids = [version.generation_id for version in versions]
        rows = await versions_of_generations(conn, ids)
        histories = await frame_histories(conn, ids)
        return {
            one: with_history(frame_facts(row), histories.get(one)) for one, row in rows.items()
        }

    return pipeline.in_database(read)


def _failed(versions: "Sequence[HealedVersion]") -> list[str]:
    """What could not be healed, in bounded words; a picture that is known to be lost is no news."""
    failed = [
        version for version in versions if version.failure is not None and not version.was_lost
    ]
    lines = []
    for version in failed[:_NAMED]:
        failure = version.failure
        if failure is not None:
            name = partition_key(version.scene.project_key, version.scene.scene_id)
            lines.append(
                f"{name} version {version.version}: [{failure.code}] {failure.message}"
                f" {failure.next_action}"
            )
    if len(failed) > _NAMED:
        lines.append(f"and {len(failed) - _NAMED} more")
    return lines
