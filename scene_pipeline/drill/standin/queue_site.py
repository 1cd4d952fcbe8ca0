"""queue.fal.run of the Fal stand-in: submit, status, result, cancel, with their faults."""

import re
from typing import Any

from scene_pipeline.drill.standin.faults import Faults
from scene_pipeline.drill.standin.jobs import MAX_IMAGES, Job, Jobs
from scene_pipeline.drill.standin.meter import AcceptedSubmit, Meter
from scene_pipeline.drill.standin.proxy import Exchange

_REQUEST = re.compile(r"/[^/]+/[^/]+/requests/([^/]+)(/status|/cancel)?")
_REFUSALS: dict[str, tuple[int, Any]] = {
    "bad_request": (400, {"detail": "Invalid arguments."}),
    "unauthorized": (401, {"detail": "Authentication is required to access this application."}),
    "payment_required": (402, {"detail": "Payment required."}),
    "exhausted_balance": (
        403,
        {"detail": "User is locked. Reason: Exhausted balance. Top up your balance."},
    ),
    "model_missing": (404, {"detail": "Application not found"}),
    "too_large": (413, {"detail": "Payload too large"}),
    "invalid_input": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "num_inference_steps"],
                    "msg": "Input should be less than or equal to 12",
                    "type": "less_than_equal",
                }
            ]
        },
    ),
    "too_many_images": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "num_images"],
                    "msg": "Input should be less than or equal to 4",
                    "type": "less_than_equal",
                }
            ]
        },
    ),
    "content_policy_at_submit": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "prompt"],
                    "msg": "The content could not be processed because it was flagged.",
                    "type": "content_policy_violation",
                }
            ]
        },
    ),
}
_RESULT_REFUSALS: dict[str, tuple[int, Any]] = {
    "content_policy": _REFUSALS["content_policy_at_submit"],
    "content_policy_reference": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "image_urls", 0],
                    "msg": "The content could not be processed because it was flagged.",
                    "type": "content_policy_violation",
                }
            ]
        },
    ),
}
_SILENT_ANSWERS: dict[str, tuple[int, bytes, str]] = {
    "status_408": (408, b'{"detail": "Request timeout"}', "application/json"),
    "status_409": (409, b'{"detail": "Conflict"}', "application/json"),
    "status_500": (500, b'{"detail": "Internal server error"}', "application/json"),
    "status_502": (502, b"<html><center>nginx</center></html>", "text/html"),
    "status_503": (503, b"<html><center>nginx</center></html>", "text/html"),
    "status_504": (504, b'{"detail": "Gateway timeout"}', "application/json"),
    "no_request_id": (200, b'{"queue_position": 0}', "application/json"),
    "html": (200, b"<html>Sign in</html>", "text/html"),
    "not_json": (200, b'{"request_id": "abc', "application/json"),
    "long_answer": (200, b'{"padding": "' + b"x" * 200_000 + b'"}', "application/json"),
}
_ENDED_WITHOUT_PICTURE = {
    "completed_error": {"error": "The model could not finish.", "error_type": "internal_error"},
    "runner_disconnected": {"error": "Runner gone.", "error_type": "runner_disconnected"},
    "startup_timeout": {"error": "No runner in time.", "error_type": "startup_timeout"},
    "request_timeout": {"error": "Took too long.", "error_type": "request_timeout"},
    "content_policy_in_status": {"error": "Flagged.", "error_type": "content_policy_violation"},
}


