"""Reading Fal's complaints: bounded, printable, without secrets, and never a crash."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.errors import AmbiguousSubmitError, ProviderError
from scene_pipeline.providers.answers import Answer
from scene_pipeline.providers.fal_complaints import read_complaint
from scene_pipeline.providers.fal_errors import (
    billable_units,
    query_failure,
    submit_refusal,
)

CERTAIN_REFUSALS = {400, 401, 402, 403, 404, 413, 422, 429}


def answer(status: int, body: object = None, **headers: str) -> Answer:
    return Answer(status, httpx.Headers(headers), json.dumps(body).encode())


def test_only_proven_refusals_say_that_nothing_was_charged() -> None:
    errors = {
        status: submit_refusal("fal-ai/flux/dev", answer(status, {"detail": "no"}), ())
        for status in range(100, 600)
    }

    refused = {status for status, error in errors.items() if error.charge == "not_charged"}
    ambiguous = {
        status for status, error in errors.items() if isinstance(error, AmbiguousSubmitError)
    }
    assert refused == CERTAIN_REFUSALS
    assert ambiguous == set(range(100, 600)) - CERTAIN_REFUSALS


def test_a_failed_question_alone_never_says_what_was_charged() -> None:
    verdicts = {
        query_failure("fal-ai/flux/dev", answer(status, {"detail": "no"}), ()).charge
        for status in range(100, 600)
    }

    assert verdicts == {"unknown"}


def test_metered_units_on_a_failure_say_whether_it_was_charged() -> None:
    body = {"detail": [{"loc": ["body"], "msg": "flagged", "type": "content_policy_violation"}]}
    verdicts = {
        units: query_failure(
            "m",
            Answer(422, httpx.Headers({"x-fal-billable-units": units}), json.dumps(body).encode()),
            (),
        ).charge
        for units in ("1", "0", "NaN", "")
    }

    assert verdicts == {"1": "charged", "0": "not_charged", "NaN": "unknown", "": "unknown"}


@pytest.mark.parametrize(
    ("text", "units"), [("1", 1.0), ("0.59", 0.59), ("-1", None), ("nan", None), ("x", None)]
)
def test_billable_units_are_a_plain_number_or_unknown(text: str, units: float | None) -> None:
    assert billable_units({"x-fal-billable-units": text}) == units


def test_a_list_of_details_becomes_a_sentence_and_a_type() -> None:
    entry = {"loc": ["body", "steps"], "msg": "too many", "type": "less_than_equal"}
    complaint = read_complaint(answer(422, {"detail": [entry, "odd"]}), ())

    assert (complaint.text, complaint.error_type) == ("body.steps: too many", "less_than_equal")


def test_the_type_may_be_in_a_header() -> None:
    told = Answer(504, httpx.Headers({"x-fal-error-type": "startup_timeout"}), b"<html>")
    error = query_failure("m", told, ())

    assert (error.error_code, error.charge, error.retryable) == (
        "startup_timeout",
        "not_charged",
        True,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from([400, 403, 404, 422, 429, 500]), json_values, json_values)
def test_no_body_makes_the_reading_fail(status: int, detail: object, error_type: object) -> None:
    told = answer(status, {"detail": detail, "error_type": error_type})

    for error in (submit_refusal("m", told, ()), query_failure("m", told, ())):
        assert isinstance(error, ProviderError)
        assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("locations", "error_type", "flagged", "words"),
    [
        ([["body", "prompt"]], "content_policy_violation", "prompt", "refused the prompt"),
        ([["body", "image_url"]], "content_policy_violation", "reference", "a reference picture"),
        ([["body", "image_urls", 0]], "content_policy_violation", "reference", "reference"),
        (
            [["body", "prompt"], ["body", "image_urls", 1]],
            "content_policy_violation",
            "reference",
            "reference",
        ),
        ([["body"]], "content_policy_violation", None, "refused the scene"),
        ([["body", "prompt"]], "no_media_generated", "output", "the picture that was made"),
    ],
)
def test_a_content_check_says_what_it_objects_to(
    locations: list[list[str | int]], error_type: str, flagged: str | None, words: str
) -> None:
    detail = [{"loc": place, "msg": "flagged", "type": error_type} for place in locations]

    error = query_failure("m", answer(422, {"detail": detail}), ())

    assert (error.error_code, error.flagged_input) == ("content_rejected", flagged)
    assert words in error.message


def test_what_is_wrong_with_a_parameter_flags_nothing() -> None:
    detail = [{"loc": ["body", "prompt"], "msg": "too long", "type": "string_too_long"}]

    assert query_failure("m", answer(422, {"detail": detail}), ()).flagged_input is None
