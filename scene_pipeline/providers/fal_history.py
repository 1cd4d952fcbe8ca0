"""Fal's request history: finding a request whose answer was lost, or whose result expired.

Belongs here: reading `GET /v1/models/requests/by-endpoint` and matching its items. Does not belong
here: deciding when "absent" is a proof (only time is; the pipeline waits).

Facts (Fal's platform API pages): items carry `request_id`, `endpoint_id`, `sent_at`, `started_at`,
`ended_at`, `status_code` and, with `expand=payloads`, `json_input` and `json_output`; sorted by end
time, at most 100 a page, `next_cursor` and `has_more`; kept for 30 days. How soon a request appears
is not documented. The reader is tolerant: an item that lacks what is needed makes the verdict
"unknown", never "absent".
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, LostRequest
from scene_pipeline.providers.fal_addresses import API_ORIGIN, read_submission
from scene_pipeline.providers.fal_errors import query_failure, unreadable_answer
from scene_pipeline.providers.fal_transport import QuestionClient

HISTORY_URL = f"{API_ORIGIN}/v1/models/requests/by-endpoint"
MAX_HISTORY_BYTES = 4 * 1024 * 1024
MAX_PAGES = 10
CLOCK_SKEW = timedelta(minutes=2)
"""How far our clock and Fal's may differ: the search starts that much earlier."""


class FalHistory:
    """Reads the account's request history."""

    def __init__(self, client: QuestionClient, *, secrets: tuple[str, ...]) -> None:
        self._client = client
        self._secrets = secrets

    def find(
        self, request: ImageRequest, submitted_after: datetime, known_ids: Collection[str]
    ) -> LostRequest:
        """Look a request up by endpoint, prompt and seed; the earliest one that did not fail wins.

        Requests of other generations (`known_ids`) are passed over.

        An unreadable history gives "unknown" instead of an error: the caller waits either way.
        """
        start = submitted_after.astimezone(UTC) - CLOCK_SKEW
        matches: list[Mapping[str, Any]] = []
        is_complete = True
        try:
            for item in self._items(request.endpoint, {"start": _iso(start)}):
                if item is None or not isinstance(item.get("json_input"), dict):
                    is_complete = False
                elif item.get("request_id") not in known_ids and _is_match(item, request):
                    matches.append(item)
        except ProviderError:
            is_complete = False
        for item in sorted(matches, key=_preference):
            submission = read_submission(request.endpoint, item)
            if submission is not None:
                return LostRequest("found", submission)
        return LostRequest("absent" if is_complete and not matches else "unknown")

    def output(self, endpoint: str, request_id: str) -> Mapping[str, Any] | None:
        """A request's stored result, where Fal kept it beyond the queue's hour; None if not."""
        try:
            for item in self._items(endpoint, {"request_id": request_id}):
                if item is None or item.get("request_id") != request_id:
                    continue
                output = item.get("json_output")
                if isinstance(output, dict) and not _has_failed(item):
                    return output
        except ProviderError:
            return None
        return None

    def _items(
        self, endpoint: str, filters: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any] | None]:
        """Every item of up to ten pages; a None stands for one that cannot be read."""
        parameters = {
            "endpoint_id": endpoint,
            "expand": "payloads",
            "limit": "100",
            **filters,
        }
        for _ in range(MAX_PAGES):
            answer = self._client.ask(
                "GET",
                HISTORY_URL,
                endpoint=endpoint,
                max_bytes=MAX_HISTORY_BYTES,
                parameters=parameters,
            )
            if answer.status != 200:
                raise query_failure(endpoint, answer, self._secrets)
            page = answer.json()
            items = page.get("items") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise unreadable_answer(endpoint, "the history has no list of items")
            for item in items:
                yield item if isinstance(item, dict) else None
            cursor = page.get("next_cursor")
            if not page.get("has_more") or not isinstance(cursor, str) or not cursor:
                return
            parameters["cursor"] = cursor
        raise unreadable_answer(endpoint, f"the history goes on after {MAX_PAGES} pages")


def _is_match(item: Mapping[str, Any], request: ImageRequest) -> bool:
    sent = item["json_input"]
    return (
        item.get("endpoint_id", request.endpoint) == request.endpoint
        and sent.get("prompt") == request.prompt
        and str(sent.get("seed")) == str(request.seed)
    )


def _preference(item: Mapping[str, Any]) -> tuple[bool, str]:
    moments = (item.get(name) for name in ("sent_at", "started_at", "ended_at"))
    earliest = next((moment for moment in moments if isinstance(moment, str)), "9999")
    return _has_failed(item), earliest


def _has_failed(item: Mapping[str, Any]) -> bool:
    status = item.get("status_code")
    return isinstance(status, int) and status >= 400


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
