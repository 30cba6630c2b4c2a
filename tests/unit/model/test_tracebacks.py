"""Tracebacks as authors read them."""

from __future__ import annotations

from durablectl.model import values
from durablectl.model.tracebacks import author_traceback


def raised(action) -> BaseException:
    try:
        action()
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError


def test_traceback_has_no_markers_below_its_lines():
    error = raised(lambda: {"a": {}}["a"]["b"] + 1)
    told = author_traceback(error)
    assert not {"^", "~"} & {*told}
    assert "in raised\n    action()\n" in told
    assert told.endswith("KeyError: 'b'\n")


def test_engine_frames_stay_where_the_engine_raised():
    error = raised(lambda: values.encode_value(object(), "x"))
    assert "model/values.py" in author_traceback(error)
    assert "model/values.py" not in author_traceback(error, only_app=True)


def test_causes_and_groups_are_shown_without_markers_too():
    def fail_twice() -> None:
        raise ExceptionGroup("two", [ValueError("one"), raised(lambda: [][1 + 1])])

    def fail() -> None:
        try:
            fail_twice()
        except ExceptionGroup as group:
            raise RuntimeError("after") from group

    told = author_traceback(raised(fail))
    assert "^" not in told
    assert "ValueError: one" in told
    assert "IndexError" in told
    assert told.endswith("RuntimeError: after\n")
