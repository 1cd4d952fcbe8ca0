"""Fal: queued image models, spoken to through the real fal-client for the one paid call.

Mode of operation: `submit` posts exactly once (`fal_submit.SubmitGuard`); status, result, cancel
and history are questions of our own, because fal-client's parser dies of absent fields, its `get`
polls for ever and drops the header that tells the metered units (all seen with 1.0.3).

Belongs here: the five calls. Does not belong here: loops, retries, waiting, storing.
"""

import ssl
from collections.abc import Collection
from datetime import datetime

import httpx

from scene_pipeline.egress import tls_context
from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import (
    Capabilities,
    GenerationResult,
    ImageRequest,
    LostRequest,
    Progress,
    ReferenceLimits,
    Submission,
)
from scene_pipeline.providers.fal_addresses import checked_endpoint
from scene_pipeline.providers.fal_arguments import build_arguments
from scene_pipeline.providers.fal_errors import ambiguous_submit
from scene_pipeline.providers.fal_history import FalHistory
from scene_pipeline.providers.fal_models import model_family
from scene_pipeline.providers.fal_questions import FalQuestions
from scene_pipeline.providers.fal_submit import SubmitGuard
from scene_pipeline.providers.fal_transport import (
    KeyedTransport,
    QuestionClient,
    checked_key,
    client_over,
    secret_parts,
)
from scene_pipeline.providers.fal_uploads import FalUploads, UploadTransport
from scene_pipeline.providers.keys import missing_key
from scene_pipeline.providers.request_checks import gives_urls_only
from scene_pipeline.providers.wire import open_transport
from scene_pipeline.settings import Settings


