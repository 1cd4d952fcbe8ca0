"""What is said of the time that remains: from evidence, and nothing without it."""

import pytest

from scene_pipeline.cli.remaining import LEAST_EVIDENCE, RemainingAmount, RemainingItems, left_words


def worked(total: int, *, ended: int, at_once: int, seconds: float) -> tuple[RemainingItems, float]:
    """So many ended, a number at a time and each after so many seconds; the next ones are in work.

    Returns them and the time it is.
    """
    items, now = RemainingItems(total), 100.0
    for number in range(at_once):
        items.works(number, now)
    for first in range(0, ended, at_once):
        now += seconds
        for number in range(first, first + at_once):
            items.ends(number, now)
            items.works(number + at_once, now)
    return items, now


@pytest.mark.parametrize("ended", range(LEAST_EVIDENCE))
def test_nothing_is_said_before_there_is_evidence(ended: int) -> None:
    items, now = worked(100, ended=ended, at_once=1, seconds=4.0)

    assert items.seconds_left(now) is None


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_the_rest_takes_what_one_took_over_how_many_were_in_work_at_once(at_once: int) -> None:
    items, now = worked(100, ended=10, at_once=at_once, seconds=4.0)

    assert items.seconds_left(now) == pytest.approx(90 * 4.0 / at_once)
    assert items.seconds_left(now + 3.0) == pytest.approx(90 * 4.0 / at_once - 3.0)


def test_one_that_took_for_ever_does_not_make_all_the_others_slow() -> None:
    items, now = RemainingItems(10), 0.0
    for number, seconds in enumerate([2.0, 2.0, 300.0, 2.0, 2.0]):
        items.works(number, now)
        now += seconds
        items.ends(number, now)
    items.works("next", now)

    assert items.seconds_left(now) == pytest.approx(5 * 2.0)


def test_nothing_is_said_while_everything_waits_in_a_queue() -> None:
    items, now = worked(100, ended=10, at_once=2, seconds=4.0)

    for number in range(8, 14):
        items.waits(number, now)

    assert items.seconds_left(now) is None


def test_what_was_there_already_is_no_evidence() -> None:
    items = RemainingItems(100)
    for number in range(50):
        items.ends(number, 1.0)
    items.works(50, 1.0)

    assert items.seconds_left(1.0) is None


def test_an_estimate_that_reality_has_overtaken_is_taken_back_until_there_is_a_new_one() -> None:
    items, now = worked(6, ended=4, at_once=2, seconds=4.0)
    before = items.seconds_left(now + 3.0)
    overtaken = items.seconds_left(now + 4.5)

    items.ends(4, now + 6.0)

    assert before == pytest.approx(1.0)
    assert overtaken is None
    assert items.seconds_left(now + 6.0) is None  # the last one should have ended long ago


def test_nothing_is_said_when_nothing_ends_for_longer_than_anything_took() -> None:
    items, now = worked(1000, ended=10, at_once=2, seconds=4.0)

    assert items.seconds_left(now + 7.9) is not None
    assert items.seconds_left(now + 8.1) is None


def test_nothing_remains_at_the_end() -> None:
    items, now = worked(10, ended=10, at_once=2, seconds=4.0)

    assert items.seconds_left(now) is None


def test_an_amount_is_judged_by_what_was_seen_of_it_here() -> None:
    amount = RemainingAmount()
    said = []
    for second in range(6):  # a thousand were done by an earlier call
        amount.note(1000 + second * 10, 2000, float(second))
        said.append(amount.seconds_left(float(second)))

    assert said[:3] == [None, None, None]
    assert said[3:] == [pytest.approx(97.0), pytest.approx(96.0), pytest.approx(95.0)]
    assert amount.seconds_left(5.0 + 2.5) is None  # it has stopped


def test_an_amount_that_flew_by_says_nothing() -> None:
    amount = RemainingAmount()
    for step in range(20):
        amount.note(step, 10_000, step * 0.01)

    assert amount.seconds_left(0.2) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "a few seconds left"),
        (9.0, "about 10 s left"),
        (44.0, "about 40 s left"),
        (56.0, "about 1 min left"),
        (89.0, "about 1 min left"),
        (130.0, "about 2 min left"),
        (3500.0, "about 58 min left"),
        (3600.0, "about 1 h left"),
        (2.4 * 3600, "about 2 h 20 min left"),
    ],
)
def test_an_estimate_is_said_as_roughly_as_it_is_meant(seconds: float, words: str) -> None:
    assert left_words(seconds) == words
