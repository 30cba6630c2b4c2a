"""The retry policy: what a delay may be, and which policies are refused."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durablectl import Retry
from durablectl.model.retry_policy import STEP_RETRY, TRANSPORT_RETRY, seconds

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
def test_a_delay_lies_within_the_jitter_around_a_wait_that_the_cap_limits(policy, attempt, seed):
    delay = policy.delay(attempt, Random(seed))
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        assert delay is None
        return
    assert 0 <= delay <= seconds(policy.cap) * (1 + policy.jitter) * (1 + 1e-9)
    if policy.jitter == 0 and attempt == 1:
        assert delay == min(seconds(policy.initial), seconds(policy.cap))


def test_delays_double_up_to_the_cap():
    policy = Retry(initial=0.2, factor=2, cap=1, max_attempts=None, jitter=0)
    assert [policy.delay(attempt, Random(0)) for attempt in range(1, 6)] == [0.2, 0.4, 0.8, 1, 1]


def test_jitter_spreads_to_both_sides():
    policy = Retry(initial=10, cap=10, max_attempts=None, jitter=0.1)
    delays = [policy.delay(1, Random(seed)) for seed in range(200)]
    assert 9 <= min(delays) < 9.5
    assert 10.5 < max(delays) <= 11


def test_timedeltas_are_seconds():
    policy = Retry(initial=timedelta(milliseconds=250), cap=timedelta(minutes=1), jitter=0)
    assert policy.delay(1, Random(0)) == 0.25


def test_the_defaults_are_those_of_the_contract():
    assert [STEP_RETRY.delay(attempt, Random(0)) is None for attempt in (1, 2, 3)] == [False, False, True]
    assert TRANSPORT_RETRY.max_attempts is None
    assert seconds(TRANSPORT_RETRY.cap) == 30
    assert TRANSPORT_RETRY.delay(1_000_000, Random(0)) <= 33


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
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)
