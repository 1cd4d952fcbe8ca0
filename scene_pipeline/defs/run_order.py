"""From a Dagster run to an order: which scenes, which stages, under which token.

Belongs here: reading a run's partitions, tags and selection. Does not belong here: carrying the
order out (`frames`).
"""

from collections.abc import Mapping

import dagster as dg

from scene_pipeline.defs.config import FramesConfig
from scene_pipeline.defs.metadata import PROJECT_TAG, REQUEST_TAG
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
        scenes=tuple(SceneRef(*parse_partition_key(key)) for key in context.partition_keys),
        mode=config.mode,
        token=request_token(
            config.mode, context.run.tags, context.run.root_run_id or context.run.run_id
        ),
        run_id=context.run.run_id,
        stages=frozenset(stage for stage in STAGES if stage in selected),
        overrides=config.overrides,
        refresh_stale=config.refresh_stale,
        max_cost_usd=config.max_cost,
    )


def request_token(mode: Mode, tags: Mapping[str, str], root_run_id: str) -> str:
    """Name the request that a run carries out, so that a retry of it never buys again.

    Args:
        mode: "ensure" without a request or backfill asks for first frames, whose token is empty.
        tags: The run's.
        root_run_id: The first run of the chain of retries, or the run's own id.
    """
    named = tags.get(REQUEST_TAG) or tags.get(_ROOT_BACKFILL_TAG) or tags.get(_BACKFILL_TAG)
    if named:
        return named
    return "" if mode == "ensure" else root_run_id


def project_tags(order: FrameOrder, tags: Mapping[str, str]) -> dict[str, str]:
    """The project tag, where the launcher left it out and the run is about one project only."""
    projects = {scene.project_key for scene in order.scenes}
    if PROJECT_TAG in tags or len(projects) != 1:
        return {}
    return {PROJECT_TAG: projects.pop()}
