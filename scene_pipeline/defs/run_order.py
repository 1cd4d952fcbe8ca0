"""From a Dagster run to an order: which scenes, which stages, under which token.

Belongs here: reading a run's partitions, tags and selection. Does not belong here: carrying the
order out (`frames`).
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.metadata import LAUNCH_TAG, PROJECT_TAG
from scene_pipeline.pipeline.orders import STAGES, FrameOrder, Mode, SceneRef
from scene_pipeline.scenes.identity import parse_partition_key

# Tags that Dagster itself writes. A backfill that is run again carries the first one's id as root.
_ROOT_BACKFILL_TAG = "dagster/root_backfill_id"
_BACKFILL_TAG = "dagster/backfill"


def order_of_run(context: dg.AssetExecutionContext, config: FramesConfig) -> FrameOrder:
    """Build the order that a run of the frame assets stands for.

    Raises:
        UsageError: A partition key is not one that `scenes.identity` builds.
    """
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    return FrameOrder(
        scenes=_scenes(context.partition_keys, context.run.tags),
        mode=config.mode,
        token=request_token(
            config.mode,
            first_run_tags(context.instance, context.run),
            context.run.root_run_id or context.run.run_id,
        ),
        run_id=context.run.run_id,
        stages=frozenset(stage for stage in STAGES if stage in selected),
        overrides=config.overrides,
        refresh_stale=config.refresh_stale,
        max_cost_usd=config.max_cost,
    )


def _scenes(partition_keys: Sequence[str], tags: Mapping[str, str]) -> tuple[SceneRef, ...]:
    """The scenes of a run; of a launch those of its project alone.

    A launch asks for a range between two keys, some of which may be added along with it. Where
    another process adds keys at the same instant, they may come to lie within. A foreign scene that
    is merely ensured would cost nothing that is not due anyway; one that is refreshed would.
    """
    scenes = [SceneRef(*parse_partition_key(key)) for key in partition_keys]
    if LAUNCH_TAG in tags and PROJECT_TAG in tags:
        scenes = [scene for scene in scenes if scene.project_key == tags[PROJECT_TAG]]
    return tuple(scenes)


def first_run_tags(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[str, str]:
    """Tags of the run that this one executes again, however many came between; else its own.

    Dagster takes a backfill's tags away from a run that is executed again once the backfill has
    ended or was cancelled. What is asked for is still the same, and must not be paid for anew.
    """
    first = instance.get_run_by_id(run.root_run_id) if run.root_run_id else None
    return run.tags if first is None else first.tags


def request_token(mode: Mode, tags: Mapping[str, str], root_run_id: str) -> str:
    """Name the request that a run carries out, so that a retry of it never buys again.

    Args:
        mode: "ensure" asks for first frames, whose token is empty, and answers the requests that it
            finds in their table, each of which is a token of its own.
        tags: Of the first run of the chain of retries.
        root_run_id: The first run of the chain of retries, or the run's own id.
    """
    if mode == "ensure":
        return ""
    return tags.get(_ROOT_BACKFILL_TAG) or tags.get(_BACKFILL_TAG) or root_run_id


def first_backfill_id(instance: dg.DagsterInstance, backfill_id: str) -> str | None:
    """Id of the backfill that this one executes again; None where it is a first one, or unknown."""
    backfill = instance.get_backfill(backfill_id)
    return None if backfill is None else backfill.tags.get(_ROOT_BACKFILL_TAG)


def project_tags(order: FrameOrder, tags: Mapping[str, str]) -> dict[str, str]:
    """The project tag, where the launcher left it out and the run is about one project only."""
    projects = {scene.project_key for scene in order.scenes}
    if PROJECT_TAG in tags or len(projects) != 1:
        return {}
    return {PROJECT_TAG: projects.pop()}
