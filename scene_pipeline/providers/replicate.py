"""Replicate: predictions made, asked about and found again through its HTTP API.

Mode of operation: `submit` sends one POST over a connection of its own and nothing repeats it; the
prediction's id is all that is kept, and every address is built from it, so that the token is never
sent to an address that somebody told. Results are fetched without the token.

Facts, as documented at replicate.com/docs: official models are run at
`POST /v1/models/{owner}/{name}/predictions`, others at `POST /v1/predictions` with their version;
both answer at once (201) with a prediction that is `starting`. `Cancel-After: 900s` ends one that
is not done by then, counted from its creation. 600 predictions and 3000 questions a minute are
allowed. There is no idempotency key.

Belongs here: the paid POST and the reading of results. Does not belong here: questions
(`replicate_questions`), loops, retries, waiting, storing.
"""

import ssl
from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus

from scene_pipeline.egress import tls_context
from scene_pipeline.providers.base import (
    Capabilities,
    GenerationResult,
    ImageRequest,
    LostRequest,
    Progress,
    ReferenceLimits,
    Submission,
)
from scene_pipeline.providers.bearer import BearerClient, LostAnswerError
from scene_pipeline.providers.keys import checked_token, missing_key
from scene_pipeline.providers.replicate_errors import (
    ambiguous_submit,
    result_lost,
    submit_refusal,
    unreadable_answer,
    without_picture,
)
from scene_pipeline.providers.replicate_models import model_family
from scene_pipeline.providers.replicate_paths import API_HOST
from scene_pipeline.providers.replicate_predictions import (
    billable_units,
    kept_facts,
    read_images,
    read_progress,
    read_seed,
    read_submission,
)
from scene_pipeline.providers.replicate_questions import MAX_PREDICTION_BYTES, ReplicateQuestions
from scene_pipeline.providers.replicate_requests import prediction_request
from scene_pipeline.providers.request_checks import gives_urls_only
from scene_pipeline.settings import Settings

MIN_DEADLINE_SECONDS = 5
"""The shortest deadline that Replicate takes."""
_ACCEPTED = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED})