class QueueSite:
    """Answers for queue.fal.run; the key has been checked before."""

    def __init__(self, jobs: Jobs, meter: Meter, faults: Faults, *, hang_seconds: float) -> None:
        self._jobs = jobs
        self._meter = meter
        self._faults = faults
        self._hang_seconds = hang_seconds

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        match = _REQUEST.fullmatch(exchange.path)
        if exchange.method == "POST" and match is None:
            self._submit(exchange)
            return
        job = self._jobs.find(match.group(1)) if match else None
        if match is None or job is None:
            exchange.send_json(404, {"detail": "Request not found", "status": "NOT_FOUND"})
        elif match.group(2) == "/status":
            self._status(exchange, job)
        elif match.group(2) == "/cancel" and exchange.method == "PUT":
            self._cancel(exchange, job)
        else:
            self._result(exchange, job)

    def _submit(self, exchange: Exchange) -> None:
        arguments = exchange.json()
        if not isinstance(arguments, dict):
            exchange.send_json(422, {"detail": [{"loc": ["body"], "msg": "no JSON", "type": "x"}]})
            return
        prompt = str(arguments.get("prompt", ""))
        if arguments.get("num_images", 1) not in range(1, MAX_IMAGES + 1):
            self._refuse(exchange, "too_many_images")
            return
        refusal = self._faults.take("before", prompt)
        if refusal is not None:
            self._refuse(exchange, refusal)
            return
        fault = self._faults.take("submit", prompt)
        job = self._jobs.accept(exchange.path.strip("/"), arguments)
        seed = arguments.get("seed")
        self._meter.charge(
            AcceptedSubmit(
                request_id=job.request_id,
                endpoint=job.endpoint,
                prompt=job.prompt,
                seed=seed if isinstance(seed, int) else None,
                accepted_at=self._jobs.epoch_seconds(job.accepted_at),
            )
        )
        answer = {
            "status": "IN_QUEUE",
            "request_id": job.request_id,
            **job.urls(),
            "queue_position": self._jobs.position(job),
        }
        self._answer_submit(exchange, fault, answer)

    def _refuse(self, exchange: Exchange, refusal: str) -> None:
        if refusal == "drop_before_accept":
            exchange.drop()
        if refusal == "rate_limited":
            exchange.send_json(429, {"detail": "Too many requests"}, {"Retry-After": "1"})
            return
        if refusal == "echo_key":
            key = exchange.headers.get("authorization", "")
            exchange.send_json(401, {"detail": f"{key} is not valid at https://x.test/a?sig=abc"})
            return
        status, body = _REFUSALS[refusal]
        exchange.send_json(status, body)

    def _answer_submit(self, exchange: Exchange, fault: str | None, answer: dict[str, Any]) -> None:
        whole = str(answer).encode()
        match fault:
            case None:
                exchange.send_json(200, answer)
            case "drop_after_accept":
                exchange.drop()
            case "reset_after_accept":
                exchange.reset()
            case "half_body":
                exchange.send(
                    200, whole[: len(whole) // 2], "application/json", claimed_length=len(whole)
                )
            case "hang_after_accept":
                exchange.hang(self._hang_seconds)
            case "drip_answer":
                exchange.drip(whole, "application/json", pause_seconds=0.05)
            case "redirect":
                exchange.send_json(307, {}, {"Location": "https://queue.fal.run/elsewhere/app"})
            case "wrong_hosts":
                moved = {
                    name: value.replace("queue.fal.run", "queue.fal.run.evil.example")
                    for name, value in answer.items()
                    if name.endswith("_url")
                }
                exchange.send_json(200, {**answer, **moved})
            case "no_urls":
                exchange.send_json(200, {"request_id": answer["request_id"]})
            case _:
                exchange.send(*_SILENT_ANSWERS[fault])

    def _status(self, exchange: Exchange, job: Job) -> None:
        state = job.state(self._jobs.clock())
        body: dict[str, Any] = {
            "status": state,
            "request_id": job.request_id,
            **job.urls(),
            "logs": None,
        }
        if exchange.query.get("logs") in {"1", "true"}:
            body["logs"] = self._logs(job, state)
        if state == "IN_QUEUE":
            body["queue_position"] = self._jobs.position(job)
        if state == "COMPLETED":
            body["metrics"] = {"inference_time": job.run_seconds}
            if job.cancelled_at is not None:
                body.update(error="The request was cancelled.", error_type="cancelled")
        fault = self._faults.take("status", job.prompt)
        if fault is None:
            exchange.send_json(200 if state == "COMPLETED" else 202, body)
        else:
            self._answer_status(exchange, fault, body)

    def _logs(self, job: Job, state: str) -> list[dict[str, str]]:
        if state == "IN_QUEUE":
            return []
        stamp = self._jobs.iso(job.started_at)
        return [{"timestamp": stamp, "level": "INFO", "message": "25%|##5       | 1/4 steps"}]

    def _answer_status(self, exchange: Exchange, fault: str, body: dict[str, Any]) -> None:
        match fault:
            case "status_unknown":
                exchange.send_json(200, {**body, "status": "THINKING"})
            case "status_not_json":
                exchange.send(200, b"<html>busy</html>", "text/html")
            case "status_bare":
                exchange.send_json(202, {"status": body["status"]})
            case "status_rate_limited":
                exchange.send_json(429, {"detail": "Slow down"}, {"Retry-After": "500"})
            case "status_unavailable":
                exchange.send_json(503, {"detail": "Unavailable"})
            case "status_missing":
                exchange.send_json(404, {"detail": "Request not found"})
            case "status_dropped":
                exchange.drop()
            case "endless_logs":
                line = {"timestamp": "", "level": "INFO", "message": "\x1b[31m" + "x" * 2000}
                exchange.send_json(202, {**body, "logs": [line] * 60})
            case _:
                ending = {**body, "status": "COMPLETED", "metrics": {}}
                exchange.send_json(200, {**ending, **_ENDED_WITHOUT_PICTURE[fault]})

    def _result(self, exchange: Exchange, job: Job) -> None:
        fault = self._faults.take("result", job.prompt)
        if job.state(self._jobs.clock()) != "COMPLETED" or fault == "early_result":
            exchange.send_json(400, {"detail": "Request is still in progress"})
            return
        if not self._jobs.is_kept(job) or fault == "result_lost":
            exchange.send_json(404, {"detail": "Request not found"})
            return
        headers = {
            "x-fal-request-id": job.request_id,
            "x-fal-billable-units": str(job.billable_units),
        }
        folder = "black" if fault == "black_frame" else "files"
        flagged = {"nsfw_flagged": range(MAX_IMAGES), "nsfw_first": range(1)}.get(str(fault), ())
        result = job.result(folder, flagged=flagged)
        if fault in {None, "nsfw_flagged", "nsfw_first", "black_frame"}:
            exchange.send_json(200, result, headers)
        else:
            self._answer_result(exchange, str(fault), result["images"][0]["url"], headers)

    def _answer_result(
        self, exchange: Exchange, fault: str, url: str, headers: dict[str, str]
    ) -> None:
        match fault:
            case "content_policy" | "content_policy_reference":
                status, body = _RESULT_REFUSALS[fault]
                exchange.send_json(status, body, {"x-fal-request-id": headers["x-fal-request-id"]})
            case "result_unavailable":
                exchange.send_json(502, {"detail": "Bad gateway"})
            case "result_not_json":
                exchange.send(200, b"<html>busy</html>", "text/html")
            case "result_too_long":
                exchange.send_json(200, {"images": [], "padding": "x" * 2_000_000})
            case "result_dropped":
                exchange.drop()
            case "no_images":
                exchange.send_json(200, {"images": [], "seed": 1}, headers)
            case "data_url":
                image = {"url": "data:image/jpeg;base64,AAAA", "file_data": "AAAA"}
                exchange.send_json(200, {"images": [image]}, headers)
            case _:
                exchange.send_json(200, {"images": [{"url": url}]})

    def _cancel(self, exchange: Exchange, job: Job) -> None:
        state = job.state(self._jobs.clock())
        if state == "COMPLETED":
            exchange.send_json(400, {"status": "ALREADY_COMPLETED"})
            return
        if state == "IN_QUEUE":
            job.cancelled_at = self._jobs.clock()
        exchange.send_json(202, {"status": "CANCELLATION_REQUESTED"})
