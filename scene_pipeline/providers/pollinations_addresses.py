"""A request to Pollinations, the whole of which is one address.

Belongs here: building it, and refusing what cannot be put into it. Does not belong here: asking
(`pollinations`), and which models go by a picture.
"""

import re
from typing import Final
from urllib.parse import quote, urlencode

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest, ReferenceLimits
from scene_pipeline.providers.request_checks import refuse_reserved, refuse_unsupported

KEYED_HOST: Final = "gen.pollinations.ai"
FREE_HOST: Final = "image.pollinations.ai"
MAX_IMAGES = 1
MAX_URL_LENGTH = 8000
"""Characters; the prompt is a part of the address, and servers refuse longer ones."""

_RESERVED = frozenset({"prompt", "model", "seed", "width", "height", "image", "key", "token"})
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}"
_MODEL = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})?")


def address(request: ImageRequest, limits: ReferenceLimits, *, has_key: bool) -> str:
    """Build the address that asks for a picture.

    Args:
        request: What is asked for.
        limits: Which reference pictures the model takes.
        has_key: Whether it is asked for with a key, and so of the other host.

    Raises:
        ProviderError: What is asked for cannot be had; nothing was sent.
    """
    refuse_reserved(request, _RESERVED)
    refuse_unsupported(request, MAX_IMAGES, limits)
    if not _MODEL.fullmatch(request.endpoint):
        raise _refused(
            f"{request.endpoint[:80]!r} is not the name of a model at Pollinations.",
            "model_invalid",
            'Name a model as Pollinations does: "flux".',
        )
    parameters: dict[str, str] = {
        "model": request.endpoint,
        "width": str(request.width),
        "height": str(request.height),
        "seed": str(request.seed),
        "nologo": "true",
        "private": "true",
    }
    if request.negative_prompt:
        parameters["negative_prompt"] = request.negative_prompt
    for reference in request.references:
        if not reference.url.startswith("https://"):
            raise _refused(
                f"Pollinations takes reference pictures by their address, and {reference.source}"
                " has none that it could fetch.",
                "reference_not_reachable",
                "Use a store whose pictures the public can fetch, or another provider.",
            )
        parameters["image"] = reference.url
    parameters |= {name: _text(value) for name, value in request.arguments.items()}
    place = f"{KEYED_HOST}/image" if has_key else f"{FREE_HOST}/prompt"
    url = f"https://{place}/{quote(request.prompt, safe='')}?{urlencode(parameters)}"
    if len(url) > MAX_URL_LENGTH:
        raise _refused(
            f"The request for {request.endpoint} is too long for Pollinations, which takes it as"
            f" an address of {MAX_URL_LENGTH} characters at most.",
            "request_too_large",
            "Shorten the scene's prompt, or use another provider.",
        )
    return url


def _text(value: object) -> str:
    """An argument as it stands in an address."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refused(message: str, code: str, next_action: str) -> ProviderError:
    return ProviderError(message, code=code, next_action=next_action, charge="not_charged")
