"""Questions to Replicate about predictions that were made; every one is safe to repeat.

Belongs here: asking for one, for the account's list, and for an end. Does not belong here: the paid
POST (`replicate`), what a prediction says (`replicate_predictions`).

Facts, as documented at replicate.com/docs (HTTP API): `GET /v1/predictions` lists the account's
predictions, running ones too, the newest first, 100 a page, with the address of the page that
follows in `next`; `created_after` leaves older ones out. `POST /v1/predictions/{id}/cancel` ends
one that is not done.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, LostRequest, Submission
from scene_pipeline.providers.bearer import BearerClient, LostAnswerError
from scene_pipeline.providers.replicate_errors import (
    failed_prediction,
    query_failure,
    unreadable_answer,
)
from scene_pipeline.providers.replicate_paths import PREDICTIONS_URL
from scene_pipeline.providers.replicate_predictions import (
    FAILED,
    created_at,
    likeness,
    read_submission,
)

MAX_PREDICTION_BYTES = 16 * 2**20
"""A prediction repeats its input, and that may hold a reference picture of some megabytes."""
MAX_PAGE_BYTES = 64 * 2**20
MAX_PAGES = 10
CLOCK_SKEW = timedelta(minutes=2)
"""How far our clock and Replicate's may differ: the search starts that much earlier."""

_log = logging.getLogger(__name__)


class ReplicateQuestions:
    """Asks Replicate.

    Args:
        client: Speaks to api.replicate.com alone.
        secrets: Texts that must not appear in messages.
    """

    def __init__(self, client: BearerClient, *, secrets: tuple[str, ...]) -> None:
        self._client = client
        self._secrets = secrets

    def prediction(self, endpoint: str, submission: Submission) -> Mapping[str, Any]:
        """Read one prediction that has not failed.

        Raises:
            ProviderError: It failed for good; or (`retryable`) this one question did, or, where
                `charge` is "not_charged", it never ran and another may be made.
        """
        body = self._ask(endpoint, _url(submission), MAX_PREDICTION_BYTES)
        if not isinstance(body, dict) or not isinstance(body.get("status"), str):
            raise unreadable_answer(endpoint, "it is no prediction")
        if body["status"] in FAILED:
            raise failed_prediction(endpoint, body, self._secrets)
        return body

    def cancel(self, submission: Submission) -> None:
        """Ask for the end of a prediction; a refusal or failure is not an error."""
        try:
            self._client.exchange(
                "POST", f"{_url(submission)}/cancel", max_bytes=MAX_PREDICTION_BYTES
            )
        except (ProviderError, LostAnswerError) as error:
            _log.info("Prediction %s could not be cancelled: %s", submission.request_id, error)

    def find(
        self, request: ImageRequest, submitted_after: datetime, known_ids: Collection[str]
    ) -> LostRequest:
        """Look a prediction up by model, prompt and seed; the earliest that did not fail wins.

        After an hour the inputs are gone: a prediction of the same model that is nobody else's
        then makes the verdict "unknown", as a list that cannot be read does.
        """
        since = submitted_after.astimezone(UTC) - CLOCK_SKEW
        matches: list[Mapping[str, Any]] = []
        is_complete = True
        try:
            for prediction in self._listed(request.endpoint, since):
                match likeness(prediction, request, known_ids):
                    case "same":
                        matches.append(prediction)
                    case "unreadable":
                        is_complete = False
        except ProviderError:
            is_complete = False
        for prediction in sorted(matches, key=_preference):
            submission = read_submission(prediction)
            if submission is not None:
                return LostRequest("found", submission)
        return LostRequest("absent" if is_complete and not matches else "unknown")

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    def _listed(self, endpoint: str, since: datetime) -> Iterator[Mapping[str, Any]]:
        """The account's predictions from a moment on, the newest first, of up to ten pages."""
        url = f"{PREDICTIONS_URL}?{urlencode({'created_after': since.isoformat()})}"
        for _ in range(MAX_PAGES):
            page = self._ask(endpoint, url, MAX_PAGE_BYTES)
            results = page.get("results") if isinstance(page, dict) else None
            if not isinstance(results, list):
                raise unreadable_answer(endpoint, "the list has no results")
            for entry in results:
                made_at = created_at(entry) if isinstance(entry, dict) else None
                if made_at is None:
                    raise unreadable_answer(endpoint, "the list has an entry without a date")
                if made_at < since:
                    return
                yield entry
            following = page.get("next")
            if not isinstance(following, str) or not following:
                return
            url = following  # asked with the token only where it is Replicate's own (`bearer`)
        raise unreadable_answer(endpoint, f"the list goes on after {MAX_PAGES} pages")

    def _ask(self, endpoint: str, url: str, max_bytes: int) -> Any:
        try:
            answer = self._client.exchange("GET", url, max_bytes=max_bytes)
        except LostAnswerError as error:
            raise unreadable_answer(endpoint, f"none came ({error})") from error
        except ProviderError as error:
            error.charge = "unknown"  # it is the question that was not sent, not the prediction
            raise
        if answer.status != HTTPStatus.OK:
            raise query_failure(endpoint, answer, self._secrets)
        return answer.json()


def _url(submission: Submission) -> str:
    """Built from the id: an address that somebody told is never asked with the token."""
    return f"{PREDICTIONS_URL}/{quote(submission.request_id, safe='')}"


def _preference(prediction: Mapping[str, Any]) -> tuple[bool, str]:
    return prediction.get("status") in FAILED, str(prediction.get("created_at"))
