"""What the renderers draw for every state, at fixed width and with a fixed clock, compared with tests/golden.

After a change that is meant: GOLDEN=write pytest tests/test_cli_golden.py, then read the difference.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

import views
from durablectl.cli.output import show
from durablectl.cli.render.board import board
from durablectl.cli.render.journal import journal_lines
from durablectl.cli.render.listing import processor_lines, processor_table, workflow_lines, workflow_table
from durablectl.cli.render.stats import stats_lines, stats_table
from durablectl.cli.render.workflow import watch_end, watch_frame, workflow_page, workflow_text
from durablectl.query import StatsView
from views import ALL, NOW, PROCESSORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (80, 120)
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
    2,
)


def sections(render: Callable[[views.WorkflowView], object]) -> str:
    return "\n".join(f"===== {name}\n{render(view)}\n" for name, view in ALL.items())


def compare(name: str, drawn: object) -> None:
    """Text of a terminal has no trailing spaces to lose; that of a pipe may end in a tab."""
    path = GOLDEN / f"{name}.txt"
    text = f"{drawn}\n"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


SCREENS: dict[str, Callable[[int], object]] = {
    "page": lambda width: sections(lambda view: workflow_page(view, NOW, width)),
    "watch": lambda width: sections(lambda view: watch_frame(view, NOW, width, 24, None)),
    "watch-end": lambda width: sections(lambda view: watch_end(view, NOW, width)),
    "list": lambda width: workflow_table([*ALL.values()], NOW, width),
    "board": lambda width: board([*ALL.values()], NOW, width),
    "processors": lambda width: processor_table(PROCESSORS, NOW, width),
    "stats": lambda width: stats_table(STATS, NOW, width),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_on_a_terminal(name, width):
    drawn = SCREENS[name](width)
    compare(f"{name}.{width}", drawn)
    prose = {"page"}  # holds an output, a traceback, and ids, which the terminal wraps
    too_wide = [line for line in str(drawn).splitlines() if len(line) > width]
    assert name in prose or not too_wide


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("page", lambda: sections(lambda view: workflow_text(view, NOW))),
        ("list", lambda: workflow_lines([*ALL.values()])),
        ("list-wide", lambda: workflow_lines([*ALL.values()], wide=True)),
        ("processors", lambda: processor_lines(PROCESSORS)),
        ("stats", lambda: stats_lines(STATS, NOW)),
        ("journal", lambda: journal_lines(views.FAILED)),
    ],
)
def test_in_a_pipe(name, drawn):
    compare(f"{name}.pipe", drawn())
    assert "\x1b" not in drawn()


def test_the_whole_of_it():
    compare("list-wide.terminal", workflow_table([*ALL.values()], NOW, 80, wide=True))
    compare("page-wide.terminal", workflow_page(views.FAILED, NOW, 80, full=True))


@pytest.mark.parametrize("name", SCREENS)
def test_colour_adds_nothing_but_colour(name):
    drawn: Text = SCREENS[name](100)  # type: ignore[assignment]
    if isinstance(drawn, str):
        drawn = workflow_page(views.FAILED, NOW, 100)
    coloured, bare = io.StringIO(), io.StringIO()
    show(Console(file=coloured, width=100, force_terminal=True, color_system="standard"), drawn)
    show(Console(file=bare, width=100, no_color=True, color_system=None), drawn)
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b" not in bare.getvalue()
    shown = Console(file=io.StringIO(), width=1000, record=True)
    shown.print(drawn, soft_wrap=True)
    assert bare.getvalue() == shown.export_text()
