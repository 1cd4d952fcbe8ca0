"""Turns ledger and version rows into the values that doors show."""

from decimal import Decimal
from typing import Any

import psycopg

from scene_pipeline.database.rows import Generation, VersionRow
from scene_pipeline.errors import AGAIN, SceneError, ScenePipelineError, named
from scene_pipeline.pipeline.orders import Failure, FrameFacts, SceneRef

MICROS_PER_USD = 1_000_000


def usd(micros: int | None) -> Decimal:
    """Micro-dollars as dollars, exactly."""
    return Decimal(micros or 0) / MICROS_PER_USD


def dollars(amount: Decimal) -> str:
    """An amount in US dollars: "$5.00", "$0.003"; never in a power of ten."""
    text = f"{amount:.6f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction:0<2}"


def micros(amount_usd: Decimal) -> int:
    """Dollars as micro-dollars, rounded to the nearest."""
    return int((amount_usd * MICROS_PER_USD).to_integral_value())


def frame_facts(version: VersionRow) -> FrameFacts:
    """Everything known about one version."""
    return FrameFacts(
        generation_id=str(version.generation_id),
        version=version.version,
        is_current=version.is_current,
        url=version.storage_url,
        storage_path=version.storage_path,
        storage_status=version.storage_status,
        width=version.width,
        height=version.height,
        size_bytes=version.file_size,
        content_type=version.content_type,
        sha256=version.sha256,
        seed=version.seed,
        provider=version.provider,
        model=version.endpoint,
        prompt=version.prompt,
        cost_usd=usd(version.cost_micros),
        cost_kind=version.cost_kind or "estimated",
        generated_at=version.generated_at,
        thumbnail=version.thumbnail,
    )


def failure_of(error: ScenePipelineError, ref: SceneRef | None = None) -> Failure:
    """An error in the words people are shown.

    Args:
        error: What happened.
        ref: The scene that it befell, whose names the commands of its next action get.
    """
    action = error.next_action
    if ref is not None:
        action = named(action, ref.project_key, ref.scene_id)
    return Failure(code=error.error_code, message=error.message, next_action=action)


def database_failure(error: psycopg.Error) -> SceneError:
    """A lost database in the words people are shown; the server's own may quote values."""
    is_lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    what = "stopped answering" if is_lost else f"refused it ({type(error).__name__})"
    return SceneError(
        f"The database {what}; nothing that was recorded is lost.",
        code="database_failed",
        next_action=f"Go on with {AGAIN}; `scene-pipeline doctor` says what ails the database.",
        retryable=True,
    )


def no_frame_failure(ref: SceneRef) -> Failure:
    """A scene without a frame, in a run whose selection may not make one."""
    return Failure(
        code="no_frame",
        message=f"Scene {ref.scene_id} has no frame, and this selection may not make one.",
        next_action="Select generated_frame as well.",
    )


def generation_facts(generation: Generation) -> dict[str, Any]:
    """What `generated_frame` shows of a paid generation."""
    return {
        "generation_id": str(generation.id),
        "provider": generation.provider,
        "model": generation.endpoint,
        "seed": generation.seed,
        "width": generation.width,
        "height": generation.height,
        "request_id": generation.request_id,
        "cost_usd": usd(generation.cost_micros),
        "cost_kind": generation.cost_kind,
        "submit_count": generation.submit_count,
    }