class FalProvider:
    """The `ImageProvider` for Fal.

    Args:
        key: FAL_KEY; goes to Fal's own hosts only and into no message.
        tls_context: Trust roots of every connection (`egress.tls_context`).
        egress_proxy: URL of the only proxy, or None.
        submit_timeout_seconds: From the sending of the paid POST to the end of its answer.
        start_timeout_seconds: How long a request may wait for its start; Fal then drops it unpaid.
            Bounds how late a request whose answer was lost can still begin.
        question_timeout_seconds: The same for status, result, cancel and history.

    Raises:
        ConfigurationError: The key cannot be put into a header, or the installed fal-client is not
            one that the guard is known to hold.
    """

    name = "fal"
    capabilities = Capabilities(
        has_request_ids=True,
        has_history=True,
        returns_urls=True,
        is_free=False,
        first_poll_seconds=1.0,
        # Fal keeps results for an hour at least; its media host is promised no longer than that.
        url_lifetime_seconds=3600.0,
    )

    def __init__(
        self,
        key: str,
        tls_context: ssl.SSLContext,
        egress_proxy: str | None = None,
        *,
        submit_timeout_seconds: float = 60.0,
        start_timeout_seconds: float = 300.0,
        question_timeout_seconds: float = 30.0,
    ) -> None:
        key = checked_key(key)
        secrets = secret_parts(key)
        self._start_timeout_seconds = start_timeout_seconds
        self._guard = SubmitGuard(
            KeyedTransport(key, open_transport(tls_context, egress_proxy, keeps_alive=False)),
            secrets=secrets,
            timeout_seconds=submit_timeout_seconds,
        )
        client = QuestionClient(
            KeyedTransport(key, open_transport(tls_context, egress_proxy, keeps_alive=True)),
            secrets=secrets,
            timeout_seconds=question_timeout_seconds,
        )
        self._history = FalHistory(client, secrets=secrets)
        self._questions = FalQuestions(client, self._history, secrets=secrets)
        self._client = client_over(self._guard, submit_timeout_seconds)
        self._uploads = FalUploads(
            UploadTransport(
                KeyedTransport(key, open_transport(tls_context, egress_proxy, keeps_alive=False)),
                open_transport(tls_context, egress_proxy, keeps_alive=False),
                timeout_seconds=submit_timeout_seconds,
            )
        )

    def reference_limits(self, endpoint: str) -> ReferenceLimits:
        """Which pictures a model can be given to go by, as far as its family is known."""
        return reference_limits(endpoint)

    def upload_reference(self, data: bytes, content_type: str) -> str:
        """Put a picture to go by into Fal's own storage; gives its address there.

        Raises:
            ProviderError: code "upload_failed" (`retryable`).
        """
        return self._uploads.upload(data, content_type)

    def submit(self, request: ImageRequest) -> Submission:
        """Ask for the pictures with exactly one POST.

        Raises:
            AmbiguousSubmitError: Fal may have accepted it.
            ProviderError: It was certainly refused or never sent (`charge == "not_charged"`).
        """
        endpoint = checked_endpoint(request.endpoint)
        arguments = build_arguments(request)
        with self._guard.one_send():
            try:
                self._client.submit(endpoint, arguments, start_timeout=self._start_timeout_seconds)
            except ProviderError:
                raise
            except Exception as error:
                # Whatever goes wrong once the POST has left must not look like a refusal, and
                # whatever goes wrong before must not look like a payment.
                if self._guard.is_spent or isinstance(error, httpx.HTTPError):
                    what = f"the answer could not be read ({type(error).__name__})"
                    raise ambiguous_submit(endpoint, what) from error
                raise _not_sent(endpoint, error) from error
            submission = self._guard.accepted
        if submission is None:
            raise ambiguous_submit(endpoint, "fal-client did not send it through the guard")
        return submission

    def poll(self, request: ImageRequest, submission: Submission) -> Progress:
        """Ask once how a request stands.

        Raises:
            ProviderError: It failed for good; or (`retryable`) this one question did, or, where
                `charge` is "not_charged", the request never ran and another may be made.
        """
        return self._questions.progress(request.endpoint, submission)

    def fetch_result(self, request: ImageRequest, submission: Submission) -> GenerationResult:
        """Read the result of a completed request, from the history where the queue forgot it.

        Raises:
            ProviderError: "result_lost" where Fal no longer knows it; "content_rejected" and other
                refusals of the model; or (`retryable`) a failed question.
        """
        return self._questions.result(request.endpoint, submission)

    def read_image(self, request: ImageRequest, image_index: int) -> bytes:
        """Fal gives URLs, never bytes.

        Raises:
            ProviderError: Always; the pipeline asks `capabilities.returns_urls` first.
        """
        raise gives_urls_only("Fal", request, image_index)

    def cancel(self, submission: Submission) -> None:
        """Ask Fal to drop a request that is still queued; a refusal or failure is not an error."""
        self._questions.cancel(submission)

    def find_lost(
        self,
        request: ImageRequest,
        submitted_after: datetime,
        known_ids: Collection[str] = frozenset(),
    ) -> LostRequest:
        """Look a request whose answer was lost up in the account's history."""
        return self._history.find(request, submitted_after, known_ids)

    def close(self) -> None:
        """Release the connections."""
        self._guard.close()
        self._questions.close()
        self._uploads.close()


def _not_sent(endpoint: str, error: Exception) -> ProviderError:
    return ProviderError(
        f"The request for {endpoint} could not be built ({type(error).__name__}).",
        code="request_invalid",
        next_action="Correct the scene's parameters.",
        charge="not_charged",
    )


def build(settings: Settings) -> FalProvider:
    """Build the provider from the settings.

    Raises:
        ConfigurationError: FAL_KEY is not set, or cannot be a key.
    """
    if not settings.fal_key:
        raise missing_key("fal", "FAL_KEY", code="fal_key_missing")
    return FalProvider(
        settings.fal_key,
        tls_context(settings.ssl_cert_file),
        settings.egress_proxy,
        submit_timeout_seconds=settings.submit_timeout_seconds,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


def max_images(endpoint: str) -> int:
    """How many pictures a model makes of one request."""
    return model_family(endpoint).max_images


def reference_limits(endpoint: str) -> ReferenceLimits:
    """Which pictures a model can be given to go by."""
    return model_family(endpoint).reference_limits
