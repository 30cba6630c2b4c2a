"""Columns without borders: two-space gutters, sized to content, fitted to the terminal by shortening and dropping."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

UNLIMITED = 1_000_000
"""Columns of a table that is neither wrapped nor cut."""

ESSENTIAL = 4
"""Columns with this ``drop`` or a lower one are worth more than long names."""
_NAME, _SHORT_NAME = 16, 10
_GUTTER = 2


@dataclass(frozen=True)
class Column:
    """Cells below a title; a column of symbols has no title.

    ``drop`` 0 is never left out, else the column with the highest number goes first. ``least`` is how narrow it may be
    cut before that, 0 for never. A name is cut ``in_middle``, since names differ at their ends, and down to ``floor``
    before one of the columns goes that say how a workflow is (ESSENTIAL).
    """

    title: str
    cells: Sequence[Text]
    drop: int = 0
    least: int = 0
    right: bool = False
    in_middle: bool = False
    floor: int = 0

    @property
    def width(self) -> int:
        return max(len(self.title), *(cell.cell_len for cell in self.cells), 0)


def table(columns: Sequence[Column], width: int, *, header: bool = True) -> Text:
    """Lines at most ``width`` wide, unless columns that may be neither cut nor dropped need more."""
    fitted = fit(columns, width)
    titles = [[Text(column.title, style="bold") for column, _ in fitted]] if header else []
    rows = [*titles, *([column.cells[index] for column, _ in fitted] for index in range(len(columns[0].cells)))]
    return Text("\n").join(_line(row, fitted) for row in rows)


def separated(columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Titles and cells with a tab between columns, for a pipe; a plain string, as rich would expand the tabs."""
    rows = [[title for title, _ in columns], *zip(*(cells for _, cells in columns), strict=True)]
    return "\n".join("\t".join(row) for row in rows)


def fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that are shown, with their widths."""
    shown = list(columns)
    while True:
        widths = [column.width for column in shown]
        excess = sum(widths) + sum(_gutter(column) for column in shown[:-1]) - width
        excess = _cut(shown, widths, excess, [column.least for column in shown])
        droppable = [column for column in shown if column.drop]
        first = max(droppable, key=lambda column: column.drop, default=None)
        if first is None or first.drop <= ESSENTIAL:
            excess = _cut(shown, widths, excess, [column.floor for column in shown])
        if excess <= 0 or first is None:
            return list(zip(shown, widths, strict=True))
        shown.remove(first)


def _cut(columns: Sequence[Column], widths: list[int], excess: int, least: Sequence[int]) -> int:
    """Make names, then the widest columns narrower, each down to its ``least`` (0: not at all); the excess left."""
    for index in sorted(range(len(columns)), key=lambda i: (not columns[i].in_middle, -widths[i])):
        if excess > 0 and least[index]:
            given = max(0, min(excess, widths[index] - max(least[index], len(columns[index].title))))
            widths[index] -= given
            excess -= given
    return excess


def names(title: str, cells: Sequence[str], drop: int = 0) -> Column:
    """A column of names of handlers: long ones are cut in the middle."""
    return Column(title, [Text(cell) for cell in cells], drop, least=_NAME, in_middle=True, floor=_SHORT_NAME)


def plain(title: str, cells: Sequence[str], style: str = "", **options: int) -> Column:
    """A column of one style; ``options`` are the fields of Column."""
    return replace(Column(title, [Text(cell, style=style) for cell in cells]), **options)  # type: ignore[arg-type]


def shortened(text: str, width: int) -> str:
    """At most ``width`` columns, the last one an ellipsis where something is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def shortened_in_middle(text: str, width: int) -> str:
    """At most ``width`` columns, with an ellipsis for what is missing in the middle."""
    if cell_len(text) <= width:
        return text
    tail = max(0, width - 1) // 2
    end = set_cell_size(text[::-1], tail)[::-1]
    return f"{set_cell_size(text, max(0, width - 1 - tail))}…{end}" if width else ""


def _gutter(column: Column) -> int:
    return _GUTTER if column.title else 1


def _line(cells: Sequence[Text], fitted: Sequence[tuple[Column, int]]) -> Text:
    line = Text()
    for index, (cell, (column, width)) in enumerate(zip(cells, fitted, strict=True)):
        cell = cell.copy()  # noqa: PLW2901 - what follows changes it
        if column.in_middle:
            cell = Text(shortened_in_middle(cell.plain, width), style=cell.style)  # noqa: PLW2901 - as above
        cell.truncate(width, overflow="ellipsis")
        space = " " * (width - cell.cell_len)
        line.append(space if column.right else "").append_text(cell)
        if index < len(fitted) - 1:
            line.append("" if column.right else space).append(" " * _gutter(column))
    line.rstrip()
    return line
