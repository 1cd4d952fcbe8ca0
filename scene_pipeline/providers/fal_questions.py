"""Questions to Fal about requests that were accepted; every one is safe to repeat.

Belongs here: how one stands, what came of it, and asking for its end. Does not belong here: the
paid POST (`fal_submit`), the history (`fal_history`), what single answers hold (`fal_results`).
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import GenerationResult, Progress, Submission
from scene_pipeline.providers.fal_addresses import is_fal_url, request_urls
from scene_pipeline.providers.fal_complaints import read_complaint
from scene_pipeline.providers.fal_errors import (
    billable_units,
    failed_request,
    query_failure,
    unreadable_answer,
)
from scene_pipeline.providers.fal_history import FalHistory
from scene_pipeline.providers.fal_results import read_images, read_progress, without_pictures
from scene_pipeline.providers.fal_transport import QuestionClient

MAX_STATUS_BYTES = 1024 * 1024
"""A status carries up to five minutes of log lines."""
MAX_RESULT_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


class FalQuestions:
    """Asks Fal.

    Args:
        client: Speaks to Fal alone.
        history: Where results are looked for that the queue forgot.
        secrets: Texts that must not appear in messages.
    """

    def __init__(
        self, client: QuestionClient, history: FalHistory, *, secrets: tuple[str, ...]
    ) -> None:
        self._client = client
        self._history = history
        self._secrets = secrets

    def progress(self, endpoint: str, submission: Submission) -> Progress:
        """Ask once how a request stands.

        Raises:
            ProviderError: It failed for good; or (`retryable`) this one question did, or, where
                `charge` is "not_charged", the request never ran and another may be made.
        """
        answer = self._client.ask(
            "GET",
            request_urls(endpoint, submission).status,
            endpoint=endpoint,
            max_bytes=MAX_STATUS_BYTES,
            parameters={"logs": "1"},
        )
        if answer.status not in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
            raise query_failure(endpoint, answer, self._secrets)
        body = answer.json()
        if not isinstance(body, dict):
            raise unreadable_answer(endpoint, "the status is not a JSON object")
        progress = read_progress(body, self._secrets)
        if progress is None:
            raise unreadable_answer(
                endpoint, "the status is none that is known", code="status_unknown"
            )
        if progress.state == "completed" and (body.get("error") or body.get("error_type")):
            raise failed_request(endpoint, read_complaint(answer, self._secrets), answer.headers)
        return progress

    def result(self, endpoint: str, submission: Submission) -> GenerationResult:
        """Read the result of a completed request, from the history where the queue forgot it.

        Raises:
            ProviderError: "result_lost" where Fal no longer knows it; "content_rejected" and other
                refusals of the model; or (`retryable`) a failed question.
        """
        answer = self._client.ask(
            "GET",
            request_urls(endpoint, submission).response,
            endpoint=endpoint,
            max_bytes=MAX_RESULT_BYTES,
        )
        if answer.status == HTTPStatus.OK:
            body = answer.json()
            if not isinstance(body, dict):
                raise unreadable_answer(endpoint, "the result is not a JSON object")
            return _generation_result(endpoint, body, units=billable_units(answer.headers))
        failure = query_failure(endpoint, answer, self._secrets)
        if failure.error_code != "result_lost":
            raise failure
        kept = self._history.output(endpoint, submission.request_id)
        if kept is None:
            raise failure
        return _generation_result(endpoint, kept, units=None)

    def cancel(self, submission: Submission) -> None:
        """Ask Fal to drop a request that is still queued; a refusal or failure is not an error."""
        if submission.cancel_url is None or not is_fal_url(submission.cancel_url):
            return
        try:
            self._client.ask(
                "PUT", submission.cancel_url, endpoint="Fal", max_bytes=MAX_STATUS_BYTES
            )
        except ProviderError as error:
            _log.info("Request %s could not be cancelled: %s", submission.request_id, error)

    def close(self) -> None:
        """Release the connections."""
        self._client.close()


def _generation_result(
    endpoint: str, body: Mapping[str, Any], *, units: float | None
) -> GenerationResult:
    images = read_images(body)
    if not images:
        raise ProviderError(
            f"The result of {endpoint} names no picture.",
            code="result_unreadable",
            next_action="Use a model that makes pictures from text.",
            charge="charged",
        )
    seed = body.get("seed")
    return GenerationResult(
        images=images,
        seed=seed if isinstance(seed, int) else None,
        billable_units=units,
        raw=without_pictures(body),
    )
