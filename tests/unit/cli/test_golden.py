"""What the renderers draw for every state, at fixed width and with a fixed clock, compared with tests/golden.

After a change that is meant: GOLDEN=write pytest tests/unit/cli/test_golden.py, then read the difference.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.text import Text

from durablectl import query
from durablectl.cli.options.times import chosen
from durablectl.cli.render.demo import workflow_board
from durablectl.cli.render.diff import diff_page
from durablectl.cli.render.formatting import ISO, RELATIVE
from durablectl.cli.render.journal import journal_lines
from durablectl.cli.render.list import COLUMNS, ListStyle, workflow_lines, workflow_table
from durablectl.cli.render.processors import processor_lines, processor_table, processors_page
from durablectl.cli.render.stats import stats_lines, stats_table
from durablectl.cli.render.status import status_lines, status_page
from durablectl.cli.render.tail import TailLines
from durablectl.cli.render.timeline import timeline_page
from durablectl.cli.render.watch import watch_end, watch_frame
from durablectl.cli.render.why import why_page
from durablectl.cli.render.workflow import workflow_page, workflow_text
from durablectl.cli.terminal.output import show
from durablectl.query import LiveContext, StateChange, StatsView
from durablectl.query.why import explain_view
from helpers import views
from helpers.paths import GOLDEN
from helpers.trouble import FINE, TROUBLED
from helpers.views import (
    ALL,
    BLOCKED_PROCESSORS,
    CHILDREN,
    LOST_PROCESSORS,
    NOW,
    PROCESSORS,
    TROUBLED_PROCESSORS,
    USUAL,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTHS = (80, 120, 200)
STATES = {**ALL, "parent": views.PARENT}
COLOUR_WIDTH = 120
LOOK = ListStyle(RELATIVE, usual=USUAL)
STATS = StatsView(
    1234,
    {"completed": 1197, "running": 30, "failed": 4, "suspended": 3},
    {"async_workflow": 1000, "checkout": 234},
    {
        "async_workflow": {"completed": 967, "running": 30, "suspended": 3},
        "checkout": {"completed": 230, "failed": 4},
    },
    views.SLEEPING,
    20.4,
    17.5,
    2,
)
LONG_NAMES = [
    replace(view, handler=handler, invocation_id=f"{number:05}-9f2c1-77ab0-d41e2")
    for number, (view, handler) in enumerate(
        [
            (views.RUNNING, "customer_onboarding_with_identity_verification_v2"),
            (views.FAILED, "customer_onboarding_with_identity_verification_v1"),
            (views.RETRYING, "ship"),
        ]
    )
]


def page(view: views.WorkflowView, width: int, **changes: Any) -> Text:
    children = CHILDREN if view is views.PARENT else []
    return workflow_page(view, NOW, width, children=children, usual=USUAL.get(view.handler, 0), **changes)


def text(view: views.WorkflowView, **changes: Any) -> str:
    return workflow_text(view, NOW, children=CHILDREN if view is views.PARENT else [], **changes)


def joined(render: Callable[[views.WorkflowView], Text]) -> Text:
    return Text("\n").join(
        Text(f"===== {name}\n").append_text(render(view)).append("\n") for name, view in STATES.items()
    )


def tail(width: int) -> Text:
    lines = TailLines(UTC)
    return Text("\n").join(lines.line(StateChange(view, view.updated_at), NOW, width) for view in STATES.values())


def compare(name: str, drawn: object) -> None:
    """Text of a terminal has no trailing spaces to lose; that of a pipe may end in a tab."""
    path = GOLDEN / f"{name}.txt"
    text = f"{drawn}\n"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def printed(drawn: Text, width: int, *, colour: bool) -> str:
    file = io.StringIO()
    system: Any = {"force_terminal": True, "color_system": "standard"} if colour else {"no_color": True}
    show(Console(file=file, width=width, **system), drawn)
    return file.getvalue()


SCREENS: dict[str, Callable[[int], Text]] = {
    "page": lambda width: joined(lambda view: page(view, width)),
    "watch": lambda width: joined(lambda view: watch_frame(view, NOW, width, 24, None)),
    "watch-end": lambda width: joined(lambda view: watch_end(view, NOW, width)),
    "list": lambda width: workflow_table([*STATES.values()], NOW, width, LOOK),
    "list-names": lambda width: workflow_table(LONG_NAMES, NOW, width, LOOK),
    "board": lambda width: workflow_board([*STATES.values()], NOW, width),
    "processors": lambda width: processor_table(PROCESSORS, NOW, width),
    "processors-blocked": lambda width: processor_table(BLOCKED_PROCESSORS, NOW, width),
    "processors-lost": lambda width: processors_page(TROUBLED_PROCESSORS, LOST_PROCESSORS, NOW, width, RELATIVE),
    "stats": lambda width: stats_table(STATS, NOW, width),
    "status": lambda width: status_page(TROUBLED, width),
    "status-fine": lambda width: status_page(FINE, width),
    "why": lambda width: joined(lambda view: why_page(explain_view(view, LiveContext(PROCESSORS), NOW), NOW, width)),
    "timeline": lambda width: joined(lambda view: timeline_page(view, NOW, width)),
    "diff": lambda width: joined(lambda view: diff_page(query.compare(views.COMPLETED, view), NOW, width)),
    "tail": tail,
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_on_a_terminal(name, width):
    drawn = SCREENS[name](width)
    compare(f"{name}.{width}", drawn)
    prose = {"page"}  # holds an output, a traceback, ids: the terminal wraps them
    too_wide = [line for line in str(drawn).splitlines() if len(line) > width]
    assert name in prose or not too_wide


@pytest.mark.parametrize("width", [*WIDTHS, 20])
@pytest.mark.parametrize("name", ["list", "board", "page", "watch", "watch-end"])
def test_every_id_is_whole(name, width):
    drawn = str(SCREENS[name](width))
    assert [view.invocation_id for view in STATES.values() if view.invocation_id not in drawn] == []


@pytest.mark.parametrize("name", SCREENS)
def test_in_colour(name):
    compare(f"{name}.colour", printed(SCREENS[name](COLOUR_WIDTH), COLOUR_WIDTH, colour=True))


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("page", lambda: "\n".join(f"===== {name}\n{text(view)}\n" for name, view in STATES.items())),
        ("page-unix", lambda: text(views.PARENT, times=chosen("unix", None, decorated=False))),
        ("list", lambda: workflow_lines([*STATES.values()], NOW)),
        ("list-wide", lambda: workflow_lines([*STATES.values()], NOW, ListStyle(ISO, wide=True))),
        ("list-columns", lambda: workflow_lines([*STATES.values()], NOW, ListStyle(ISO, [*COLUMNS], usual=USUAL))),
        ("processors", lambda: processor_lines(PROCESSORS)),
        ("processors-lost", lambda: processor_lines(TROUBLED_PROCESSORS, NOW, ISO, LOST_PROCESSORS)),
        ("stats", lambda: stats_lines(STATS, NOW)),
        ("status", lambda: status_lines(TROUBLED, ["--namespace", "shop"])),
        ("journal", lambda: journal_lines(views.FAILED)),
    ],
)
def test_in_a_pipe(name, drawn):
    compare(f"{name}.pipe", drawn())
    assert "\x1b" not in drawn()


def test_full_output_matches_golden_files():
    compare(
        "list-wide.terminal", workflow_table([*STATES.values()], NOW, 80, ListStyle(RELATIVE, wide=True, usual=USUAL))
    )
    compare("page-wide.terminal", page(views.FAILED, 80, full=True))


def test_other_times():
    berlin = chosen(None, "Europe/Berlin", decorated=True)
    compare("list-berlin.terminal", workflow_table([*STATES.values()], NOW, 120, ListStyle(berlin)))
    compare("page-berlin.terminal", page(views.PARENT, 120, times=berlin))


def test_chosen_columns():
    names = ["status", "id", "step", "updated", "finished", "output"]
    compare("list-columns.terminal", workflow_table([*STATES.values()], NOW, 120, ListStyle(RELATIVE, names)))


@pytest.mark.parametrize("name", SCREENS)
def test_colour_adds_nothing_but_colour(name):
    drawn = SCREENS[name](100)
    coloured, bare = (printed(drawn, 100, colour=colour) for colour in (True, False))
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == bare == f"{drawn}\n"
