"""The one paid request to Replicate, as address and body.

Belongs here: putting it together. Does not belong here: inputs of single models
(`replicate_models`), and sending (`replicate`).
"""

import json
from typing import Any

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import ImageRequest
from scene_pipeline.providers.replicate_models import build_input, parsed_endpoint
from scene_pipeline.providers.replicate_paths import API_ORIGIN, PREDICTIONS_URL


def prediction_request(request: ImageRequest) -> tuple[str, bytes]:
    """Address and body of the paid POST.

    Raises:
        ProviderError: What is asked for cannot be had of this model; nothing was sent.
    """
    model = parsed_endpoint(request.endpoint)
    fields: dict[str, Any] = {"input": build_input(request)}
    url = f"{API_ORIGIN}/v1/models/{model.path}/predictions"
    if model.version is not None:
        fields["version"] = model.version
        url = PREDICTIONS_URL
    try:
        return url, json.dumps(fields, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProviderError(
            f"The request for {request.endpoint} could not be built ({type(error).__name__}).",
            code="request_invalid",
            next_action="Correct the scene's parameters.",
            charge="not_charged",
        ) from error
