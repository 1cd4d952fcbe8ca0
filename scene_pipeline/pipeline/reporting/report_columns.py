"""The columns of the reports, in words: the catalogue, the page and the files share them.

Belongs here: names, kinds and meanings, in the order in which they are shown. Does not belong here:
values (`tables`), and anything heavy: the code location reads it.
"""

from dataclasses import dataclass
from typing import Final, Literal

ColumnKind = Literal["text", "integer", "seconds", "usd", "day"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    kind: ColumnKind
    meaning: str
    """One sentence for the catalogue."""


_ATTEMPTS: Final = Column(
    "attempts", "integer", "Requests that the service may have accepted, and so charged."
)
_FAILURES: Final = Column(
    "failures", "integer", "How often something failed for good or for that time."
)
_SECONDS: Final = Column(
    "seconds", "seconds", "Seconds between request and answer, of all answers together."
)
_MEDIAN: Final = Column(
    "seconds_median", "seconds", "Of half of the answers no more; empty where none came."
)
_FRAMES: Final = Column("frames", "integer", "Scenes whose frame it is now.")
_VERSIONS: Final = Column("versions", "integer", "Pictures made, also those given up since.")
_MONEY: Final[tuple[Column, ...]] = (
    Column("cost_usd", "usd", "US dollars in all, as the caps count: the sum of the next three."),
    Column("metered_usd", "usd", "From units that the service metered."),
    Column("estimated_usd", "usd", "Charged, or possibly so, without a meter."),
    Column("doubtful_usd", "usd", "For lost requests that were followed by another one."),
)
_WASTED: Final = Column(
    "wasted_usd", "usd", "Spent on what is not shown: other versions, failures, doubtful payments."
)
_PER_FRAME: Final = Column(
    "cost_per_frame_usd", "usd", "All of the money divided by the frames; empty without a frame."
)

SCENE_COLUMNS: Final[tuple[Column, ...]] = (
    Column(
        "scene_id", "text", "Id of the scene; in the document's order, those that left it last."
    ),
    Column("state", "text", "As `status` tells it; retired: not in the document any more."),
    Column("version", "integer", "The version that is the scene's frame; empty without one."),
    _VERSIONS,
    _ATTEMPTS,
    _FAILURES,
    Column("failure_codes", "text", "Failures by code, the most frequent first: fal_timeout x2."),
    _SECONDS,
    _MEDIAN,
    *_MONEY,
    _WASTED,
    Column("free_frames", "integer", "Pictures that cost nothing: drawn offline, or kept."),
    Column("provider", "text", "Service that made the scene's frame."),
    Column("model", "text", "Model that made the scene's frame."),
)
"""Of a project, by scene."""

MODEL_COLUMNS: Final[tuple[Column, ...]] = (
    Column("provider", "text", "Image service."),
    Column("model", "text", "Model of that service."),
    _FRAMES,
    _VERSIONS,
    _ATTEMPTS,
    _FAILURES,
    Column("rejections", "integer", "Failures of which a content check was the cause."),
    _SECONDS,
    _MEDIAN,
    Column("seconds_p95", "seconds", "Of 95 in 100 answers no more."),
    *_MONEY,
    _WASTED,
    _PER_FRAME,
)
"""Of a project, by model."""

FAILURE_COLUMNS: Final[tuple[Column, ...]] = (
    Column("code", "text", "As docs/errors.md lists it."),
    _FAILURES,
    Column("scenes", "integer", "Scenes that met it."),
    Column("said", "text", "What it said last; empty where that was tried again since."),
    Column("next_action", "text", "What to do about it."),
)
"""Of a project, by code."""

PROJECT_COLUMNS: Final[tuple[Column, ...]] = (
    Column("project", "text", "Key of the project."),
    Column("title", "text", "Title in its document."),
    Column("archived", "text", "yes where it is archived."),
    Column("scenes", "integer", "Scenes of its document."),
    Column("ready", "integer", "Scenes whose frame may go to video."),
    Column("not_ready", "integer", "All other scenes."),
    Column("frames", "integer", "Scenes that have a frame, whether ready or not."),
    _VERSIONS,
    _ATTEMPTS,
    _FAILURES,
    *_MONEY,
    _WASTED,
    Column("last_7_days_usd", "usd", "Of that, the last 7 days of UTC, today included."),
    Column("last_30_days_usd", "usd", "Of that, the last 30 days of UTC, today included."),
    _PER_FRAME,
)
"""Of all projects."""

ALL_MODEL_COLUMNS: Final[tuple[Column, ...]] = tuple(
    column for column in MODEL_COLUMNS if column.name != "seconds"
)
"""Of all projects, by model."""

DAY_COLUMNS: Final[tuple[Column, ...]] = (
    Column("day", "day", "Day of UTC; those on which nothing happened are left out."),
    _ATTEMPTS,
    Column("versions", "integer", "Pictures made on it."),
    Column("cost_usd", "usd", "US dollars, by the day on which the request was sent."),
)
"""Of all projects, by day, the newest first."""
