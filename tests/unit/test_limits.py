"""What a duration, number or size may be, and how the rest is refused."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import durablectl
from durablectl import errors
from durablectl.engine.replay.handler_loop import HandlerLoop
from durablectl.engine.worker.processor import ProcessorOptions
from durablectl.errors import OutOfRangeError, UsageError
from durablectl.limits import (
    LONGEST_SECONDS,
    checked_count,
    checked_microseconds,
    checked_number,
    checked_seconds,
)

ANYTHING = (
    st.floats()
    | st.integers()
    | st.timedeltas()
    | st.decimals()
    | st.fractions()
    | st.booleans()
    | st.text()
    | st.none()
    | st.binary()
    | st.complex_numbers()
    | st.lists(st.integers())
)


@given(ANYTHING)
@example(10**400)
@example(-(10**5000))
@example(timedelta.max)
@example(timedelta.min)
@example(math.nan)
@example(-0.0)
@example(Decimal("sNaN"))
@example(b"12")
def test_duration_is_in_range_or_refused_with_its_name(value):
    seconds, refusal = outcome(checked_seconds, value, "The nap")
    microseconds, _ = outcome(checked_microseconds, value, "The nap")
    if refusal:
        assert refusal.startswith("The nap cannot be ")
        assert refusal.endswith(": use 0 seconds to 100 years, as a number of seconds or a timedelta.")
        assert len(refusal) < 200
        assert (
            not is_number(value)
            or not 0 <= (value.total_seconds() if isinstance(value, timedelta) else value) <= LONGEST_SECONDS
        )
    else:
        assert is_number(value)
        assert 0 <= seconds <= LONGEST_SECONDS
        assert math.copysign(1, seconds) == 1
        assert type(microseconds) is int
        assert abs(microseconds - seconds * 1e6) <= 1


def outcome(check, *args):
    """The checked value and no refusal, or none and the refusal."""
    try:
        return check(*args), ""
    except OutOfRangeError as error:
        return None, error.message


def is_number(value) -> bool:
    """Whether it is a number that can be compared, or a timedelta."""
    if isinstance(value, Decimal):
        return not value.is_nan()
    is_nan = isinstance(value, float) and math.isnan(value)
    return isinstance(value, (int, float, timedelta, Fraction)) and not isinstance(value, bool) and not is_nan


@given(st.timedeltas(timedelta(0), timedelta(seconds=LONGEST_SECONDS)))
def test_timedelta_keeps_every_microsecond(value):
    assert checked_microseconds(value, "The nap") == value // timedelta(microseconds=1)


@pytest.mark.parametrize("value", [0, 0.0, timedelta(0), -1, math.nan])
def test_zero_is_refused_where_it_makes_no_sense(value):
    with pytest.raises(OutOfRangeError, match="use more than 0 seconds, up to 100 years"):
        checked_seconds(value, "The interval", zero=False)


@given(ANYTHING)
def test_count_is_a_whole_number_in_range(value):
    count, refusal = outcome(checked_count, value, "The count", 1, 1000)
    assert (count is None) == (type(value) is not int or not 1 <= value <= 1000)
    assert count is not None or refusal.endswith(": use a whole number from 1 to 1,000.")


@given(ANYTHING)
def test_number_is_in_range(value):
    number, refusal = outcome(checked_number, value, "The factor", 1, 1000)
    assert refusal.endswith(": use a number from 1 to 1,000.") if number is None else 1 <= number <= 1000


def test_value_that_cannot_be_printed_is_refused_all_the_same():
    class Hostile:
        def __repr__(self):
            raise RuntimeError

    for value in (Hostile(), 10**5000):
        with pytest.raises(OutOfRangeError, match=f"cannot be this {type(value).__name__}: "):
            checked_seconds(value, "The nap")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("max_concurrent", [0, -1, 1.5, True, None, "9", math.nan, 10**9]),
        ("ack_wait", [0, -1, math.nan, math.inf, 1e300, None, "300", True]),
        ("grace", [-1, math.nan, math.inf, timedelta.max, None]),
        ("retention", [-1, math.nan, math.inf, 1e12]),
        ("replicas", [0, 6, 1.0, True]),
    ],
)
def test_processor_refuses_options_out_of_range(field, values):
    for value in values:
        with pytest.raises(OutOfRangeError, match=f"The {field} of a processor cannot be "):
            ProcessorOptions(**{field: value})


def test_processor_takes_timedeltas():
    options = ProcessorOptions(ack_wait=timedelta(minutes=1), grace=timedelta(0), retention=timedelta(days=1))
    assert (options.ack_wait, options.grace, options.retention) == (60, 0, 86_400)


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, timedelta.max, "1", True])
def test_workflow_refuses_a_timeout_out_of_range_when_it_is_defined(timeout):
    with pytest.raises(OutOfRangeError, match="The timeout of workflow 'handler' cannot be "):

        @durablectl.workflow(timeout=timeout)
        async def handler(ctx):
            pass


def loop_with_timers():
    timers = []
    return HandlerLoop(timers.append, timers.remove, print), timers


@pytest.mark.parametrize("delay", [math.inf, math.nan, 1e300, 10**400, LONGEST_SECONDS + 1])
def test_handler_loop_refuses_a_timer_out_of_range(delay):
    loop, timers = loop_with_timers()
    for set_timer in (loop.call_later, loop.call_at):
        with pytest.raises(OutOfRangeError, match="The time of an asyncio timer in a handler cannot be "):
            set_timer(delay, print)
    assert not timers
    assert loop.is_idle


@pytest.mark.parametrize("delay", [0, -1, -math.inf, -(10**400)])
def test_handler_loop_runs_at_once_what_has_passed(delay):
    loop, timers = loop_with_timers()
    loop.call_later(delay, print)
    loop.call_at(delay, print)
    assert not timers
    assert not loop.is_idle


def test_every_error_is_exported():
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.DurableError):
            assert getattr(durablectl, name) is value
            assert name in durablectl.__all__
    assert issubclass(durablectl.OutOfRangeError, UsageError)
    assert issubclass(durablectl.OutOfRangeError, ValueError)
    assert issubclass(durablectl.StepTimeoutError, TimeoutError)
