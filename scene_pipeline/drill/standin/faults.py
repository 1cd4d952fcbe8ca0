"""The faults that the Fal stand-in can be told to have, by name.

A fault is asked for in a prompt, `[[fault:drop_after_accept]]` or `[[fault:rate_limited*2]]` (the
first two times for this prompt), or queued for whatever comes next:
`faults.add("reset_after_accept")`.
"""

import re
import threading
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Stage = Literal["before", "submit", "status", "result", "image"]

_BEFORE = (
    "drop_before_accept rate_limited bad_request unauthorized payment_required exhausted_balance "
    "model_missing too_large invalid_input content_policy_at_submit echo_key"
)
"""Refusals: the request is not accepted and not paid."""
_SUBMIT = (
    "drop_after_accept reset_after_accept half_body hang_after_accept drip_answer status_408 "
    "status_409 status_500 status_502 status_503 status_504 redirect no_request_id html not_json "
    "long_answer wrong_hosts no_urls"
)
"""Lost or strange answers: the request is accepted and paid."""
_STATUS = (
    "status_unknown status_not_json status_bare status_rate_limited status_unavailable "
    "status_dropped status_missing completed_error runner_disconnected startup_timeout "
    "request_timeout content_policy_in_status endless_logs"
)
_RESULT = (
    "content_policy content_policy_reference nsfw_flagged nsfw_first black_frame result_lost "
    "result_unavailable result_not_json result_too_long result_dropped no_images data_url "
    "bare_result early_result"
)
_IMAGE = (
    "image_gone image_forbidden image_drip image_short image_html image_lying_type image_redirect"
)

STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        name: stage
        for stage, names in zip(
            get_args(Stage), (_BEFORE, _SUBMIT, _STATUS, _RESULT, _IMAGE), strict=True
        )
        for name in names.split()
    }
)
"""Every fault and the moment it strikes."""

LOST_ANSWERS = tuple(name for name in _SUBMIT.split() if name not in {"wrong_hosts", "no_urls"})
"""Faults after which only the meter knows that the request was paid."""

_MARKER = re.compile(r"\[\[fault:([a-z_0-9]+)(?:\*(\d+))?\]\]")


class Faults:
    """Which fault strikes next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued: list[str] = []
        self._struck: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, times: int = 1) -> None:
        """Let the next requests that reach the fault's stage have it."""
        _stage(name)
        with self._lock:
            self._queued.extend([name] * times)

    def take(self, stage: Stage, prompt: str) -> str | None:
        """The fault for one request at one stage, used up by the asking."""
        with self._lock:
            for index, name in enumerate(self._queued):
                if _stage(name) == stage:
                    return self._queued.pop(index)
            for name, count in _MARKER.findall(prompt):
                if _stage(name) != stage:
                    continue
                self._struck[name, prompt] += 1
                if not count or self._struck[name, prompt] <= int(count):
                    return str(name)
        return None


def _stage(name: str) -> Stage:
    if name not in STAGES:
        message = f"There is no fault {name!r}."
        raise ValueError(message)
    return STAGES[name]
