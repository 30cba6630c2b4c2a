"""The lines of `wf tail`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from durablectl.cli.render.tail import TailLines, tail_line
from durablectl.model.records import FailedStep
from durablectl.query import StateChange
from helpers import views
from helpers.views import NOW


def shown(view, width: int = 100, lines: TailLines | None = None, now: int = NOW, *, wide: bool = False) -> str:
    return (lines or TailLines(UTC)).line(StateChange(view, view.updated_at), now, width, wide=wide).plain


def test_line_shows_status_step_and_error():
    assert shown(views.RUNNING) == (
        "21:59:58.000  ▶ running    running-0001             async_workflow  2 HelloService.SayHello"
    )
    assert shown(views.RETRYING, 140).endswith("  2 HelloService.SayHello  attempt 7 failed: no service answers")
    assert (
        shown(views.FAILED) == "21:59:58.000  ✗ failed     failed-0001              checkout  ValueError: no money\\x07"
    )
    assert shown(replace(views.RUNNING, updated_at=NOW - 86_400_000_000)).startswith("2026-11-21 22:00:00.000  ▶ ")
    begin = "Step 2 'charge' failed after 3 attempts: "
    failed = FailedStep(2, "charge", len(begin))
    in_step = replace(views.FAILED, error=f"{begin}no money", error_type="StepError", failed_step=failed)
    assert shown(in_step, 80) == "21:59:58  ✗ failed     failed-0001              checkout  2 charge  no money"


def test_lines_stay_below_each_other():
    picture = TailLines(UTC)
    long = replace(views.RUNNING, invocation_id="a-very-long-id-of-somebody-else")
    first, second, third = (shown(view, lines=picture) for view in (views.RUNNING, long, views.RUNNING))
    assert first.index("async_workflow") < second.index("async_workflow") == third.index("async_workflow")


@pytest.mark.parametrize("width", [10, 30, 40, 60, 80, 120])
def test_the_id_is_never_cut(width):
    line = shown(replace(views.RETRYING, invocation_id="abcde-fghij-klmno-pqrst"), width)
    assert "abcde-fghij-klmno-pqrst" in line
    assert len(line) <= max(width, 2 + 23)


def test_tail_lines_contain_no_terminal_controls():
    nasty = replace(views.FAILED, error="\x1b[2J\nboom\t", error_type="", invocation_id="a\x1b")
    assert "\x1b" not in shown(nasty, 300)
    assert "\\x1b[2J\\nboom\\t" in shown(nasty, 300)
    assert "\x1b" not in tail_line(StateChange(nasty, NOW))
    assert tail_line(StateChange(nasty, NOW)).count("\t") == 7


def test_wide_has_everything():
    assert f"  {views.RUNNING.revision}  " in shown(views.RUNNING, 20, wide=True)
    assert views.RUNNING.owner in shown(views.RUNNING, 20, wide=True)
    assert tail_line(StateChange(views.RUNNING, NOW), wide=True).endswith(f"\t{views.RUNNING.owner}\t")
