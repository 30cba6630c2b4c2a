"""The options of a long-running command's log."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.completion.completers import complete_from
from durablectl.cli.terminal.logs import FORMATS, LEVELS

LogFormat = Annotated[
    str,
    typer.Option(
        "--log-format", metavar="|".join(FORMATS), help="Of the log on stderr.", autocompletion=complete_from(FORMATS)
    ),
]
LogLevel = Annotated[
    str,
    typer.Option(
        "--log-level", metavar="|".join(LEVELS), help="The least to log.", autocompletion=complete_from(LEVELS)
    ),
]
