"""Reading Replicate's predictions: how one stands, what came of it, which of many was ours.

Belongs here: JSON in, our values out. Does not belong here: connections.

Facts, as documented at replicate.com/docs (HTTP API, data retention): a prediction has `id`,
`model`, `version`, `status` (starting, processing, succeeded, failed, canceled, aborted), `input`,
`output` (for pictures an address, or a list of them), `error`, `logs`, `created_at` and `metrics`.
Inputs, outputs, files and logs of predictions made through the API are removed after an hour; then
`data_removed` is true.
"""

import math
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from scene_pipeline.providers.answers import clean_text
from scene_pipeline.providers.base import ImageRequest, Progress, ProviderImage, Submission
from scene_pipeline.providers.replicate_models import parsed_endpoint

MAX_LOG_LINES = 20
MAX_LOG_LINE_LENGTH = 500
MAX_ID_LENGTH = 64

_STATES: Mapping[str, Literal["queued", "running", "completed"]] = {
    "starting": "queued",
    "processing": "running",
    "succeeded": "completed",
}
FAILED = frozenset({"failed", "canceled", "aborted"})


def read_submission(prediction: Mapping[str, Any]) -> Submission | None:
    """Read the handle on a prediction, or None where it has no id that can be put into a path."""
    told = prediction.get("id")
    is_usable = (
        isinstance(told, str) and told.isascii() and told.isalnum() and len(told) <= MAX_ID_LENGTH
    )
    return Submission(request_id=str(told)) if is_usable else None


def read_progress(prediction: Mapping[str, Any], secrets: tuple[str, ...]) -> Progress | None:
    """Read how a prediction stands, with the last lines of its log; None for an unknown status."""
    state = _STATES.get(str(prediction.get("status")))
    if state is None:
        return None
    logs = prediction.get("logs")
    lines = logs.splitlines()[-MAX_LOG_LINES:] if isinstance(logs, str) else []
    told = (clean_text(line, secrets, max_length=MAX_LOG_LINE_LENGTH) for line in lines)
    return Progress(state, log_lines=tuple(line for line in told if line))


def read_images(prediction: Mapping[str, Any]) -> tuple[ProviderImage, ...]:
    """Read the pictures of a prediction: one address, or a list of them.

    Pictures within the answer itself (data: URLs) are not read: they are never asked for.
    """
    output = prediction.get("output")
    entries = output if isinstance(output, list) else [output]
    return tuple(
        ProviderImage(url=entry)
        for entry in entries
        if isinstance(entry, str) and entry.lower().startswith(("https://", "http://"))
    )


def read_seed(prediction: Mapping[str, Any]) -> int | None:
    """The seed that was sent, as the prediction repeats it."""
    sent = prediction.get("input")
    seed = sent.get("seed") if isinstance(sent, dict) else None
    return seed if isinstance(seed, int) else None


def billable_units(
    prediction: Mapping[str, Any], billed_by: Literal["image", "second"], image_count: int
) -> float | None:
    """What was metered: the pictures that came out, or the seconds that the model ran."""
    if billed_by == "image":
        return float(image_count)
    metrics = prediction.get("metrics")
    seconds = metrics.get("predict_time") if isinstance(metrics, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return float(seconds) if math.isfinite(seconds) and seconds >= 0 else None


def kept_facts(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of a prediction: never its input, which may hold whole pictures."""
    names = ("id", "model", "version", "status", "metrics", "created_at", "completed_at")
    return {name: prediction[name] for name in names if name in prediction}


def created_at(prediction: Mapping[str, Any]) -> datetime | None:
    """When a prediction was made; None where it does not say."""
    try:
        moment = datetime.fromisoformat(str(prediction.get("created_at")))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def likeness(
    prediction: Mapping[str, Any], request: ImageRequest, known_ids: Collection[str]
) -> Literal["same", "other", "unreadable"]:
    """Whether a prediction is the one that a request asked for.

    "unreadable" is one of the same model whose input is gone: it proves nothing.
    """
    wanted = parsed_endpoint(request.endpoint)
    model = prediction.get("model")
    version = prediction.get("version")
    # It answers to a model's name in any case, and tells its own way of writing it.
    is_other_model = isinstance(model, str) and model.casefold() != wanted.path.casefold()
    if prediction.get("id") in known_ids or is_other_model:
        return "other"
    if wanted.version is not None and isinstance(version, str) and version != wanted.version:
        return "other"
    sent = prediction.get("input")
    if not isinstance(sent, dict) or "prompt" not in sent or prediction.get("data_removed"):
        return "unreadable"
    is_same = sent["prompt"] == request.prompt and str(sent.get("seed")) == str(request.seed)
    return "same" if is_same else "other"