class ReplicateProvider:
    """The `ImageProvider` for Replicate.

    Args:
        token: REPLICATE_API_TOKEN; goes to api.replicate.com only and into no message.
        tls_context: Trust roots of every connection (`egress.tls_context`).
        egress_proxy: URL of the only proxy, or None.
        submit_timeout_seconds: From the sending of the paid POST to the end of its answer.
        deadline_seconds: How long after its creation a prediction may still be unfinished;
            Replicate then ends it. Bounds how late one whose answer was lost can complete.
        question_timeout_seconds: As for the POST, for everything else.

    Raises:
        ConfigurationError: The token cannot be put into a header.
    """

    name = "replicate"
    capabilities = Capabilities(
        has_request_ids=True,
        has_history=True,
        returns_urls=True,
        is_free=False,
        first_poll_seconds=1.0,
        url_lifetime_seconds=3600.0,
    )

    def __init__(
        self,
        token: str,
        tls_context: ssl.SSLContext,
        egress_proxy: str | None = None,
        *,
        submit_timeout_seconds: float = 60.0,
        deadline_seconds: float = 900.0,
        question_timeout_seconds: float = 30.0,
    ) -> None:
        token = checked_token(token, variable="REPLICATE_API_TOKEN", code="replicate_token_invalid")
        self._secrets = (token,)
        self._deadline_seconds = max(MIN_DEADLINE_SECONDS, round(deadline_seconds))
        self._submits = BearerClient(
            "Replicate", token, {API_HOST}, tls_context, egress_proxy,
            timeout_seconds=submit_timeout_seconds, keeps_alive=False,
        )  # fmt: skip
        self._questions = ReplicateQuestions(
            BearerClient(
                "Replicate", token, {API_HOST}, tls_context, egress_proxy,
                timeout_seconds=question_timeout_seconds, keeps_alive=True,
            ),
            secrets=self._secrets,
        )  # fmt: skip

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        """Which pictures a model can be given to go by, as far as its family is known."""
        return reference_limits(endpoint)

    def submit(self, request: ImageRequest) -> Submission:
        """Ask for the pictures with exactly one POST.

        Raises:
            AmbiguousSubmitError: Replicate may have accepted it.
            ProviderError: It was certainly refused or never sent (`charge == "not_charged"`).
        """
        url, body = prediction_request(request)
        try:
            answer = self._submits.exchange(
                "POST",
                url,
                max_bytes=MAX_PREDICTION_BYTES,
                headers={
                    "Content-Type": "application/json",
                    "Cancel-After": f"{self._deadline_seconds}s",
                },
                content=body,
            )
        except LostAnswerError as error:
            what = f"no whole answer came ({error})"
            raise ambiguous_submit(request.endpoint, what) from error
        if answer.status not in _ACCEPTED:
            raise submit_refusal(request.endpoint, answer, self._secrets)
        prediction = answer.json()
        submission = read_submission(prediction) if isinstance(prediction, dict) else None
        if submission is None:
            raise ambiguous_submit(request.endpoint, "its answer names no prediction")
        return submission

    def poll(self, request: ImageRequest, submission: Submission) -> Progress:
        """Ask once how a prediction stands.

        Raises:
            ProviderError: It failed for good; or (`retryable`) this one question did, or, where
                `charge` is "not_charged", it never ran and another may be made.
        """
        prediction = self._questions.prediction(request.endpoint, submission)
        progress = read_progress(prediction, self._secrets)
        if progress is None:
            raise unreadable_answer(
                request.endpoint, "the status is none that is known", code="status_unknown"
            )
        return progress

    def fetch_result(self, request: ImageRequest, submission: Submission) -> GenerationResult:
        """Read the result of a completed prediction.

        Raises:
            ProviderError: "result_lost" after the hour; "content_rejected" where a content check
                left no picture; or (`retryable`) a failed question.
        """
        prediction = self._questions.prediction(request.endpoint, submission)
        if prediction["status"] != "succeeded":
            what = "the prediction is still in progress"
            raise unreadable_answer(request.endpoint, what, code="not_completed")
        if prediction.get("data_removed") or prediction.get("output") is None:
            raise result_lost(request.endpoint)
        images = read_images(prediction)
        if not images:
            raise without_picture(request.endpoint, prediction)
        billed_by = model_family(request.endpoint).billed_by
        return GenerationResult(
            images=images,
            seed=read_seed(prediction),
            billable_units=billable_units(prediction, billed_by, len(images)),
            raw=kept_facts(prediction),
        )

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        """Replicate gives URLs, never bytes.

        Raises:
            ProviderError: Always; the pipeline asks `capabilities.returns_urls` first.
        """
        raise gives_urls_only("Replicate", request, image_index)

    def cancel(self, submission: Submission) -> None:
        """Ask Replicate to end a prediction; a refusal or failure is not an error."""
        self._questions.cancel(submission)

    def find_lost(
        self,
        request: ImageRequest,
        submitted_after: datetime,
        known_ids: Collection[str] = frozenset(),
    ) -> LostRequest:
        """Look a request whose answer was lost up among the account's predictions."""
        return self._questions.find(request, submitted_after, known_ids)

    def close(self) -> None:
        """Release the connections."""
        self._submits.close()
        self._questions.close()


def build(settings: Settings) -> ReplicateProvider:
    """Build the provider from the settings.

    Raises:
        ConfigurationError: REPLICATE_API_TOKEN is not set, or cannot be a token.
    """
    if not settings.replicate_api_token:
        raise missing_key("replicate", "REPLICATE_API_TOKEN", code="replicate_token_missing")
    return ReplicateProvider(
        settings.replicate_api_token,
        tls_context(settings.ssl_cert_file),
        settings.egress_proxy,
        submit_timeout_seconds=settings.submit_timeout_seconds,
        deadline_seconds=settings.generation_timeout_seconds,
    )


def max_images(endpoint: str) -> int:
    """How many pictures a model makes of one request."""
    return model_family(endpoint).max_images


def reference_limits(endpoint: str) -> ReferenceLimits:
    """Which pictures a model can be given to go by."""
    return model_family(endpoint).reference_limits
