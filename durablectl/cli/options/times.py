"""How moments are shown: the options ``--time`` and ``--tz``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from durablectl.cli.completion.scripts import complete_from
from durablectl.cli.options.signatures import extend, option
from durablectl.cli.terminal.output import is_decorated
from durablectl.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

R = TypeVar("R")

_PANEL = "Output"


class Style(StrEnum):
    """The values of ``--time``."""

    RELATIVE = "relative"
    ISO = "iso"
    UNIX = "unix"


@dataclass(frozen=True)
class Times:
    """``zone`` is that of RFC 3339 times; None for that of this machine."""

    style: Style
    zone: tzinfo | None = UTC


RELATIVE, ISO = Times(Style.RELATIVE), Times(Style.ISO)


def with_times(function: Callable[..., R]) -> Callable[..., R]:
    """Add ``--time`` and ``--tz``; the command gets the keyword ``times: Times`` instead of them.

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
                metavar="|".join(Style),
                help="How times are shown (default relative on a terminal, else iso); JSON is always RFC 3339 in UTC.",
                rich_help_panel=_PANEL,
                autocompletion=complete_from([*Style]),
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


def chosen(style: str | None, zone: str | None, *, decorated: bool) -> Times:
    """What was asked for, None for what was not."""
    if style is None:
        style = Style.RELATIVE if decorated and zone is None else Style.ISO
    elif style not in frozenset(Style):
        raise UsageError(f"There is no --time {style!r}.", hint=f"Choose one of {', '.join(Style)}.")
    if zone is not None and style == Style.UNIX:
        raise UsageError("--time unix has no time zone, but --tz was given too.", hint="Give only one of them.")
    return Times(Style(style), UTC if zone is None else _zone(zone))


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
