"""What the stream is asked for and what it tells: plain values shared by every door.

Belongs here: the order, the events and the outcomes. Does not belong here: how they come about
(`pipeline.making.stream`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from scene_pipeline.pipeline.checks import CheckVerdict
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline.scenes.table import PromptRow

Stage = Literal["scene_prompt", "generated_frame", "scene_image", "scene_start_frame"]
STAGES: tuple[Stage, ...] = ("scene_prompt", "generated_frame", "scene_image", "scene_start_frame")

Mode = Literal["ensure", "regenerate"]
"""ensure: make what is missing and keep the rest. regenerate: a new version of every scene."""

SceneStatus = Literal["generated", "kept", "stale", "failed", "blocked", "ambiguous", "invalid"]
UNFINISHED: frozenset[SceneStatus] = frozenset({"failed", "blocked", "ambiguous", "invalid"})
"""Statuses that make a run end as a failure."""

CostKind = Literal["estimated", "metered", "free"]


@dataclass(frozen=True, slots=True, order=True)
class SceneRef:
    """One scene of one project, by the names people use."""

    project_key: str
    scene_id: str


@dataclass(frozen=True, slots=True)
class FrameOrder:
    """One run's work."""

    scenes: tuple[SceneRef, ...]
    """Scenes of one or several projects; each is worked on independently."""
    mode: Mode
    token: str
    """Names the request, so that repeating it never buys again: "" for first frames, else the
    regeneration request's, backfill's or root run's id (design, section 13)."""
    run_id: str
    """Id of the run that works; kept beside every generation it touches."""
    stages: frozenset[Stage] = frozenset(STAGES)
    """Selected stages; nothing is paid unless "generated_frame" is among them."""
    overrides: RequestOverrides = field(default_factory=RequestOverrides)
    refresh_stale: bool = False
    """Whether ensure also replaces frames whose scene was edited since."""
    max_cost_usd: Decimal | None = None
    """Cap of this run; None means that only the project's and the day's caps hold."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a scene has no frame, in the words people are shown."""

    code: str
    message: str
    next_action: str


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was asked for otherwise for one version than for the one before it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PreviousVersion:
    """The version of a scene's frame before another one, to be shown beside it."""

    version: int
    url: str
    model: str
    seed: int | None
    prompt: str
    """The expanded prompt that was sent."""
    storage_status: Literal["stored", "external", "removed"] = "stored"
    """removed: retention gave its bytes up, so that its address serves nothing any more."""
    changes: tuple[Change, ...] = ()
    """What was asked for otherwise since, but for the prompt."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """Small JPEG, at most 12 KiB, where it is at hand."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One generation of a scene, made or failed, for the history that is shown with a version."""

    generation_id: str
    provider: str
    model: str
    state: str
    version: int | None
    """The version it became; None where it became none."""
    code: str | None
    """Why it failed; None where it did not."""
    seconds: float | None
    """From the request to the provider's answer; None where there was none."""
    cost_usd: Decimal
    cost_kind: CostKind | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Everything known about one version of a scene's frame."""

    generation_id: str
    version: int
    is_current: bool
    url: str
    """Permanent address, or the provider's where `storage_status` is "external"."""
    storage_path: str | None
    storage_status: Literal["stored", "external", "removed"]
    width: int
    height: int
    size_bytes: int
    content_type: str
    sha256: str
    seed: int | None
    provider: str
    model: str
    prompt: str
    """The expanded prompt that was sent."""
    cost_usd: Decimal
    cost_kind: CostKind
    generated_at: datetime
    thumbnail: bytes | None = field(default=None, repr=False)
    """Small JPEG, at most 12 KiB, where it is at hand."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each stage took, by name: "generation", "storing", "publishing", where known."""
    previous: PreviousVersion | None = None
    """The version before this one; None for the first."""
    attempts: tuple[Attempt, ...] = ()
    """The scene's newest generations up to this version's, newest first; at most 20."""
    attempts_total: int = 0
    """All of them; 0 where they were not asked for."""


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage of a scene is finished and committed; told the moment it is."""

    scene: SceneRef
    stage: Stage
    facts: Mapping[str, Any]
    """Values worth showing for this stage, by metadata name (`scene_prompt`: expanded_prompt,
    content_hash; `generated_frame`: generation_id, provider, model, seed, seconds, ...)."""
    frame: FrameFacts | None = None
    """The version, for `scene_image` and `scene_start_frame`."""
    prompt: PromptRow | None = None
    """The scene's line of the prompts table, for `scene_prompt`."""
    is_kept: bool = False
    """Whether nothing was done because what is asked for was there already."""


ProgressKind = Literal["sent", "queued", "running", "downloading", "storing", "waiting"]
"""sent: the provider has accepted the request. queued and running: what it says of it since.
waiting: for a turn, another run, or a next attempt."""


@dataclass(frozen=True, slots=True)
class SceneProgress:
    """Something that really happened, for live displays: a provider's word or bytes received."""

    scene: SceneRef
    kind: ProgressKind
    text: str


@dataclass(frozen=True, slots=True)
class SceneChecked:
    """What the checks found of a scene's frame; told after its outcome, which waits for none."""

    scene: SceneRef
    verdicts: tuple[CheckVerdict, ...]
    """Only checks that came to a verdict."""


@dataclass(frozen=True, slots=True)
class SceneOutcome:
    """How a scene ended; exactly one per scene of the order."""

    scene: SceneRef
    status: SceneStatus
    frame: FrameFacts | None
    """The current version, whether made now or kept; None where there is none."""
    failure: Failure | None = None
    cost_usd: Decimal = Decimal(0)
    """Spent by this run on this scene."""
    paid_by_run: str | None = None
    """Dagster's id of the run that paid for the version, where others made it while this one waited
    for it: mostly the one that made it, else one that died. The scene is "kept" by this one, or
    "stale" where it was edited meanwhile. None where this run made it, or it was there before."""


StreamEvent = StageDone | SceneProgress | SceneChecked | SceneOutcome
