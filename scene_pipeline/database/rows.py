"""The rows that repositories give and take, typed.

Belongs here: frozen values with the columns' own names. Does not belong here: SQL and decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

Connection = AsyncConnection[DictRow]
"""What every repository function works on; the caller owns the transaction."""
MAX_BIGINT = 2**63 - 1
"""The largest number that a column takes."""

GenerationState = Literal[
    "planned",
    "submitting",
    "submitted",
    "completed",
    "stored",
    "recorded",
    "published",
    "superseded",
    "failed",
    "abandoned",
]
OPEN = "state NOT IN ('published', 'superseded', 'failed', 'abandoned')"
"""The condition of a generation that is not finished, in SQL."""
TERMINAL_STATES: frozenset[GenerationState] = frozenset(
    {"published", "superseded", "failed", "abandoned"}
)


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A row of `projects` without its document."""

    id: UUID
    key: str
    revision: int
    planned_revision: int
    origin: str | None
    archived_at: datetime | None
    is_scratch: bool
    """Whether it is a drill's own: archived from the start, and worked on all the same."""

    @property
    def is_archived(self) -> bool:
        """Whether nothing new is to be made for it."""
        return self.archived_at is not None and not self.is_scratch


@dataclass(frozen=True, slots=True)
class SceneRow:
    """What planning derives of one scene of the document."""

    scene_id: str
    position: int
    scene_prompt: str | None
    content: Mapping[str, Any]
    content_hash: str | None
    problem_code: str | None = None
    problem_message: str | None = None
    continuity_group: str | None = None
    start_frame: str | None = None
    """The URL that the document carries."""


@dataclass(frozen=True, slots=True)
class SceneState:
    """A row of the view `scene_status`: where a scene stands, computed and never stored."""

    project_id: UUID
    project_key: str
    scene_id: str
    position: int
    scene_prompt: str | None
    content: Mapping[str, Any]
    content_hash: str | None
    locked: bool
    problem_code: str | None
    problem_message: str | None
    continuity_group: str | None
    content_changed_at: datetime
    wanted_at: datetime | None
    want_attempts: int
    auto_refresh: bool
    state: Literal[
        "invalid",
        "ambiguous",
        "blocked",
        "generating",
        "failed",
        "missing",
        "locked",
        "stale",
        "external",
        "current",
    ]
    stale_causes: list[str] | None
    is_chosen: bool
    """Whether somebody chose the current version by hand for what the document says now, although
    it was made from something else."""
    image_id: UUID | None
    version: int | None
    storage_url: str | None
    storage_path: str | None
    storage_status: str | None
    generated_at: datetime | None
    current_generation_id: UUID | None
    current_content_hash: str | None
    current_content: Mapping[str, Any] | None
    current_request_hash: str | None
    current_seed: int | None
    open_generation_id: UUID | None
    open_state: GenerationState | None
    open_overrides: Mapping[str, Any] | None
    """What the order of the open generation set over everything, where it was asked for."""
    last_generation_id: UUID | None
    last_state: GenerationState | None
    last_content_hash: str | None
    last_error_retryable: bool | None
    last_error_charge: Literal["charged", "not_charged", "unknown"] | None
    last_flagged_input: Literal["prompt", "reference", "output"] | None
    error_code: str | None
    error_message: str | None
    error_next_action: str | None
    request_id: int | None
    request_overrides: Mapping[str, Any] | None
    cost_micros: int
    current_fallback: Mapping[str, Any] | None
    """Where a fallback made the current version: as in `Generation`."""
    is_ready: bool
    """Whether the current version may go to video: what is stored for good, and was made from what
    the document says, or is locked, or was chosen by hand."""


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """Everything that is decided before a generation exists."""

    project_id: UUID
    scene_id: str
    idempotency_key: str
    token: str
    run_id: str
    provider: str
    endpoint: str
    scene_prompt: str
    prompt: str
    negative_prompt: str | None
    content: Mapping[str, Any]
    content_hash: str
    request_hash: str
    width: int
    height: int
    seed: int
    parameters: Mapping[str, Any]
    estimated_micros: int
    unit: str | None
    unit_price_usd: Decimal | None
    image_count: int = 1
    """Candidates to ask for in the one request."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """What the order set over everything, for a version that was asked for."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A row of the ledger."""

    id: UUID
    seq: int
    project_id: UUID
    scene_id: str
    idempotency_key: str
    token: str
    run_id: str | None
    provider: str
    endpoint: str
    scene_prompt: str
    prompt: str
    negative_prompt: str | None
    content: Mapping[str, Any]
    content_hash: str
    width: int
    height: int
    seed: int
    parameters: Mapping[str, Any]
    state: GenerationState
    submit_count: int
    max_submits: int
    doubtful_submits: int
    doubtful_micros: int
    doubtful_since: datetime | None
    request_id: str | None
    status_url: str | None
    response_url: str | None
    cancel_url: str | None
    result: Mapping[str, Any] | None
    storage_status: Literal["stored", "external"]
    storage_key: str | None
    external_url: str | None
    external_expires_at: datetime | None
    image: Mapping[str, Any] | None
    thumbnail: bytes | None = field(repr=False)
    image_count: int
    reference_images: Sequence[Mapping[str, Any]]
    rung: int
    flagged_input: Literal["prompt", "reference", "output"] | None
    reused_image_id: UUID | None
    estimated_micros: int
    unit: str | None
    unit_price_usd: Decimal | None
    billable_units: Decimal | None
    cost_micros: int | None
    cost_kind: Literal["estimated", "metered", "free"] | None
    error_code: str | None
    error_message: str | None
    error_next_action: str | None
    error_retryable: bool | None
    error_charge: Literal["charged", "not_charged", "unknown"] | None
    created_at: datetime
    submitting_at: datetime | None
    submitted_at: datetime | None
    completed_at: datetime | None
    fallback: Mapping[str, Any] | None
    """Where one of the project's fallbacks makes it: `number`, `of`, `because` (words)."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing further will happen to it by itself."""
        return self.state in TERMINAL_STATES


GENERATION_COLUMNS = ", ".join(Generation.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A row of `scene_images` with what its generation knows about it."""

    id: UUID
    project_id: UUID
    scene_id: str
    version: int
    is_current: bool
    storage_path: str | None
    storage_url: str
    storage_status: Literal["stored", "external", "removed"]
    """removed: retention gave its bytes up; the row is what is left of it."""
    file_size: int
    content_type: str
    width: int
    height: int
    sha256: str
    thumbnail: bytes | None = field(repr=False)
    generated_at: datetime
    rejection: str | None
    generation_id: UUID
    provider: str
    endpoint: str
    prompt: str
    scene_prompt: str
    seed: int
    cost_micros: int | None
    cost_kind: Literal["estimated", "metered", "free"] | None
    token: str
