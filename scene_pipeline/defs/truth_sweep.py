"""The job that asks current URLs whether they still serve their bytes.

Belongs here: the op, and how its verdicts are shown at the scenes. Does not belong here: which URLs
are asked (`pipeline.upkeep.truth_sweep`) and when (`schedules`).
"""

import shlex
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from scene_pipeline.defs.checks import of_known_scenes
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.defs.upkeep_work import (
    as_dagster_failure,
    at_work,
    left_to_another,
    numbers_output,
    parts_in_turn,
)
from scene_pipeline.pipeline.orders import Failure
from scene_pipeline.settings import load_settings

if TYPE_CHECKING:
    from scene_pipeline.pipeline.upkeep.truth_sweep import SweepReport

_NAMED = 10
_LOGGED = 50


class TruthSweepConfig(dg.Config):
    """How many URLs are asked."""

    requests: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description=(
            "The most URLs that are asked. Left empty, SCENE_PIPELINE_TRUTH_SWEEP_REQUESTS decides."
        ),
    )


@dg.op(out=dg.Out(dg.Nothing), description="Asks current URLs whether they serve their bytes.")
def ask_current_urls(
    context: dg.OpExecutionContext,
    config: TruthSweepConfig,
    pipeline: dg.ResourceParam[PipelineRuntime],
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Ask what was not asked for longest, and show what is news at its scenes."""
    from scene_pipeline.pipeline.upkeep.truth_sweep import SweepReport, sweep_truth  # noqa: PLC0415  # heavy

    limit = config.requests or pipeline.settings.truth_sweep_requests
    report, run_id = SweepReport(), context.run.run_id
    pages = parts_in_turn(
        pipeline,
        "truth_sweep",
        lambda services: sweep_truth(services, limit, report, run_id=run_id),
    )
    with at_work(context), closing(pages):
        for news in pages:
            if news is None:
                yield left_to_another(context)
                return
            yield from of_known_scenes(context.instance, news)
    if report.left_out:
        context.log.info(
            "%d URLs of the frame server of this machine were left out, since it does not run:"
            " `scene-pipeline up` starts it.",
            report.left_out,
        )
    for scene, verdict in [*report.wrong[:_LOGGED], *report.unreachable[:_LOGGED]]:
        context.log.warning("%s/%s: %s", scene.project_key, scene.scene_id, verdict.words)
    numbers = {
        "checked": report.checked,
        "passed": report.passed,
        "failed": len(report.wrong),
        "unreachable": len(report.unreachable),
        "left_out": report.left_out,
    }
    output = numbers_output(context, numbers)
    if report.wrong:
        raise as_dagster_failure(_broken(report), numbers)
    yield output


@dg.job(
    name="truth_sweep",
    description=(
        "Asks current URLs whether they still serve the stored bytes, those first that were not "
        "asked for longest. Spends nothing."
    ),
    executor_def=dg.in_process_executor,
)
def truth_sweep_job() -> None:
    """Sweep."""
    ask_current_urls()


def switched_off() -> str | None:
    """Why no sweep is launched by itself; None where it is."""
    if load_settings().truth_sweep_requests:
        return None
    return "SCENE_PIPELINE_TRUTH_SWEEP_REQUESTS is 0, so no URL is asked."


def _broken(report: "SweepReport") -> Failure:
    """What does not serve its bytes, and what to do about it, in bounded words."""
    count = len(report.wrong)
    named = ", ".join(f"{scene.project_key}/{scene.scene_id}" for scene, _ in report.wrong[:_NAMED])
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    projects = sorted({scene.project_key for scene, _ in report.wrong})
    project = shlex.quote(projects[0])
    command = (
        f"`scene-pipeline reconcile {project}`"
        if len(projects) == 1
        else "`scene-pipeline reconcile`"
    )
    return Failure(
        code="urls_broken",
        message=f"Current URLs that do not serve their bytes, {count}: {named}{more}.",
        next_action=f"See what is lost and can be repaired: {command}.",
    )
