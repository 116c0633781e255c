"""The retry policy: how often, how far apart, and what makes no sense."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import Retry, UsageError


def test_pauses_grow_to_the_ceiling() -> None:
    retry = Retry(max_attempts=9, initial=1, multiplier=2, max_interval=5, jitter=0)
    assert [retry.delay_ms(attempt, 0.3) for attempt in (1, 2, 3, 4, 5000)] == [1000, 2000, 4000, 5000, 5000]


def test_a_first_pause_that_is_asked_for_is_never_cut_short_in_silence() -> None:
    patient = Retry(max_attempts=9, initial=timedelta(minutes=2), jitter=0)
    assert [patient.delay_ms(attempt, 0.3) for attempt in (1, 2)] == [120_000, 120_000]
    assert replace(patient, max_interval=200).delay_ms(2, 0.3) == 200_000
    assert Retry(max_interval=0.1, jitter=0).delay_ms(1, 0.3) == 100, "of a policy that leaves the first one open"
    assert Retry(jitter=0).delay_ms(9, 0.3) == 60_000
    with pytest.raises(UsageError, match=r"initial=120, max_interval=60.*larger max_interval"):
        Retry(initial=120, max_interval=60)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_jitter_stays_within_its_fraction(attempt: int, chance: float, jitter: float) -> None:
    plain = Retry(jitter=0).delay_ms(attempt, chance)
    assert abs(Retry(jitter=jitter).delay_ms(attempt, chance) - plain) <= plain * jitter + 1


def test_the_last_attempt_is_not_followed_by_another() -> None:
    retry = Retry(max_attempts=3)
    assert [retry.retries(ValueError(), attempt) for attempt in (1, 2, 3)] == [True, True, False]


def test_non_retryable_errors_and_their_subclasses_end_it() -> None:
    retry = Retry(non_retryable=(LookupError,))
    assert not retry.retries(KeyError(), 1)
    assert retry.retries(ValueError(), 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"jitter": 1.5}, "jitter=1.5"),
        ({"multiplier": 0.5}, "multiplier=0.5"),
        ({"initial": -1}, "initial"),
        ({"max_interval": float("nan")}, "max_interval"),
    ],
)
def test_senseless_policies_are_refused_by_name(options: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Retry(**options)  # type: ignore[arg-type]
