"""Fal's refusals and failures, translated into errors that carry the decision.

Belongs here: status codes, `detail` and `error_type` in, typed errors out. Does not belong here:
connections. The classes follow one question: may Fal have accepted (and charge for) the request?

Sources: Fal's pages on errors and billing ("only successful outputs are billed, server errors and
time in the queue never"), and runs of fal-client 1.0.3 against a loopback server.
"""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus

from scene_pipeline.errors import (
    AGAIN,
    ANOTHER,
    AmbiguousSubmitError,
    ChargeVerdict,
    FlaggedInput,
    ProviderError,
)
from scene_pipeline.providers.answers import Answer, retry_after_seconds
from scene_pipeline.providers.fal_complaints import CONTENT_TYPES, Complaint, read_complaint

_NEVER_RAN = ("request_timeout", "startup_timeout", "runner_")
"""Beginnings of error types after which Fal bills nothing: the model did not run to its end."""


_REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("request_invalid", f"Correct the scene's prompt or parameters, then go on with {AGAIN}."),
    401: ("key_rejected", "Set FAL_KEY to a valid key of your Fal account."),
    402: ("balance_exhausted", f"Top up the Fal account's balance, then go on with {AGAIN}."),
    403: ("key_rejected", "Give the key access to this model, or set FAL_KEY to one that has it."),
    404: ("model_unknown", "Name a model that Fal lists, such as fal-ai/flux/schnell."),
    413: ("request_too_large", "Shorten the scene's prompt in the document and import it again."),
    422: ("request_invalid", "Correct the parameter that the model refuses."),
}
_OBJECTIONS: Mapping[FlaggedInput | None, tuple[str, str]] = {
    "prompt": ("the prompt", "Reword the scene's prompt."),
    "reference": ("a reference picture", "Take another reference picture."),
    "output": ("the picture that was made", "Reword the scene's prompt, or try another seed."),
    None: ("the scene", "Reword the scene's prompt."),
}
_STOPS_THE_LINE = frozenset({"key_rejected", "balance_exhausted"})


def submit_refusal(endpoint: str, answer: Answer, secrets: tuple[str, ...]) -> ProviderError:
    """Translate any answer to a submit that is not an acceptance.

    Only statuses that prove a refusal say "not_charged"; all others are ambiguous.
    """
    complaint = read_complaint(answer, secrets)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return ProviderError(
            f"Fal takes no more requests at the moment{_because(complaint)}.",
            code="rate_limited",
            next_action="Wait; the request is repeated by itself.",
            retryable=True,
            retry_after_seconds=retry_after_seconds(answer.headers),
            charge="not_charged",
        )
    if answer.status in _REFUSALS:
        return _refusal(endpoint, answer.status, complaint, "not_charged")
    return ambiguous_submit(endpoint, f"its answer was {_status_words(answer.status)}")


def ambiguous_submit(endpoint: str, what_happened: str) -> AmbiguousSubmitError:
    """The error for a submit that may have been accepted."""
    return AmbiguousSubmitError(
        f"Fal may have accepted the request for {endpoint} although {what_happened}."
    )


def query_failure(endpoint: str, answer: Answer, secrets: tuple[str, ...]) -> ProviderError:
    """Translate a failed status or result question about an accepted request."""
    complaint = read_complaint(answer, secrets)
    if complaint.error_type is not None and complaint.error_type.startswith(_NEVER_RAN):
        return failed_request(endpoint, complaint, answer.headers)
    if answer.status in {404, 410}:
        return ProviderError(
            f"Fal no longer knows the request for {endpoint}.",
            code="result_lost",
            next_action=f"Ask for another one with {ANOTHER}; Fal keeps results for an hour only.",
        )
    if answer.status == HTTPStatus.BAD_REQUEST and "in progress" in complaint.text.lower():
        return unreadable_answer(endpoint, "the request is still in progress", code="not_completed")
    if answer.status in _REFUSALS:
        verdict = _verdict(complaint, answer.headers)
        return _refusal(endpoint, answer.status, complaint, verdict)
    is_rate_limit = answer.status == HTTPStatus.TOO_MANY_REQUESTS
    return ProviderError(
        f"Fal answered a question about {endpoint} with {_status_words(answer.status)}"
        f"{_because(complaint)}.",
        code="rate_limited" if is_rate_limit else "provider_unavailable",
        next_action="Wait; the question is repeated by itself.",
        retryable=True,
        retry_after_seconds=retry_after_seconds(answer.headers),
    )


