"""After which failures another service may do better, as data, and what to call them.

Every one of them proves that nothing was charged where nothing was sent, or where the error itself
says so (`charge == "not_charged"`); `pipeline.making.falling_back` asks for that proof. What is not
in the table is never a reason: a payment in doubt, a cap, an unknown price, a changed scene, a
request that is wrong whoever is asked.

Belongs here: the table and words. Does not belong here: what is tried next (`ladder`, `fallbacks`).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from scene_pipeline.database.rows import Generation

CONTENT_REJECTED: Final = "content_rejected"

ANOTHER_MAY_DO_BETTER: Mapping[str, str] = MappingProxyType(
    {
        # The service as a whole.
        "provider_unreachable": "could not be reached",
        "provider_unavailable": "was not available",
        "rate_limited": "took no more requests",
        "balance_exhausted": "has no balance left",
        "key_rejected": "refused its key",
        "upload_failed": "took no reference pictures into its storage",
        # The model there.
        "model_unknown": "is not known there",
        "model_invalid": "is not the name of a model there",
        "size_unsupported": "does not make this size",
        "candidates_unsupported": "does not make as many candidates",
        "references_unsupported": "does not take as many reference pictures",
        # The request was accepted, and ended unpaid.
        "startup_timeout": "did not start in time",
        "request_timeout": "was not done in time",
        "runner_failed": "broke down",
    }
)
"""What came of a model by the error's code, to be read after its name. Codes of errors of
providers (docs/adding-a-provider.md); a missing key is told by the end of its code."""
_KEY_MISSING = re.compile(r"_(key|token)_missing$")

FLAGGED: Mapping[str | None, str] = MappingProxyType(
    {
        "prompt": "the prompt was refused",
        "reference": "the reference picture was refused",
        "output": "the picture was flagged or blank",
        None: "the request was refused",
    }
)


def failure_words(code: str) -> str | None:
    """What came of a model, after its name; None where no other service may do better."""
    if is_key_missing(code):
        return "has no key"
    return ANOTHER_MAY_DO_BETTER.get(code)


def is_key_missing(code: str) -> bool:
    """Whether an error says that a provider's key is not set."""
    return _KEY_MISSING.search(code) is not None


def what_came_of(attempt: Generation) -> str:
    """A failed attempt in a few words: "fal-ai/flux/schnell at fal could not be reached"."""
    name = f"{attempt.endpoint} at {attempt.provider}"
    if attempt.error_code == CONTENT_REJECTED:
        return f"{name}: {FLAGGED[attempt.flagged_input]}"
    words = failure_words(attempt.error_code or "")
    return f"{name} {words}" if words else f"{name} failed ({attempt.error_code})"
