"""Which addresses the key may go to, and how they are built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import ProviderError
from scene_pipeline.providers.base import Submission
from scene_pipeline.providers.fal_addresses import (
    built_urls,
    checked_endpoint,
    is_fal_url,
    read_submission,
    request_urls,
)


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run/fal-ai/flux/requests/1/status",
        "https://queue.fal.run:443/x",
        "https://fal.run/x",
        "https://eu.queue.fal.run/x",
        "https://api.fal.ai/v1/models",
        "https://rest.fal.ai/x",
    ],
)
def test_fals_own_addresses_are_known(url: str) -> None:
    assert is_fal_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://queue.fal.run/x",
        "https://queue.fal.run:8443/x",
        "https://queue.fal.run:x/",
        "https://queue.fal.run.evil.example/x",
        "https://evilfal.run/x",
        "https://evil.example/queue.fal.run",
        "https://queue.fal.run@evil.example/x",
        "https://user:word@queue.fal.run/x",
        "https://evil.example\\@queue.fal.run/x",
        "https://queue.fal.run\t.evil.example/x",
        "https://queue.fal.run/x\r\nHost: evil.example",
        "https://queue.fal.run/" + "x" * 3000,
        "https://\uff51ueue.fal.run/x",
        "https://fal.media/x",
        "https://auth.fal.ai/x",
        "//queue.fal.run/x",
        "file:///etc/passwd",
        "https://[::1]/x",
    ],
)
def test_other_addresses_are_not(url: str) -> None:
    assert not is_fal_url(url)


@given(st.text())
def test_no_text_makes_the_check_fail(url: str) -> None:
    assert is_fal_url(url) in {True, False}


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("fal-ai/flux/schnell", "fal-ai/flux"),
        ("fal-ai/flux-pro/v1.1-ultra", "fal-ai/flux-pro"),
        ("owner/app", "owner/app"),
        ("workflows/owner/app/step", "workflows/owner/app"),
        ("comfy/owner/app", "comfy/owner/app"),
    ],
)
def test_addresses_drop_the_sub_path_of_the_endpoint(endpoint: str, path: str) -> None:
    urls = built_urls(endpoint, "id-1")

    assert urls.response == f"https://queue.fal.run/{path}/requests/id-1"
    assert urls.status == f"{urls.response}/status"
    assert urls.cancel == f"{urls.response}/cancel"


@given(st.text(max_size=40))
def test_a_request_id_never_leaves_its_place_in_the_path(request_id: str) -> None:
    submission = read_submission("fal-ai/flux/dev", {"request_id": request_id})

    if submission is not None:
        assert submission.response_url is not None
        assert is_fal_url(submission.response_url)
        _, _, rest = submission.response_url.partition("/requests/")
        assert "/" not in rest
        assert "?" not in rest
        assert rest not in {"", ".", ".."}


@given(st.text(max_size=60))
def test_an_accepted_endpoint_is_only_a_path(endpoint: str) -> None:
    try:
        accepted = checked_endpoint(endpoint)
    except ProviderError:
        return
    assert not set(accepted) & set("?#%\\@: ")
    assert ".." not in accepted.split("/")


def test_told_addresses_are_used_where_they_are_fals_own() -> None:
    told = Submission(
        "1", status_url="https://eu.queue.fal.run/s", cancel_url="https://evil.test/c"
    )

    urls = request_urls("fal-ai/flux/dev", told)

    assert urls.status == "https://eu.queue.fal.run/s"
    assert urls.response == "https://queue.fal.run/fal-ai/flux/requests/1"
    assert urls.cancel == "https://queue.fal.run/fal-ai/flux/requests/1/cancel"
