"""The checks on scenes' frames in Dagster's catalogue, and verdicts as their results.

Belongs here: specs and events. Does not belong here: what the checks mean (`pipeline.checks`) and
coming to a verdict (`pipeline.checking`).

Every result names its partition: without it, the last scene's verdict would stand for all of them
(decision 0012).
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

import dagster as dg

from scene_pipeline.defs.event_batches import AssetEvent, EventBatches, about_the_newest
from scene_pipeline.defs.metadata import scene_metadata
from scene_pipeline.defs.partitions import SCENES_NAME, scenes
from scene_pipeline.defs.resources import PipelineRuntime
from scene_pipeline.pipeline.checks import CHECK_BY_NAME, CHECKS, Check, CheckVerdict
from scene_pipeline.pipeline.orders import SceneChecked, SceneRef
from scene_pipeline.scenes.identity import partition_key

if TYPE_CHECKING:
    from scene_pipeline.database.rows import Connection

_Verdicts = list[tuple[SceneRef, CheckVerdict]]
_TOLD_AT_ONCE = 50
"""Results that are kept together, each of which takes some milliseconds to tell."""
SEVERITIES: Final = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}


def check_specs() -> list[dg.AssetCheckSpec]:
    """One spec per check, on the asset that it is about, with a result per scene."""
    with warnings.catch_warnings():
        # Results per partition are a preview in the pinned version: this one place says so.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=check.asset,
                description=_description(check),
                partitions_def=scenes,
            )
            for check in CHECKS
        ]


def evaluations(
    checked: SceneChecked, selected: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of one scene, of those checks that the run was asked for."""
    for verdict in checked.verdicts:
        if _key(verdict) in selected:
            yield evaluation(checked.scene, verdict)


def results_alone(
    context: dg.AssetExecutionContext, scenes: Sequence[SceneRef], pipeline: PipelineRuntime
) -> Iterator[AssetEvent]:
    """Judge scenes as they stand, for a run that was asked for checks and no asset."""
    from scene_pipeline.pipeline.checking.frames import check_scenes  # noqa: PLC0415  # heavy

    selected = context.selected_asset_check_keys
    assets = {check.asset for check in CHECKS if _spec_key(check) in selected}
    context.log.info("Checks of %d scenes", len(scenes))
    batches = EventBatches(context)
    run_id = context.run.run_id
    for checked in pipeline.with_services(
        lambda services: check_scenes(services, scenes, assets, run_id=run_id)
    ):
        for result in evaluations(checked, selected):
            batches.add(result)
    yield from batches.flush()


def evaluation(scene: SceneRef, verdict: CheckVerdict) -> dg.AssetCheckEvaluation:
    """One verdict as the UI shows it."""
    key = _key(verdict)
    metadata = scene_metadata(scene)
    if verdict.version is not None:
        metadata["version"] = dg.MetadataValue.int(verdict.version)
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=verdict.passed,
        severity=SEVERITIES[verdict.severity],
        description=verdict.words,
        metadata=metadata,
        # Nothing waits for a check: frames that must not be used never become current.
        blocking=False,
        partition=partition_key(scene.project_key, scene.scene_id),
    )


def standing_results(
    context: dg.AssetExecutionContext, pipeline: PipelineRuntime, project_key: str
) -> Iterator[dg.AssetCheckEvaluation]:
    """Judge what a project's document says of its frames, and tell all that changed since.

    An edit in the document becomes a failed check by the next contact sheet, and a published URL
    makes it pass again. Verdicts are kept after they were told: where this is cut off, they are
    told once more, and never not at all. What comes late, as another version became current
    meanwhile, is not kept: with that version the project is due again.

    They are results of the run that is under way: of a scene's results without a run Dagster keeps
    the first one only, and refuses the next.
    """
    from scene_pipeline.database.projects import get_project  # noqa: PLC0415  # psycopg
    from scene_pipeline.pipeline.checking.standing import changed_standing, keep_standing  # noqa: PLC0415

    async def find(conn: "Connection") -> "tuple[UUID, _Verdicts]":
        project = await get_project(conn, project_key)
        return project.id, await changed_standing(conn, project.id)

    async def keep(conn: "Connection") -> None:
        await keep_standing(conn, project_id, page, run_id=context.run.run_id)

    project_id, changed = pipeline.in_database(find)
    for start in range(0, len(changed), _TOLD_AT_ONCE):
        page = changed[start : start + _TOLD_AT_ONCE]
        yield from of_known_scenes(context.instance, page)
        pipeline.in_database(keep)


def of_known_scenes(
    instance: dg.DagsterInstance, verdicts: Iterable[tuple[SceneRef, CheckVerdict]]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Results of the scenes that Dagster lists; an archived project may have given up its keys."""
    found = list(verdicts)
    keys = frozenset(instance.get_dynamic_partitions(SCENES_NAME)) if found else frozenset()
    yield from about_the_newest(
        instance,
        (
            evaluation(scene, verdict)
            for scene, verdict in found
            if partition_key(scene.project_key, scene.scene_id) in keys
        ),
    )


def _key(verdict: CheckVerdict) -> dg.AssetCheckKey:
    return _spec_key(CHECK_BY_NAME[verdict.name])


def _spec_key(check: Check) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(dg.AssetKey(check.asset), check.name)


def _description(check: Check) -> str:
    what = (
        "A version that fails it never becomes the scene's frame by itself."
        if check.blocks_promotion
        else "It keeps no version from becoming the frame."
    )
    how = "an error" if check.severity == "error" else "a warning"
    asks = " Asks the URL once." if check.asks_the_network else ""
    return f"{check.meaning} Where it fails it is {how}. {what}{asks}"
