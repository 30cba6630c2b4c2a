"""How times are shown: the options ``--time`` and ``--tz``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from durablectl.cli.completion.completers import complete_from
from durablectl.cli.options.signatures import extend, option
from durablectl.cli.render.formatting import TimeFormat, TimeStyle
from durablectl.cli.terminal.output import is_decorated
from durablectl.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

R = TypeVar("R")

_PANEL = "Output"


def with_times(function: Callable[..., R]) -> Callable[..., R]:
    """Add ``--time`` and ``--tz``; the command gets the keyword ``times: TimeFormat`` instead of them.

    UsageError for a style or a time zone that is not known. JSON is for the command to leave alone.
    """

    def provide(values: dict[str, Any]) -> dict[str, Any]:
        return {"times": chosen(values["time"], values["tz"], decorated=is_decorated(sys.stdout))}

    added = [
        option(
            "time",
            str | None,
            None,
            typer.Option(
                metavar="|".join(TimeStyle),
                help="How times are shown (default relative on a terminal, else iso); JSON is always RFC 3339 in UTC.",
                rich_help_panel=_PANEL,
                autocompletion=complete_from([*TimeStyle]),
            ),
        ),
        option(
            "tz",
            str | None,
            None,
            typer.Option(
                metavar="NAME|local|utc",
                help="Time zone of iso times, Europe/Berlin say (default utc); alone it means --time iso.",
                rich_help_panel=_PANEL,
                autocompletion=_complete_zone,
            ),
        ),
    ]
    return extend(function, "times", added, provide)


def chosen(style: str | None, zone: str | None, *, decorated: bool) -> TimeFormat:
    """What was asked for, None for what was not."""
    if style is None:
        style = TimeStyle.RELATIVE if decorated and zone is None else TimeStyle.ISO
    elif style not in frozenset(TimeStyle):
        raise UsageError(f"There is no --time {style!r}.", hint=f"Choose one of {', '.join(TimeStyle)}.")
    if zone is not None and style == TimeStyle.UNIX:
        raise UsageError("--time unix has no time zone, but --tz was given too.", hint="Give only one of them.")
    return TimeFormat(TimeStyle(style), UTC if zone is None else _zone(zone))


def _zone(name: str) -> tzinfo | None:
    if name.lower() == "utc":
        return UTC
    if name.lower() == "local":
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        close = difflib.get_close_matches(name, available_timezones(), 1)
        guess = f"Did you mean {close[0]}? " if close else ""
        raise UsageError(
            f"There is no time zone {name!r}.", hint=f"{guess}Write it like Europe/Berlin, or local, or utc."
        ) from None


def _complete_zone(incomplete: str) -> list[str]:
    from zoneinfo import available_timezones

    return [name for name in ("local", "utc", *sorted(available_timezones())) if name.startswith(incomplete)]
