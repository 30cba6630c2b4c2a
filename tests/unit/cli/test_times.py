"""How times are shown in each style and zone."""

from __future__ import annotations

import pytest

from durablectl.cli.options.times import chosen
from durablectl.cli.render.formatting import ISO, RELATIVE, TimeFormat, TimeStyle, format_time, format_time_long, iso
from durablectl.cli.render.processors import processor_lines, processor_table
from durablectl.cli.render.schedules import schedule_lines, schedule_page, schedule_table, schedule_text
from durablectl.control import ScheduleView
from durablectl.errors import UsageError
from durablectl.model.schedules import Schedule
from helpers.views import NOW, PROCESSORS, S

UNIX = TimeFormat(TimeStyle.UNIX)
BERLIN = chosen(None, "Europe/Berlin", decorated=True)
AT = NOW - 125 * S + 678_999
SCHEDULE = ScheduleView(Schedule("beat", "report", created_at=NOW - 90 * S, every=300, last_fired_at=AT), NOW + 60 * S)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (RELATIVE, "2 min ago"),
        (ISO, "2026-11-22T21:57:55.678Z"),
        (BERLIN, "2026-11-22T22:57:55.678+01:00"),
        (UNIX, "1795384675.678"),
    ],
)
def test_a_moment(times, told):
    assert format_time(times, AT, NOW) == told
    assert format_time(times, 0, NOW) == ""


def test_a_moment_to_come():
    assert format_time(RELATIVE, NOW + 7200 * S, NOW) == "in 2 h"


def test_wide_output_adds_absolute_to_relative_time():
    assert format_time_long(RELATIVE, AT, NOW) == "2026-11-22T21:57:55.678Z  2 min ago"
    assert format_time_long(UNIX, AT, NOW) == "1795384675.678"
    assert format_time_long(RELATIVE, 0, NOW) == ""


def test_the_zone_of_this_machine_is_that_of_the_moment(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        local = chosen(None, "local", decorated=False)
        assert format_time(local, AT, NOW) == "2026-11-22T16:57:55.678-05:00"
        assert iso(AT - 120 * 86_400 * S, None) == "2026-07-25T17:57:55.678-04:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("style", "zone", "decorated", "expected"),
    [
        (None, None, True, RELATIVE),
        (None, None, False, ISO),
        (None, "UTC", True, ISO),
        ("relative", None, False, RELATIVE),
        ("relative", "Europe/Berlin", True, TimeFormat(TimeStyle.RELATIVE, BERLIN.zone)),
        ("unix", None, True, UNIX),
        ("iso", "local", True, TimeFormat(TimeStyle.ISO, None)),
    ],
)
def test_default_time_style_depends_on_terminal(style, zone, decorated, expected):
    assert chosen(style, zone, decorated=decorated) == expected


@pytest.mark.parametrize(
    ("style", "zone", "message", "hint"),
    [
        ("epoch", None, "There is no --time 'epoch'.", "Choose one of relative, iso, unix."),
        (None, "Europe/Berln", "There is no time zone 'Europe/Berln'.", "Did you mean Europe/Berlin? Write it like"),
        (None, "../etc/passwd", "There is no time zone '../etc/passwd'.", "Write it like Europe/Berlin, or local,"),
        (None, "Europe", "There is no time zone 'Europe'.", "Write it like"),
        (None, "", "There is no time zone ''.", "Write it like"),
        ("unix", "local", "--time unix has no time zone, but --tz was given too.", "Give only one of them."),
    ],
)
def test_mistakes_are_named(style, zone, message, hint):
    with pytest.raises(UsageError) as raised:
        chosen(style, zone, decorated=True)
    assert raised.value.message == message
    assert hint in raised.value.hint


def test_processors_and_schedules():
    assert processor_table(PROCESSORS, NOW, 120).plain.splitlines()[0].split()[2] == "AGE"
    shown = processor_table(PROCESSORS, NOW, 120, BERLIN).plain.splitlines()
    assert shown[0].split()[2] == "STARTED"
    assert shown[1].split()[2] == "2026-11-22T21:00:00.000+01:00"
    assert processor_lines(PROCESSORS, NOW, RELATIVE).splitlines()[1].split("\t")[5] == "2 h ago"
    assert "in 60s  2 min ago" not in schedule_table([SCHEDULE], NOW, 120).plain
    assert "1795384860.000  1795384675.678" in schedule_table([SCHEDULE], NOW, 120, UNIX).plain
    assert "\t1795384860.000\t1795384675.678\t" in schedule_lines([SCHEDULE], NOW, UNIX)
    assert "next start in 1 min 00 s, at 2026-11-22T23:01:00.000+01:00" in schedule_page(SCHEDULE, NOW, BERLIN).plain
    assert "Next\tin 1 min" in schedule_text(SCHEDULE, NOW, RELATIVE)