def failed_request(
    endpoint: str, complaint: Complaint, headers: Mapping[str, str]
) -> ProviderError:
    """The error for a request that Fal ended without a picture."""
    if complaint.error_type in CONTENT_TYPES:
        return _content_rejected(endpoint, complaint, _verdict(complaint, headers))
    return ProviderError(
        f"Fal ended the request for {endpoint} without a picture{_because(complaint)}.",
        code=_failure_code(complaint.error_type),
        next_action=f"Try once more with {AGAIN}; what was charged is asked for with {ANOTHER}.",
        # This request is over, but another one may well find a runner.
        retryable=(complaint.error_type or "").startswith(_NEVER_RAN),
        charge=_verdict(complaint, headers),
    )


def unreadable_answer(
    endpoint: str, what: str, *, code: str = "answer_unreadable"
) -> ProviderError:
    """The error for one question that gave nothing usable; asking again may help."""
    return ProviderError(
        f"Fal's answer about {endpoint} cannot be used: {what}.",
        code=code,
        next_action="Wait; the question is repeated by itself.",
        retryable=True,
    )


def billable_units(headers: Mapping[str, str]) -> float | None:
    """Units that Fal metered, from `x-fal-billable-units`; None where it is absent or nonsense."""
    try:
        units = float(headers.get("x-fal-billable-units", ""))
    except ValueError:
        return None
    return units if math.isfinite(units) and units >= 0 else None


def _refusal(
    endpoint: str, status: int, complaint: Complaint, verdict: ChargeVerdict
) -> ProviderError:
    if complaint.error_type in CONTENT_TYPES:
        return _content_rejected(endpoint, complaint, verdict)
    code, next_action = _REFUSALS[status]
    if status == HTTPStatus.FORBIDDEN and "balance" in complaint.text.lower():
        code, next_action = _REFUSALS[402]
    return ProviderError(
        f"Fal refused the request for {endpoint} with {_status_words(status)}"
        f"{_because(complaint)}.",
        code=code,
        next_action=next_action,
        charge=verdict,
        stops_the_line=code in _STOPS_THE_LINE,
    )


def _content_rejected(endpoint: str, complaint: Complaint, verdict: ChargeVerdict) -> ProviderError:
    flagged = complaint.flagged_input
    if complaint.error_type == "no_media_generated":
        flagged = "output"
    what, next_action = _OBJECTIONS[flagged]
    return ProviderError(
        f"The content check of {endpoint} refused {what}{_because(complaint)}.",
        code="content_rejected",
        next_action=next_action,
        charge=verdict,
        flagged_input=flagged,
    )


def _verdict(complaint: Complaint, headers: Mapping[str, str]) -> ChargeVerdict:
    units = billable_units(headers)
    if units is not None:
        return "charged" if units > 0 else "not_charged"
    if complaint.error_type is not None and complaint.error_type.startswith(_NEVER_RAN):
        return "not_charged"
    return "unknown"


def _failure_code(error_type: str | None) -> str:
    if error_type is None:
        return "generation_failed"
    return "runner_failed" if error_type.startswith("runner_") else clean_code(error_type)


def clean_code(error_type: str) -> str:
    """An error type as one of our codes, or the general one where it is not a plain word."""
    return error_type if re.fullmatch(r"[a-z][a-z_]{2,40}", error_type) else "generation_failed"


def _because(complaint: Complaint) -> str:
    return f": {complaint.text.rstrip('.')}" if complaint.text else ""


def _status_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
