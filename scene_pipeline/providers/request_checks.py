"""Refusals of requests that a model cannot fulfil, before anything is sent.

Belongs here: what is refused the same way whoever makes the pictures. Does not belong here: the
limits themselves, which are each provider's data.
"""

from collections.abc import Collection

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, ReferenceLimits


def refuse_unsupported(request: ImageRequest, max_images: int, limits: ReferenceLimits) -> None:
    """Refuse more pictures or references than a model makes or takes, and fewer than it needs.

    Args:
        request: What is asked for.
        max_images: Most pictures of one request.
        limits: Which reference pictures the model takes.

    Raises:
        ProviderError: code "candidates_unsupported", "reference_required" or
            "references_unsupported".
    """
    if request.image_count > max_images:
        can = f"{max_images} pictures" if max_images > 1 else "one picture"
        raise _refusal(
            f"{request.endpoint} makes {can} of one request, not {request.image_count}.",
            "candidates_unsupported",
            "Ask for fewer candidates, or name a model that makes as many at once.",
        )
    if limits.is_required and not request.references:
        raise _refusal(
            f"{request.endpoint} makes nothing without a reference picture.",
            "reference_required",
            "Name a picture in the scene's `references`, or a text-to-image model.",
        )
    if len(request.references) > limits.max_count:
        can = str(limits.max_count) if limits.max_count else "no"
        raise _refusal(
            f"{request.endpoint} takes {can} reference pictures, not {len(request.references)}.",
            "references_unsupported",
            "Give fewer reference pictures, or name a model that takes as many.",
        )


def gives_urls_only(service: str, request: ImageRequest, image_index: int) -> ProviderError:
    """The error of asking a provider for bytes whose results are fetched from URLs."""
    return ProviderError(
        f"{service} gives picture {image_index} of {request.endpoint} as a URL, not as bytes.",
        code="bytes_unavailable",
        next_action="Fetch the URL of the result.",
    )


def refuse_reserved(request: ImageRequest, reserved: Collection[str]) -> None:
    """Refuse pass-through arguments that would override what the ledger or the price stands on.

    Raises:
        ProviderError: code "argument_reserved".
    """
    found = sorted(set(reserved).intersection(request.arguments))
    if found:
        raise _refusal(
            f"The model's argument {found[0]!r} cannot be set by hand.",
            "argument_reserved",
            "Remove it; prompt, seed, size and references have fields of their own.",
        )


def _refusal(message: str, code: str, next_action: str) -> ProviderError:
    return ProviderError(message, code=code, next_action=next_action, charge="not_charged")
