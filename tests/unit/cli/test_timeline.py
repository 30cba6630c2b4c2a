"""The bars of `wf timeline`, at fixed width with a fixed clock."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from durablectl.cli.render.timeline import Phase, rows, timeline_json, timeline_lines, timeline_page
from durablectl.query import WaitingView
from helpers import views
from helpers.views import ALL, NOW, S, step

BEGIN = NOW - 100 * S


def at(number, kind, start, end, **changes):
    """Seconds from BEGIN; end 0 for a wait that is not over."""
    name = kind if kind in {"sleep", "race"} else f"{kind}{number}"
    times = {"started_at": BEGIN + int(start * S), "finished_at": BEGIN + int(end * S) if end else 0}
    return step(number, step_type=name, kind=kind, **{**times, **changes})


STEPS = [
    at(0, "step", 0, 10),
    at(1, "call", 10, 30, attempts=4),
    at(2, "sleep", 30, 60),
    at(3, "step", 60, 70, error="no", error_type="ValueError"),
]
DONE = views.workflow(
    "completed", started_at=BEGIN, created_at=BEGIN - S, finished_at=BEGIN + 80 * S, total_steps=4, journal=STEPS,
    journal_length=4,
)  # fmt: skip


def test_work_attempts_and_waits_at_80_columns():
    assert timeline_page(DONE, NOW, 80).plain.splitlines() == [
        "async_workflow  completed-0001",
        "  #  STEP   0            20s           40s           1m              TIME  TRIES",
        "✓ 0  step0  ███████                                                   10s",
        "✓ 1  call1        ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓                                     20s      4",
        "✓ 2  sleep                      ░░░░░░░░░░░░░░░░░░░░░                 30s",
        "✗ 3  step3                                           ███████          10s",
        "  █ work  ▓ several attempts  ░ waiting",
        "  0 is 2026-11-22T21:58:20.000Z, 1.0 s after it was created",
        "✓ completed in 1 min 20 s, 4 steps",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", [*ALL, "done"])
def test_timeline_fits_the_terminal(name, width):
    lines = timeline_page({**ALL, "done": DONE}[name], NOW, width).plain.splitlines()
    assert all(len(line) <= width for line in lines)


def test_parallel_steps_are_below_each_other():
    view = replace(DONE, journal=[at(0, "step", 0, 40), at(1, "step", 0, 80), at(2, "race", 0, 40)], journal_length=3)
    first, second, third = (line[11:-6] for line in timeline_page(view, NOW, 80).plain.splitlines()[2:5])
    assert first.count("█") * 2 == pytest.approx(second.count("█"), abs=1)
    assert third.strip() == "░" * first.count("█")


def test_a_running_step_grows_to_now():
    view = replace(views.RUNNING, updated_at=NOW - 5 * S)
    early, later = (rows(view, now)[-1] for now in (NOW, NOW + 60 * S))
    assert (early.state, early.end) == ("running", 0)
    assert (early.lasted, later.lasted) == (5 * S, 65 * S)
    line = timeline_page(view, NOW + 60 * S, 80).plain.splitlines()[4]
    assert line.startswith("▶ 2  HelloService.SayHello")
    assert line.endswith("█  1m05s")


def test_a_retried_step_shows_its_pause_apart():
    waits = WaitingView("retry", "charge", 1, NOW + 10 * S, 3, "no money")
    view = replace(
        views.RUNNING, current_step=1, current_step_type="charge", started_at=BEGIN, updated_at=BEGIN + 90 * S,
        waiting_for=waits, journal=[at(0, "step", 0, 10)], journal_length=1,
    )  # fmt: skip
    spans = [(span.phase, (span.start - BEGIN) // S, (span.end - BEGIN) // S) for span in rows(view, NOW)[1].spans]
    assert spans == [(Phase.RETRIED, 10, 90), (Phase.BACKOFF, 90, 100)]
    page = timeline_page(view, NOW, 80).plain
    assert "▓▓▓▓▓▒▒▒▒▒" in page
    assert "▒ pause before the next" in page
    assert page.endswith("retrying: no money (charge, attempt 3 failed, next in 10 s)")


def test_an_open_wait_grows_until_its_workflow_has_ended():
    waits = at(0, "awakeable", 0, 0)
    view = replace(views.ASKING, current_step=0, started_at=BEGIN, journal=[waits], journal_length=1)
    assert [(row.state, row.lasted) for row in rows(view, NOW)] == [("waiting", 100 * S)]
    over = replace(view, status="failed", finished_at=BEGIN + 30 * S, waiting_for=None)
    assert [(row.state, row.lasted) for row in rows(over, NOW)] == [("abandoned", 30 * S)]


def test_a_part_of_a_journal_has_its_own_range():
    view = replace(DONE, journal=STEPS[2:], journal_start=2)
    lines = timeline_page(view, NOW, 80).plain.splitlines()
    assert lines[1] == "  steps 2 to 3 of 4, see --steps"
    assert lines[2].split() == ["#", "STEP", "30s", "40s", "50s", "1m", "TIME"]


def test_record_without_times_prints_a_note():
    assert "no times are recorded" in timeline_page(views.FOREIGN, NOW, 80).plain
    assert timeline_lines(views.FOREIGN, NOW).splitlines()[1] == "0\tHelloService.SayHello\t\t\t\t"


def test_piped_timeline_is_tab_separated():
    assert timeline_lines(DONE, NOW).splitlines()[:2] == [
        "STEP\tSTEP_TYPE\tKIND\tSTARTED\tFINISHED\tMILLISECONDS",
        "0\tstep0\tstep\t2026-11-22T21:58:20.000Z\t2026-11-22T21:58:30.000Z\t10000.000",
    ]


def test_in_json_every_row_has_its_phases():
    answer = timeline_json(DONE, NOW)
    assert json.loads(json.dumps(answer)) == answer
    assert answer["rows"][1] == {
        "step_number": 1,
        "step_type": "call1",
        "kind": "call",
        "state": "done",
        "start": "2026-11-22T21:58:30.000Z",
        "end": "2026-11-22T21:58:50.000Z",
        "milliseconds": 20_000.0,
        "attempts": 4,
        "error": None,
        "phases": [{"phase": "retried", "start": "2026-11-22T21:58:30.000Z", "end": "2026-11-22T21:58:50.000Z"}],
    }


@pytest.mark.parametrize(
    ("lasts", "labels"),
    [
        (0.004, ["0", "1ms", "2ms", "3ms"]),
        (90, ["0", "20s", "40s", "1m", "1m20s"]),
        (86400 * 3, ["0", "12h", "1d", "1d12h", "2d", "2d12h"]),
    ],
)
def test_the_axis_has_round_times(lasts, labels):
    view = replace(DONE, finished_at=BEGIN + int(lasts * S), journal=[at(0, "step", 0, lasts)], journal_length=1)
    header = timeline_page(view, NOW, 80).plain.splitlines()[1].split()
    assert [label for label in header if label not in {"#", "STEP", "TIME"}] == labels
