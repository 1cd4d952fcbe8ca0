"""The jobs of the Fal stand-in: what was accepted, how it stands, what came out of it."""

import math
import threading
import uuid
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PIXELS_PER_MEGAPIXEL = 1_000_000
RESULT_KEPT_SECONDS = 3600.0
MAX_IMAGES = 4
"""Most pictures of one request."""
MEDIA_ORIGIN = "https://v3.fal.media"
SIZES: Mapping[str, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


@dataclass
class Job:
    """One accepted request."""

    request_id: str
    endpoint: str
    arguments: Mapping[str, Any]
    accepted_at: float
    """Moment of the stand-in's clock."""
    queue_seconds: float
    run_seconds: float
    cancelled_at: float | None = None

    @property
    def prompt(self) -> str:
        """What was asked for."""
        return str(self.arguments.get("prompt", ""))

    @property
    def seed(self) -> int:
        """The seed that was sent, or one of the model's own."""
        return int(self.arguments.get("seed", 1234567))

    @property
    def size(self) -> tuple[int, int]:
        """Pixels across and down."""
        wanted = self.arguments.get("image_size", "landscape_4_3")
        if isinstance(wanted, dict):
            return int(wanted["width"]), int(wanted["height"])
        return SIZES[wanted]

    @property
    def media_type(self) -> str:
        """Media type of the picture."""
        return "image/png" if self.arguments.get("output_format") == "png" else "image/jpeg"

    @property
    def started_at(self) -> float:
        """Moment at which it leaves the queue."""
        return self.accepted_at + self.queue_seconds

    @property
    def ended_at(self) -> float:
        """Moment at which it is complete."""
        if self.cancelled_at is not None:
            return self.cancelled_at
        return self.started_at + self.run_seconds

    @property
    def billable_units(self) -> int:
        """Megapixels, rounded up for each picture."""
        width, height = self.size
        return self.image_count * math.ceil(width * height / PIXELS_PER_MEGAPIXEL)

    @property
    def image_count(self) -> int:
        """How many pictures were asked for."""
        return int(self.arguments.get("num_images", 1))

    def picture_name(self, index: int) -> str:
        """File name of a picture on the media host."""
        number = f"_{index}" if index else ""
        return f"{self.request_id}{number}.{'png' if self.media_type == 'image/png' else 'jpg'}"

    def state(self, now: float) -> str:
        """Fal's word for how it stands."""
        if now >= self.ended_at:
            return "COMPLETED"
        return "IN_PROGRESS" if now >= self.started_at else "IN_QUEUE"

    def urls(self) -> dict[str, str]:
        """The three addresses, without the endpoint's sub-path, as Fal gives them."""
        application = "/".join(self.endpoint.split("/")[:2])
        base = f"https://queue.fal.run/{application}/requests/{self.request_id}"
        return {
            "status_url": f"{base}/status",
            "response_url": base,
            "cancel_url": f"{base}/cancel",
        }

    def result(self, folder: str = "files", *, flagged: Container[int] = ()) -> dict[str, Any]:
        """The model's output, its pictures in a folder of the media host."""
        width, height = self.size
        numbers = range(self.image_count)
        return {
            "images": [
                {
                    "url": f"{MEDIA_ORIGIN}/{folder}/{self.picture_name(index)}",
                    "width": width,
                    "height": height,
                    "content_type": self.media_type,
                }
                for index in numbers
            ],
            "timings": {"inference": self.run_seconds},
            "seed": self.seed,
            "has_nsfw_concepts": [index in flagged for index in numbers],
            "prompt": self.prompt,
        }


class Jobs:
    """All accepted requests.

    Args:
        clock: Seconds; injected to let results expire at once.
        queue_seconds: How long a job waits.
        run_seconds: How long it then runs.
    """

    def __init__(
        self, clock: Callable[[], float], queue_seconds: float, run_seconds: float
    ) -> None:
        self.clock = clock
        self.queue_seconds = queue_seconds
        self.run_seconds = run_seconds
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._epoch = datetime.now(UTC).timestamp() - clock()

    def accept(self, endpoint: str, arguments: Mapping[str, Any]) -> Job:
        """Take a request on."""
        job = Job(
            request_id=str(uuid.uuid4()),
            endpoint=endpoint,
            arguments=arguments,
            accepted_at=self.clock(),
            queue_seconds=self.queue_seconds,
            run_seconds=self.run_seconds,
        )
        with self._lock:
            self._jobs[job.request_id] = job
        return job

    def find(self, request_id: str) -> Job | None:
        """The job with an id."""
        with self._lock:
            return self._jobs.get(request_id)

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def position(self, job: Job) -> int:
        """How many jobs are before it in the queue."""
        now = self.clock()
        return sum(
            other.accepted_at < job.accepted_at and other.state(now) == "IN_QUEUE"
            for other in self.all()
        )

    def is_kept(self, job: Job) -> bool:
        """Whether the queue still has its result."""
        return self.clock() < job.ended_at + RESULT_KEPT_SECONDS

    def epoch_seconds(self, moment: float) -> float:
        """A moment of the stand-in's clock as seconds since the epoch."""
        return self._epoch + moment

    def iso(self, moment: float) -> str:
        """A moment of the stand-in's clock as Fal writes it."""
        written = datetime.fromtimestamp(self.epoch_seconds(moment), UTC)
        return written.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
