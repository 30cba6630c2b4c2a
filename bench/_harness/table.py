"""One shape for what every measurement yields, and the table it is printed in.

A measurement ends with ``run(parser, measure)``; ``measure`` is given the options and yields rows. What it has to say
meanwhile goes to standard error, by ``say``.
"""

from __future__ import annotations

import json
import operator
import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

_HOLDS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
_SIGNS = {"<=": "at most", ">=": "at least"}
_HEADINGS = ("measurement", "figure", "compared with", "ratio", "bar", "")


class Row(NamedTuple):
    """One figure.

    ``against`` says in words and figures what it is compared with, ``ratio`` is the figure over that. The bars are
    those that the issues state: ``"ratio <= 8"``, ``"figure >= 500"``.
    """

    measurement: str
    figure: float
    unit: str = ""
    against: str = ""
    ratio: float | None = None
    bars: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """Empty without a bar."""
        if not self.bars:
            return ""
        return "ok" if all(self._holds(bar) for bar in self.bars) else "MISSED"

    def _holds(self, bar: str) -> bool:
        what, sign, limit = bar.split()
        value = self.figure if what == "figure" else self.ratio
        assert value is not None
        return _HOLDS[sign](value, float(limit))


def compared(measurement: str, figure: float, unit: str, base: str, base_figure: float, *bars: str) -> Row:
    """A row whose figure and base have the same unit."""
    against = f"{base}: {shown(base_figure, unit)}"
    return Row(measurement, figure, unit, against, figure / base_figure if base_figure else None, bars)


def shown(figure: float, unit: str = "") -> str:
    """Three digits that mean something, and the unit."""
    if abs(figure) >= 100 or figure == int(figure):
        text = f"{figure:,.0f}"
    else:
        text = f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}" if abs(figure) >= 1 else f"{figure:.3f}"
    return f"{text} {unit}".rstrip()


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def run(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], Iterable[Row]]) -> None:
    """Print the rows as a table, or with ``--json`` as JSON."""
    add_json(parser)
    options = parser.parse_args()
    show(list(measure(options)), as_json=options.json)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")


def show(rows: Sequence[Row], *, as_json: bool, **more: object) -> None:
    if as_json:
        shaped = [{**row._asdict(), "verdict": row.verdict} for row in rows]
        print(json.dumps({"machine": machine(), "rows": shaped, **more}, indent=1))
    else:
        print("\n".join([", ".join(machine().values()), *lines(rows)]), flush=True)


def read(text: str) -> list[Row]:
    """The rows that a measurement has printed with ``--json``."""
    rows = json.loads(text)["rows"]
    for row in rows:
        del row["verdict"]
    return [Row(**row) for row in rows]


def lines(rows: Iterable[Row]) -> list[str]:
    """The table, figures flush right."""
    cells = [
        (
            row.measurement,
            shown(row.figure, row.unit),
            row.against,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            ", ".join(_bar(bar, row.unit) for bar in row.bars),
            row.verdict,
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
    return ["  ".join(_aligned(line, widths)).rstrip() for line in [_HEADINGS, *cells]]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if heading in {"figure", "ratio"} else cell.ljust(width)
        for heading, cell, width in zip(_HEADINGS, line, widths, strict=True)
    ]


def _bar(bar: str, unit: str) -> str:
    what, sign, limit = bar.split()
    return f"{_SIGNS[sign]} {limit} {unit if what == 'figure' else 'times'}".rstrip()


def machine() -> dict[str, str]:
    """What figures depend on, without the machine's name."""
    from durablectl.embedded import find_server

    said = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True).stdout
    try:
        loop = f"uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:
        loop = "without uvloop"
    return {
        "cores": f"{os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"Python {platform.python_version()}",
        "server": said.strip().replace(": v", " "),
        "loop": loop,
    }
