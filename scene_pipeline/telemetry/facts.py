"""The facts that stages tell, under one name each, and what traces and metrics call them.

Belongs here: names. Does not belong here: values. What has no name here is never exported; prompts
and addresses have none.
"""

from collections.abc import Mapping
from typing import Final, Literal

FactValue = str | int | float | bool

ATTRIBUTES: Final[Mapping[str, str]] = {
    # OpenTelemetry's own names where it has them
    "code": "error.type",
    "model": "gen_ai.request.model",
    "provider": "gen_ai.provider.name",
    "request_id": "gen_ai.response.id",
    # and ours
    "bytes": "scene_pipeline.bytes",
    "cost_kind": "scene_pipeline.cost.kind",
    "cost_usd": "scene_pipeline.cost.usd",
    "generation": "scene_pipeline.generation.id",
    "key": "scene_pipeline.storage.key",
    "project": "scene_pipeline.project.key",
    "run": "scene_pipeline.run.id",
    "scene": "scene_pipeline.scene.id",
    "scenes": "scene_pipeline.run.scenes",
    "stage": "scene_pipeline.stage",
    "status": "scene_pipeline.scene.status",
    "version": "scene_pipeline.frame.version",
}
"""Attributes of spans and metrics by the fact's name."""

StageName = Literal[
    "planning", "submit", "poll", "download", "inspect", "upload", "record", "publish", "check"
]
"""The stages that are logged, timed and traced; a frame goes through all but the first."""
