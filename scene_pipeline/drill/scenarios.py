"""The scripted faults: what each does, which promise it tries, and how its scene must end.

Belongs here: data. Does not belong here: how it is carried out (`drill.exercise`) and judged
(`drill.verdicts`). A scenario is one scene of the scratch project; its name is the scene's id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scene_pipeline.errors import UsageError

Ending = Literal["framed", "refused", "rejected", "lost", "blocked"]
"""framed: a stored frame, in the document. refused: failed, content_rejected, no version. rejected:
a version for the record that is not current. lost: told as lost. blocked: nothing was sent."""

Script = Literal["plain", "storage_outage", "two_runs", "no_money"]
"""What besides the provider's fault is done: nothing; the store refuses the scene's object during
the first run; two runs take the scene at once; a run without any money left takes it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault on purpose."""

    name: str
    promise: str
    fault: str
    """In words."""
    ending: Ending
    marker: str = ""
    """What the stand-in does to the scene's requests (`drill.standin.faults`)."""
    script: Script = "plain"

    @property
    def prompt(self) -> str:
        """The scene's words; the stand-in reads its orders in them."""
        words = f"A lighthouse by the sea, take {self.name}."
        return f"{words} [[fault:{self.marker}]]" if self.marker else words


SOUND = Scenario(
    "sound",
    "A frame is made, stored and written into the document.",
    "none",
    "framed",
)
"""Beside every fault, to show that one bad scene holds up no other."""

FAULTS: tuple[Scenario, ...] = (
    Scenario(
        "drop_after_submit",
        "A frame is paid for once, also when the answer to the request is lost.",
        "connection cut after the request was accepted",
        "framed",
        "drop_after_accept*1",
    ),
    Scenario(
        "rate_limited",
        "A refusal that costs nothing is tried again and paid for once.",
        "429 Too Many Requests, twice",
        "framed",
        "rate_limited*2",
    ),
    Scenario(
        "content_policy",
        "A refused prompt fails its own scene and is not bought again unasked.",
        "422 content policy violation",
        "refused",
        "content_policy",
    ),
    Scenario(
        "black_frame",
        "A black picture is kept for the record and never put into the document.",
        "a black picture as result",
        "rejected",
        "black_frame",
    ),
    Scenario(
        "expired_url",
        "A picture that is gone is told as lost and not bought again unasked.",
        "403 expired for the picture's URL",
        "lost",
        "image_forbidden",
    ),
    Scenario(
        "slow_drip",
        "A download that crawls is cut off and done again without paying again.",
        "five bytes a second",
        "framed",
        "image_drip*1",
    ),
    Scenario(
        "lying_type",
        "A picture is known by its bytes, whatever its server calls it.",
        "a JPEG that is called a PNG",
        "framed",
        "image_lying_type",
    ),
    Scenario(
        "storage_outage",
        "While the storage is down nothing is lost, and nothing is paid for again.",
        "the store refuses the upload, then recovers",
        "framed",
        script="storage_outage",
    ),
    Scenario(
        "two_runs",
        "Two runs on the same scene pay once and make one version.",
        "two runs at the same time",
        "framed",
        script="two_runs",
    ),
    Scenario(
        "used_up_cap",
        "A cap that is used up lets nothing be sent.",
        "a run that may spend 0 USD",
        "blocked",
        script="no_money",
    ),
)

NAMES: tuple[str, ...] = tuple(scenario.name for scenario in FAULTS)


def choose(names: Iterable[str]) -> tuple[Scenario, ...]:
    """The faults of these names, all where none is named; the sound scene is always among them.

    Args:
        names: Each a name, or several with commas between them.

    Raises:
        UsageError: There is no such fault.
    """
    wanted = [part.strip() for name in names for part in name.split(",") if part.strip()]
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        raise UsageError(
            f"There is no fault {unknown[0]!r}.",
            code="fault_unknown",
            next_action=f"Choose from: {', '.join(NAMES)}.",
        )
    chosen = [fault for fault in FAULTS if not wanted or fault.name in wanted]
    return (SOUND, *chosen)
