"""Pollinations' refusals and failures, translated into errors that carry the decision.

Belongs here: statuses and bodies in, typed errors out. Does not belong here: connections.

The answer to a request is the picture itself. Where another one comes, or none, and it does not
prove a refusal, it is in doubt whether a picture was made and charged for; without a key nothing
ever is, and it is simply asked for again.

Sources: the project's APIDOCS.md and threads. Errors are `{"success": false, "error": {"message",
"code"}}`, on the older host `{"error", "message"}`; 402 without a key says that the model needs an
account, with a key that its pollen is used up; requests without a key are limited to one at a time
and one in five seconds for each address (429).
"""

import re
from http import HTTPStatus
from typing import Any

from scene_pipeline.errors import AGAIN, ANOTHER, AmbiguousSubmitError, ProviderError
from scene_pipeline.providers.answers import Answer, clean_text, retry_after_seconds

_CONTENT_CHECK = re.compile(r"nsfw|content policy|moderation|unsafe content", re.IGNORECASE)
_REFUSALS = {
    400: ("request_invalid", f"Correct the scene's prompt or parameters, then go on with {AGAIN}."),
    404: ("model_unknown", "Name a model that Pollinations lists, such as flux."),
    413: ("request_too_large", "Shorten the scene's prompt in the document and import it again."),
    414: ("request_too_large", "Shorten the scene's prompt in the document and import it again."),
    422: ("request_invalid", "Correct the parameter that the model refuses."),
}


def refusal(
    endpoint: str, answer: Answer, secrets: tuple[str, ...], *, has_key: bool
) -> ProviderError:
    """Translate any answer that is not a picture.

    Args:
        endpoint: The model that was asked for.
        answer: With a status other than 200.
        secrets: Texts that must not appear in messages.
        has_key: Whether it was asked for with a key, so that it may have cost something.
    """
    told = _message(answer.json(), secrets)
    because = f": {told.rstrip('.')}" if told else ""
    match answer.status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            return ProviderError(
                f"Pollinations takes no more requests at the moment{because}.",
                code="rate_limited",
                next_action="Wait; the request is repeated by itself. Without a key, set"
                " SCENE_PIPELINE_PROVIDER_CONCURRENCY=1.",
                retryable=True,
                retry_after_seconds=retry_after_seconds(answer.headers),
                charge="not_charged",
            )
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.PAYMENT_REQUIRED | HTTPStatus.FORBIDDEN:
            return _account_refusal(endpoint, answer.status, because, has_key=has_key)
    if answer.status in _REFUSALS:
        code, next_action = _REFUSALS[answer.status]
        if _CONTENT_CHECK.search(told):
            code, next_action = "content_rejected", "Reword the scene's prompt."
        return ProviderError(
            f"Pollinations refused the request for {endpoint} with {answer.status}{because}.",
            code=code,
            next_action=next_action,
            charge="not_charged",
        )
    return lost_answer(endpoint, f"its answer was {answer.status}{because}", has_key=has_key)


def lost_answer(endpoint: str, what_happened: str, *, has_key: bool) -> ProviderError:
    """The error where no picture came: in doubt where it may have cost something."""
    if has_key:
        return AmbiguousSubmitError(
            f"Pollinations may have made the picture of {endpoint} although {what_happened}.",
            next_action="A person must decide: Pollinations has no history to look it up in.",
        )
    return ProviderError(
        f"Pollinations gave no picture of {endpoint}: {what_happened}.",
        code="provider_unavailable",
        next_action="Wait; the request is repeated by itself.",
        retryable=True,
        charge="not_charged",
    )


def picture_lost(endpoint: str) -> ProviderError:
    """The error for a picture that was paid for and is gone with the process that had it."""
    return ProviderError(
        f"The picture that Pollinations made with {endpoint} was lost before it was stored: it is"
        " given only once.",
        code="result_lost",
        next_action=f"Ask for another one with {ANOTHER}; it costs pollen again.",
        charge="charged",
    )


def _account_refusal(endpoint: str, status: int, because: str, *, has_key: bool) -> ProviderError:
    if not has_key:
        code = "pollinations_key_missing"
        next_action = "Set POLLINATIONS_API_KEY, or name a model that is free without one."
    elif status == HTTPStatus.PAYMENT_REQUIRED:
        code = "balance_exhausted"
        next_action = f"Get more pollen for the account, then go on with {AGAIN}."
    else:
        code = "key_rejected"
        next_action = "Set POLLINATIONS_API_KEY to a valid key that has access to this model."
    return ProviderError(
        f"Pollinations refused the request for {endpoint} with {status}{because}.",
        code=code,
        next_action=next_action,
        charge="not_charged",
        stops_the_line=True,
    )


def _message(body: Any, secrets: tuple[str, ...]) -> str:
    told = body.get("error") if isinstance(body, dict) else None
    if isinstance(told, dict):
        told = told.get("message")
    elif isinstance(body, dict):
        told = body.get("message") or told
    return clean_text(told, secrets) if isinstance(told, str) else ""
