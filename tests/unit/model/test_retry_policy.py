"""The retry policy: what a delay may be, and which policies are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durablectl import OutOfRangeError, Retry
from durablectl.limits import LONGEST_SECONDS, checked_seconds
from durablectl.model.retry_policy import STEP_RETRY, TRANSPORT_RETRY

policies = st.builds(
    Retry,
    initial=st.floats(0, 1e6),
    factor=st.floats(1, 1e6),
    cap=st.floats(0, 1e6),
    max_attempts=st.none() | st.integers(1, 100),
    jitter=st.floats(0, 1),
)


@given(policies, st.integers(1, 10_000), st.integers())
@example(Retry(factor=1e6, cap=30, max_attempts=None), 9999, 0)
@example(Retry(initial=5e-324, factor=1e6, cap=30, max_attempts=None), 10_000, 0)
@example(Retry(initial=0, factor=1e6, cap=30, max_attempts=None), 10_000, 0)
def test_a_delay_is_never_longer_than_the_cap(policy, attempt, seed):
    delay = policy.delay(attempt, Random(seed))
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        assert delay is None
        return
    assert 0 <= delay <= policy.cap
    if policy.jitter == 0 and attempt == 1:
        assert delay == min(policy.initial, policy.cap)


@given(policies, st.integers(1, 10_000))
def test_delays_without_jitter_never_shrink(policy, attempt):
    steady = replace(policy, jitter=0, max_attempts=None)
    assert steady.delay(attempt, Random(0)) <= steady.delay(attempt + 1, Random(0))


@given(st.floats(1.001, 1e6), st.floats(1e-6, 1e6), st.floats(0, LONGEST_SECONDS))
@example(1.02, 0.2, 30)
@example(1.001, 1e-6, LONGEST_SECONDS)
def test_delays_grow_to_the_cap_whatever_the_factor(factor, initial, cap):
    policy = Retry(initial=initial, factor=factor, cap=cap, max_attempts=None, jitter=0)
    assert policy.delay(100_000, Random(0)) == cap


def test_small_factor_still_grows_at_the_64th_attempt():
    policy = Retry(initial=0.2, factor=1.02, cap=30, max_attempts=None, jitter=0)
    assert [policy.delay(n, Random(0)) for n in (64, 65, 66)] == pytest.approx([0.2 * 1.02**n for n in (63, 64, 65)])
    assert policy.delay(300, Random(0)) == 30


def test_delays_double_up_to_the_cap():
    policy = Retry(initial=0.2, factor=2, cap=1, max_attempts=None, jitter=0)
    assert [policy.delay(attempt, Random(0)) for attempt in range(1, 6)] == [0.2, 0.4, 0.8, 1, 1]


def test_jitter_spreads_to_both_sides():
    policy = Retry(initial=10, cap=10, max_attempts=None, jitter=0.1)
    delays = [policy.delay(1, Random(seed)) for seed in range(200)]
    assert 9 <= min(delays) < 9.5
    assert max(delays) <= 10
    policy = Retry(initial=10, cap=30, max_attempts=None, jitter=0.1)
    delays = [policy.delay(1, Random(seed)) for seed in range(200)]
    assert 9 <= min(delays) < 9.5
    assert 10.5 < max(delays) <= 11


def test_timedeltas_are_seconds():
    policy = Retry(initial=timedelta(milliseconds=250), cap=timedelta(minutes=1), jitter=0)
    assert policy.delay(1, Random(0)) == 0.25


def test_the_defaults_are_those_of_the_contract():
    assert [STEP_RETRY.delay(attempt, Random(0)) is None for attempt in (1, 2, 3)] == [False, False, True]
    assert TRANSPORT_RETRY.max_attempts is None
    assert checked_seconds(TRANSPORT_RETRY.cap, "cap") == 30
    assert TRANSPORT_RETRY.delay(1_000_000, Random(0)) <= 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"initial": -0.1},
        {"cap": timedelta(seconds=-1)},
        {"factor": 0.5},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"jitter": float("nan")},
        {"jitter": None},
        {"jitter": True},
        {"factor": float("inf")},
        {"factor": float("nan")},
        {"factor": "2"},
        {"factor": 10**400},
        {"initial": timedelta.max},
        {"initial": float("nan")},
        {"initial": True},
        {"initial": None},
        {"initial": "1"},
        {"cap": float("inf")},
        {"cap": timedelta.max},
        {"cap": 10**5000},
        {"max_attempts": True},
        {"max_attempts": 2.0},
        {"max_attempts": "3"},
        {"max_attempts": float("nan")},
        {"max_attempts": 10**12},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=f"The {next(iter(wrong))} of Retry cannot be ") as caught:
        Retry(**wrong)
    assert isinstance(caught.value, OutOfRangeError)
