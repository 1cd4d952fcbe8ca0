"""A loopback stand-in for Replicate: predictions, their list, their files, and a money meter.

It speaks the HTTP API as Replicate's pages describe it; its clock can be set ahead, since inputs
and outputs are removed after an hour.
"""

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scene_pipeline.drill.standin.meter import AcceptedSubmit
from scene_pipeline.drill.standin.pictures import draw_picture
from scene_pipeline.drill.standin.proxy import Exchange
from scene_pipeline_tests.standins.loopback_service import LoopbackService

API_HOST = "api.replicate.com"
FILE_HOST = "replicate.delivery"
TOKEN = "r8_standin0123456789abcdef0123456789abcd"
KEPT_SECONDS = 3600.0

BEFORE = {
    "drop_before_accept": (0, None),
    "bad_request": (400, {"detail": "Invalid request."}),
    "unauthorized": (401, {"title": "Unauthenticated", "detail": "No valid token was given."}),
    "payment_required": (402, {"title": "Insufficient credit", "detail": "Add credit to go on."}),
    "forbidden": (403, {"detail": "No access to this model."}),
    "model_missing": (404, {"detail": "The requested resource could not be found."}),
    "too_large": (413, {"detail": "Payload too large."}),
    "invalid_input": (422, {"title": "Input validation failed", "detail": "- input: too wide"}),
    "throttled": (429, {"detail": "Request was throttled. Your rate limit resets in ~1s."}),
}
"""Refusals: not accepted and not paid."""
SUBMIT = frozenset(
    [
        "drop_after_accept",
        "reset_after_accept",
        "half_body",
        "hang_after_accept",
        "drip_answer",
        "status_408",
        "status_409",
        "status_500",
        "status_502",
        "status_503",
        "redirect",
        "no_id",
        "html",
        "not_json",
        "wrong_hosts",
    ]
)
"""Lost or strange answers: accepted and paid."""
LOST_ANSWERS = sorted(SUBMIT - {"wrong_hosts"})
STATUS = frozenset(
    [
        "status_unknown",
        "poll_not_json",
        "poll_limited",
        "poll_unavailable",
        "poll_dropped",
        "poll_missing",
        "poll_unauthorized",
        "failed",
        "failed_nsfw",
        "failed_sensitive",
        "aborted",
        "canceled",
        "endless_logs",
    ]
)
RESULT = frozenset(["no_output", "empty_output", "nsfw_output", "data_url", "foreign_files"])
LIST = frozenset({"list_down", "foreign_next"})
IMAGE = frozenset({"image_gone"})
_SILENT = {
    "status_408": (408, b'{"detail": "Request timeout"}'),
    "status_409": (409, b'{"detail": "Conflict"}'),
    "status_500": (500, b'{"detail": "Internal server error"}'),
    "status_502": (502, b"<html>Bad gateway</html>"),
    "status_503": (503, b"<html>Unavailable</html>"),
    "no_id": (201, b'{"status": "starting"}'),
    "html": (201, b"<html>Sign in</html>"),
    "not_json": (201, b'{"id": "abc'),
}
_POLL_ANSWERS = {
    "poll_limited": (429, {"detail": "Request was throttled. Your rate limit resets in ~500s."}),
    "poll_unavailable": (503, {"detail": "Unavailable"}),
    "poll_missing": (404, {"detail": "Prediction not found."}),
    "poll_unauthorized": (401, {"detail": "No valid token."}),
}
_INTERRUPTED = "Prediction interrupted; please retry (code: PA)"
_SENSITIVE = "The input or output was flagged as sensitive. Please try again. (E005)"
_CHANGES: dict[str, dict[str, Any]] = {
    "failed": {"status": "failed", "output": None, "error": _INTERRUPTED},
    "failed_nsfw": {"status": "failed", "output": None, "error": "NSFW content detected."},
    "failed_sensitive": {"status": "failed", "output": None, "error": _SENSITIVE},
    "aborted": {"status": "aborted", "output": None},
    "canceled": {"status": "canceled", "output": None},
    "status_unknown": {"status": "thinking"},
    "endless_logs": {"logs": ("\x1b[31m" + "x" * 2000 + "\n") * 60},
    "no_output": {"output": None},
    "empty_output": {"output": []},
    "nsfw_output": {"output": [], "logs": "NSFW content detected in image 0"},
    "data_url": {"output": ["data:image/png;base64,AAAA"]},
    "foreign_files": {"output": ["https://files.evil.example/0.png"]},
}
_SIZES = {"16:9": (1344, 768), "1:1": (1024, 1024)}


