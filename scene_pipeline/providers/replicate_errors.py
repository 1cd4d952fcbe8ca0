"""Replicate's refusals and failures, translated into errors that carry the decision.

Belongs here: status codes and error texts in, typed errors out. Does not belong here: connections.
The classes follow one question: may Replicate have accepted (and charge for) the prediction?

Sources, as documented at replicate.com/docs: errors are `{"detail", "title", "status"}`; 429 says
"Request was throttled. Your rate limit resets in ~30s." (rate limits); a prediction is `aborted`
where its deadline passes before it starts, which is not charged for, and `canceled` where it passes
while it runs, which is (prediction deadlines).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from scene_pipeline.errors import AGAIN, ANOTHER, AmbiguousSubmitError, ProviderError
from scene_pipeline.providers.answers import (
    MAX_RETRY_AFTER_SECONDS,
    Answer,
    clean_text,
    retry_after_seconds,
)

_REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("request_invalid", f"Correct the scene's prompt or parameters, then go on with {AGAIN}."),
    401: ("key_rejected", "Set REPLICATE_API_TOKEN to a valid token of your Replicate account."),
    402: ("balance_exhausted", f"Add credit to the Replicate account, then go on with {AGAIN}."),
    403: ("key_rejected", "Set REPLICATE_API_TOKEN to a token that has access to this model."),
    404: (
        "model_unknown",
        "Name a model that Replicate lists; one that is not official needs its version.",
    ),
    413: ("request_too_large", "Shorten the scene's prompt, or give smaller reference pictures."),
    422: ("request_invalid", "Correct the input that the model refuses."),
}
_STOPS_THE_LINE = frozenset({"key_rejected", "balance_exhausted"})
_RESETS_IN = re.compile(r"resets in ~?(\d{1,6})\s*s")
_CONTENT_CHECK = re.compile(r"nsfw|flagged as sensitive|\bE005\b|safety", re.IGNORECASE)
"""Words of content checks: "NSFW content detected", "flagged as sensitive. (E005)"."""
_OUTPUT_CHECK = re.compile(r"nsfw", re.IGNORECASE)


def submit_refusal(endpoint: str, answer: Answer, secrets: tuple[str, ...]) -> ProviderError:
    """Translate any answer to a submit that is not an acceptance.

    Only statuses that prove a refusal say "not_charged"; all others are ambiguous.
    """
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return ProviderError(
            f"Replicate takes no more predictions at the moment{_because(answer, secrets)}.",
            code="rate_limited",
            next_action="Wait; the request is repeated by itself.",
            retryable=True,
            retry_after_seconds=_retry_after(answer),
            charge="not_charged",
        )
    if answer.status not in _REFUSALS:
        return ambiguous_submit(endpoint, f"its answer was {answer.status}")
    code, next_action = _REFUSALS[answer.status]
    return ProviderError(
        f"Replicate refused the request for {endpoint} with {answer.status}"
        f"{_because(answer, secrets)}.",
        code=code,
        next_action=next_action,
        charge="not_charged",
        stops_the_line=code in _STOPS_THE_LINE,
    )


def ambiguous_submit(endpoint: str, what_happened: str) -> AmbiguousSubmitError:
    """The error for a submit that may have been accepted."""
    return AmbiguousSubmitError(
        f"Replicate may have accepted the request for {endpoint} although {what_happened}."
    )


def query_failure(endpoint: str, answer: Answer, secrets: tuple[str, ...]) -> ProviderError:
    """Translate a failed question about an accepted prediction."""
    if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return result_lost(endpoint)
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        code, next_action = _REFUSALS[answer.status]
        # The prediction goes on: with a valid token, the next run asks for it again.
        return ProviderError(
            f"Replicate refused a question about {endpoint} with {answer.status}.",
            code=code,
            next_action=next_action,
            retryable=True,
            stops_the_line=True,
        )
    is_rate_limit = answer.status == HTTPStatus.TOO_MANY_REQUESTS
    return ProviderError(
        f"Replicate answered a question about {endpoint} with {answer.status}"
        f"{_because(answer, secrets)}.",
        code="rate_limited" if is_rate_limit else "provider_unavailable",
        next_action="Wait; the question is repeated by itself.",
        retryable=True,
        retry_after_seconds=_retry_after(answer),
    )


def failed_prediction(
    endpoint: str, prediction: Mapping[str, Any], secrets: tuple[str, ...]
) -> ProviderError:
    """The error for a prediction that ended without a picture."""
    status = prediction["status"]
    if status == "aborted":
        return ProviderError(
            f"Replicate did not start the prediction for {endpoint} in time.",
            code="startup_timeout",
            next_action=f"Try once more with {AGAIN}; nothing was charged.",
            retryable=True,
            charge="not_charged",
        )
    if status == "canceled":
        return ProviderError(
            f"The prediction for {endpoint} was cancelled before it was done.",
            code="cancelled",
            next_action=f"Ask for another one with {ANOTHER}.",
        )
    told = prediction.get("error")
    text = clean_text(told, secrets).rstrip(".") if isinstance(told, str) else ""
    if _CONTENT_CHECK.search(text):
        return content_rejected(endpoint, text)
    return ProviderError(
        f"Replicate ended the prediction for {endpoint} without a picture"
        f"{f': {text}' if text else ''}.",
        code="generation_failed",
        next_action=f"Ask for another one with {ANOTHER}, or name another model.",
    )


def content_rejected(endpoint: str, text: str) -> ProviderError:
    """The error for a prediction that a content check ended; Replicate does not say what it saw."""
    is_output = _OUTPUT_CHECK.search(text) is not None
    return ProviderError(
        f"The content check of {endpoint} refused the scene: {text}.",
        code="content_rejected",
        next_action="Reword the scene's prompt, or try another seed.",
        flagged_input="output" if is_output else None,
    )


def without_picture(endpoint: str, prediction: Mapping[str, Any]) -> ProviderError:
    """The error for a prediction that succeeded and names no picture.

    Some models leave out what their content check refuses, and say so in their log only.
    """
    logs = prediction.get("logs")
    if isinstance(logs, str) and "nsfw" in logs.lower():
        return content_rejected(endpoint, "NSFW content was detected in every picture")
    return ProviderError(
        f"The result of {endpoint} names no picture.",
        code="result_unreadable",
        next_action="Use a model that makes pictures from text.",
        charge="charged",
    )


def result_lost(endpoint: str) -> ProviderError:
    """The error for a result that is gone."""
    return ProviderError(
        f"Replicate no longer has the result for {endpoint}.",
        code="result_lost",
        next_action=f"Ask for another one with {ANOTHER}; results are kept for an hour only.",
    )


def unreadable_answer(
    endpoint: str, what: str, *, code: str = "answer_unreadable"
) -> ProviderError:
    """The error for one question that gave nothing usable; asking again may help."""
    return ProviderError(
        f"Replicate's answer about {endpoint} cannot be used: {what}.",
        code=code,
        next_action="Wait; the question is repeated by itself.",
        retryable=True,
    )


def _detail(answer: Answer, secrets: tuple[str, ...]) -> str:
    body = answer.json()
    if not isinstance(body, dict):
        return ""
    told = body.get("detail") or body.get("title")
    return clean_text(told, secrets) if isinstance(told, str) else ""


def _because(answer: Answer, secrets: tuple[str, ...]) -> str:
    detail = _detail(answer, secrets)
    return f": {detail.rstrip('.')}" if detail else ""


def _retry_after(answer: Answer) -> float | None:
    """From the header, or from the words "resets in ~30s"; between 0 and 120 seconds."""
    seconds = retry_after_seconds(answer.headers)
    if seconds is not None:
        return seconds
    match = _RESETS_IN.search(_detail(answer, ()))
    return min(float(match.group(1)), MAX_RETRY_AFTER_SECONDS) if match else None
