"""The other hosts of the Fal stand-in: the platform API (history, prices), uploads, pictures."""

import base64
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from scene_pipeline.drill.standin.faults import Faults
from scene_pipeline.drill.standin.jobs import Job, Jobs
from scene_pipeline.drill.standin.pictures import draw_black, draw_picture
from scene_pipeline.drill.standin.proxy import Exchange

UNIT_PRICES = {
    "fal-ai/flux/schnell": 0.003,
    "fal-ai/flux/dev": 0.025,
    "fal-ai/flux-pro/v1.1": 0.04,
}
MAX_PRICED_IDS = 50


class ApiSite:
    """Answers for api.fal.ai."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.delay_seconds = 0.0
        """How long after its end a request appears in the history."""
        self.is_down = False
        self.hides_payloads = False
        self.page_size = 100
        """Upper bound of a page, whatever limit is asked for."""
        self.prices: dict[str, dict[str, Any]] = {
            name: {"unit_price": price, "unit": "megapixels", "currency": "USD"}
            for name, price in UNIT_PRICES.items()
        }
        self.refuses_unknown_models = False
        """Whether one unknown model spoils a whole question about prices."""

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        if exchange.path == "/v1/models/requests/by-endpoint":
            self._history(exchange)
        elif exchange.path == "/v1/models/pricing":
            self._pricing(exchange)
        else:
            exchange.send_json(404, {"error": {"type": "not_found", "message": "Not found"}})

    def _pricing(self, exchange: Exchange) -> None:
        wanted = exchange.query.get("endpoint_id", "").split(",")
        if self.is_down:
            exchange.send_json(503, {"error": {"type": "server_error", "message": "Later"}})
        elif len(wanted) > MAX_PRICED_IDS or (
            self.refuses_unknown_models and not set(wanted) <= {*self.prices}
        ):
            exchange.send_json(404, {"error": {"type": "not_found", "message": "Unknown model"}})
        else:
            prices = [
                {"endpoint_id": name, **price}
                for name, price in self.prices.items()
                if name in wanted
            ]
            exchange.send_json(200, {"prices": prices, "has_more": False, "next_cursor": None})

    def _history(self, exchange: Exchange) -> None:
        if self.is_down:
            exchange.send_json(503, {"error": {"type": "server_error", "message": "Later"}})
            return
        query = exchange.query
        now = self._jobs.clock()
        start = query.get("start", "1970-01-01T00:00:00Z")
        since = datetime.fromisoformat(start).timestamp()
        jobs = [
            job
            for job in self._jobs.all()
            if job.endpoint == query.get("endpoint_id")
            and job.ended_at + self.delay_seconds <= now
            and self._jobs.epoch_seconds(job.ended_at) >= since
            and query.get("request_id") in {None, job.request_id}
        ]
        jobs.sort(key=lambda job: job.ended_at, reverse=True)
        limit = min(int(query.get("limit", "50")), self.page_size)
        page = int(base64.b64decode(query["cursor"])) if "cursor" in query else 1
        shown = jobs[(page - 1) * limit : page * limit]
        has_more = page * limit < len(jobs)
        cursor = base64.b64encode(str(page + 1).encode()).decode() if has_more else None
        items = [
            self._item(job, with_payloads="payloads" in query.get("expand", "")) for job in shown
        ]
        exchange.send_json(200, {"items": items, "next_cursor": cursor, "has_more": has_more})

    def _item(self, job: Job, *, with_payloads: bool) -> dict[str, Any]:
        item: dict[str, Any] = {
            "request_id": job.request_id,
            "endpoint_id": job.endpoint,
            "sent_at": self._jobs.iso(job.accepted_at),
            "started_at": self._jobs.iso(job.started_at),
            "ended_at": self._jobs.iso(job.ended_at),
            "status_code": 200 if job.cancelled_at is None else 499,
            "duration": job.run_seconds,
        }
        if with_payloads and not self.hides_payloads:
            item["json_input"] = dict(job.arguments)
            item["json_output"] = job.result()
        return item


class UploadSite:
    """Answers for rest.fal.ai: where bytes of the user's own are to be put."""

    def __init__(self) -> None:
        self.refusals_left = 0
        """How many of the next questions are answered with 503."""
        self.upload_host = "v3.fal.media"
        """The host that the answer names for the bytes."""
        self.asked: list[dict[str, Any]] = []
        """What was asked, in order."""

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        asked = exchange.json()
        if exchange.path != "/storage/upload/initiate" or not isinstance(asked, dict):
            exchange.send_json(404, {"detail": "Not found"})
        elif self.refusals_left > 0:
            self.refusals_left -= 1
            exchange.send_json(503, {"detail": "Later"})
        else:
            self.asked.append(asked)
            path = f"files/upload/{len(self.asked)}_{asked.get('file_name')}"
            exchange.send_json(
                200,
                {
                    "upload_url": f"https://{self.upload_host}/{path}?signature=once",
                    "file_url": f"https://v3.fal.media/{path}",
                },
            )


class MediaSite:
    """Answers for v3.fal.media and its siblings."""

    def __init__(self, jobs: Jobs, faults: Faults) -> None:
        self._jobs = jobs
        self._faults = faults
        self.draw = draw_picture
        """What makes its pictures of prompt, seed, size and media type."""
        self.uploaded: dict[str, bytes] = {}
        """Bytes that were put here, by path."""
        self.keyed_requests = 0
        """Requests that brought the key where it does not belong."""

    def answer(self, exchange: Exchange) -> None:
        """Hand a picture out."""
        if "authorization" in exchange.headers:
            self.keyed_requests += 1
        if exchange.method == "PUT":
            self.uploaded[exchange.path] = exchange.body
            exchange.send(200, b"", "text/plain")
            return
        if exchange.path in self.uploaded:
            exchange.send(200, self.uploaded[exchange.path], "application/octet-stream")
            return
        path = PurePosixPath(exchange.path)
        request_id, _, number = path.stem.partition("_")
        job = self._jobs.find(request_id)
        if job is None:
            exchange.send(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
            return
        if path.parent.name == "black":
            data = draw_black(job.size, job.media_type)
        else:
            seed = job.seed + int(number or 0)
            data = self.draw(job.prompt, seed, job.size, job.media_type)
        self._answer(exchange, job, data)

    def _answer(self, exchange: Exchange, job: Job, data: bytes) -> None:
        expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        match self._faults.take("image", job.prompt):
            case None:
                exchange.send(200, data, job.media_type)
            case "image_gone":
                exchange.send(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
            case "image_forbidden":
                exchange.send(403, expired, "application/xml")
            case "image_drip":
                exchange.drip(data, job.media_type, pause_seconds=0.2)
            case "image_short":
                half = data[: len(data) // 2]
                exchange.send(200, half, job.media_type, claimed_length=len(data))
            case "image_html":
                exchange.send(200, b"<html>Sign in</html>", "text/html")
            case "image_lying_type":
                other = "image/png" if job.media_type == "image/jpeg" else "image/jpeg"
                exchange.send(200, data, other)
            case _:
                exchange.send(302, b"", "text/plain", {"Location": "https://169.254.169.254/"})