@dataclass
class Prediction:
    """One accepted request."""

    id: str
    model: str
    version: str | None
    sent: dict[str, Any]
    made_at: float
    deadline: str
    is_canceled: bool = False


class ReplicateService(LoopbackService):
    """The stand-in."""

    def __init__(self, directory: Path) -> None:
        hosts = {API_HOST, FILE_HOST, "api.replicate.com.evil.example"}
        names = {*BEFORE, *SUBMIT, *STATUS, *RESULT, *LIST, *IMAGE}
        super().__init__(directory, hosts, names)
        self.token = TOKEN
        self.ahead = 0.0
        """Seconds that its clock is ahead of the real one."""
        self.run_seconds = 0.0
        self.page_size = 100
        self.predictions: dict[str, Prediction] = {}
        self._lock = threading.Lock()

    @property
    def posts(self) -> int:
        """Requests for a prediction that arrived."""
        return sum(
            contact.method == "POST" and contact.path.endswith("/predictions")
            for contact in self.contacts
        )

    def answer(self, exchange: Exchange) -> None:
        if exchange.host == FILE_HOST:
            self._file(exchange)
        elif exchange.headers.get("authorization") != f"Bearer {self.token}":
            exchange.send_json(401, {"title": "Unauthenticated", "detail": "No valid token."})
        elif exchange.method == "POST" and exchange.path.endswith("/cancel"):
            self._cancel(exchange)
        elif exchange.method == "POST":
            self._create(exchange)
        elif exchange.path == "/v1/predictions":
            self._list(exchange)
        else:
            self._get(exchange)

    def _now(self) -> float:
        return time.time() + self.ahead

    def _create(self, exchange: Exchange) -> None:
        refusal = self.faults.take(BEFORE)
        if refusal == "drop_before_accept":
            exchange.drop()
        if refusal is not None:
            exchange.send_json(*BEFORE[refusal])
            return
        body = exchange.json()
        official = re.fullmatch(r"/v1/models/([^/]+/[^/]+)/predictions", exchange.path)
        version = body.get("version")
        prediction = Prediction(
            id=uuid.uuid4().hex[:26],
            model=official.group(1) if official else "stability-ai/sdxl",
            version=version,
            sent=body["input"],
            made_at=self._now(),
            deadline=exchange.headers["cancel-after"],
        )
        with self._lock:
            self.predictions[prediction.id] = prediction
        self.meter.charge(
            AcceptedSubmit(
                request_id=prediction.id,
                endpoint=prediction.model,
                prompt=prediction.sent["prompt"],
                seed=prediction.sent.get("seed"),
                accepted_at=prediction.made_at,
            )
        )
        self._answer_submit(exchange, self.faults.take(SUBMIT), self._told(prediction))

    def _answer_submit(self, exchange: Exchange, fault: str | None, answer: dict[str, Any]) -> None:
        whole = str(answer).encode()
        match fault:
            case None:
                exchange.send_json(201, answer)
            case "drop_after_accept":
                exchange.drop()
            case "reset_after_accept":
                exchange.reset()
            case "half_body":
                half = whole[: len(whole) // 2]
                exchange.send(201, half, "application/json", claimed_length=len(whole))
            case "hang_after_accept":
                exchange.hang(5.0)
            case "drip_answer":
                exchange.drip(whole, "application/json", pause_seconds=0.05)
            case "redirect":
                exchange.send_json(307, {}, {"Location": f"https://{API_HOST}/v1/predictions"})
            case "wrong_hosts":
                evil = "https://api.replicate.com.evil.example/v1/predictions/x"
                exchange.send_json(201, {**answer, "urls": {"get": evil, "cancel": evil}})
            case _:
                exchange.send(*_SILENT[fault], "application/json")

    def _told(self, prediction: Prediction) -> dict[str, Any]:
        age = self._now() - prediction.made_at
        is_done = age >= self.run_seconds
        is_removed = age >= KEPT_SECONDS
        url = f"https://{API_HOST}/v1/predictions/{prediction.id}"
        told: dict[str, Any] = {
            "id": prediction.id,
            "model": prediction.model,
            "version": prediction.version or "hidden",
            "status": "succeeded" if is_done else "processing" if age > 0 else "starting",
            "input": {} if is_removed else prediction.sent,
            "output": self._output(prediction) if is_done and not is_removed else None,
            "error": None,
            "logs": "" if is_removed else "Running 4 steps\n 25%|##5       | 1/4",
            "metrics": {"predict_time": 1.5} if is_done else {},
            "created_at": datetime.fromtimestamp(prediction.made_at, UTC).isoformat(),
            "data_removed": is_removed,
            "urls": {"get": url, "cancel": f"{url}/cancel"},
        }
        if prediction.is_canceled:
            told |= {"status": "canceled", "output": None}
        return told

    def _output(self, prediction: Prediction) -> Any:
        count = prediction.sent.get("num_outputs")
        files = [f"https://{FILE_HOST}/xezq/{prediction.id}/{n}.png" for n in range(count or 1)]
        return files[0] if count is None else files

    def _get(self, exchange: Exchange) -> None:
        prediction = self.predictions.get(exchange.path.rpartition("/")[2])
        if prediction is None:
            exchange.send_json(404, {"detail": "Prediction not found."})
            return
        told = self._told(prediction)
        fault = self.faults.take(STATUS | RESULT) or ""
        if fault == "poll_dropped":
            exchange.drop()
        elif fault == "poll_not_json":
            exchange.send(200, b"<html>busy</html>", "text/html")
        elif fault in _POLL_ANSWERS:
            exchange.send_json(*_POLL_ANSWERS[fault])
        else:
            exchange.send_json(200, told | _CHANGES.get(fault, {}))

    def _list(self, exchange: Exchange) -> None:
        fault = self.faults.take(LIST)
        if fault == "list_down":
            exchange.send_json(503, {"detail": "Unavailable"})
            return
        newest_first = sorted(self.predictions.values(), key=lambda one: one.made_at, reverse=True)
        start = int(exchange.query.get("cursor", "0"))
        shown = newest_first[start : start + self.page_size]
        following = None
        if start + self.page_size < len(newest_first):
            following = f"https://{API_HOST}/v1/predictions?cursor={start + self.page_size}"
        if fault == "foreign_next":
            following = "https://api.replicate.com.evil.example/v1/predictions?cursor=9"
        results = [self._told(prediction) for prediction in shown]
        exchange.send_json(200, {"previous": None, "next": following, "results": results})

    def _cancel(self, exchange: Exchange) -> None:
        prediction = self.predictions.get(exchange.path.split("/")[-2])
        if prediction is None:
            exchange.send_json(404, {"detail": "Prediction not found."})
            return
        if self._told(prediction)["status"] != "succeeded":
            prediction.is_canceled = True
        exchange.send_json(200, self._told(prediction))

    def _file(self, exchange: Exchange) -> None:
        _, _, prediction_id, name = exchange.path.split("/")
        prediction = self.predictions.get(prediction_id)
        is_gone = prediction is None or self._told(prediction)["data_removed"]
        if prediction is None or is_gone or self.faults.take(IMAGE):
            exchange.send(404, b"Not found", "text/plain")
            return
        number = int(name.partition(".")[0])
        sent = prediction.sent
        size = _SIZES.get(sent.get("aspect_ratio", ""), (sent.get("width", 512), 512))
        media_type = "image/jpeg" if sent.get("output_format") == "jpg" else "image/png"
        seed = sent.get("seed", 0) + number
        exchange.send(200, draw_picture(sent["prompt"], seed, size, media_type), media_type)


@contextmanager
def replicate_service(directory: Path) -> Iterator[ReplicateService]:
    """Replicate, as far as an adapter can tell, as long as the block lasts."""
    with ReplicateService(directory) as running:
        yield running
