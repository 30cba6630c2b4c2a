"""The tree that `wf watch ID` draws, at fixed sizes."""

from __future__ import annotations

from dataclasses import replace

from durablectl.cli.render.watch import board_frame, cropped, watch_end, watch_frame
from durablectl.query import Board
from helpers import views
from helpers.views import NOW

CHILDREN = {child.invocation_id: child for child in views.CHILDREN}


def test_child_is_drawn_below_its_step_with_its_known_steps():
    children = {**CHILDREN, "gone-0a1b2-c3d4e-f5a6b": None}
    lines = watch_end(views.PARENT, NOW, 120, children).plain.splitlines()
    assert [line.split()[1] for line in lines if "└" in line] == ["✓", "✗", "?", "↻"]
    ship = "ship-0a1b2-c3d4e-f5a6b"
    expanded = {**children, ship: replace(views.RETRYING, invocation_id=ship)}
    assert len(watch_end(views.PARENT, NOW, 120, expanded).plain.splitlines()) == len(lines)
    more = watch_end(views.PARENT, NOW, 120, expanded, expanded=True).plain.splitlines()
    assert len(more) == len(lines) + 4  # two steps, the one under way, its error
    assert "no service answers" in more[-2]


def test_a_child_that_has_not_been_heard_of_has_no_line():
    assert "└" not in watch_frame(views.PARENT, NOW, 80, 24, None).plain


def test_tree_taller_than_the_screen_keeps_its_bottom():
    steps = [views.step(number) for number in range(100)]
    view = replace(views.RUNNING, journal=steps, journal_length=100, current_step=100, total_steps=101)
    for height in (1, 2, 5, 8, 24):
        lines = watch_frame(view, NOW, 80, height, None).plain.splitlines()
        assert len(lines) <= height
        assert "100 steps done" in lines[-1]
    assert len(lines) == 24
    assert lines[1] == "  81 earlier steps not shown"
    assert cropped(watch_end(view, NOW, 80), 3).plain.splitlines()[0] == "async_workflow  running-0001"


def test_a_board_fits_the_screen():
    board = Board([*views.ALL.values()], {"completed": 1200, "running": 30, "failed": 4, "odd": 1})
    for width, height in ((80, 8), (30, 8), (80, 3), (200, 60)):
        lines = board_frame(board, NOW, width, height).plain.splitlines()
        assert len(lines) <= height
        assert lines[0].startswith("1,235 workflows")
    assert lines[0] == "1,235 workflows   ✓ 1,200 completed   ▶ 30 running   ✗ 4 failed   ? 1 odd"
    assert board_frame(Board([], {}), NOW, 80, 24).plain == "No workflows."
