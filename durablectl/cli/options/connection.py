"""Where a command connects, and how much it tells of that: the connection flags, ``-q`` and ``-v``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer

from durablectl.cli.completion.completers import (
    complete_context,
    complete_namespace,
)
from durablectl.cli.connection_flags import CONNECTION_FLAGS, connection_settings
from durablectl.cli.options.signatures import extend, option
from durablectl.cli.terminal.output import Verbosity, verbosity, warn
from durablectl.errors import UsageError

R = TypeVar("R")

_COMPLETERS: Mapping[str, Callable[..., Any]] = {
    "nats_context": complete_context,
    "namespace": complete_namespace,
}


def with_connection(function: Callable[..., R]) -> Callable[..., R]:
    """Add the connection flags; the command gets the keyword ``settings: Settings`` instead of them.

    A flag whose parameter name the command declares itself (``timeout``, say) is left to the command. Warnings of the
    settings go to standard error.
    """
    taken = inspect.signature(function).parameters
    rows = [row for row in CONNECTION_FLAGS if row[0] not in taken]

    def provide(values: dict[str, Any]) -> dict[str, Any]:
        _set_verbosity(quiet=values["quiet"], verbose=values["verbose"])
        settings = connection_settings(values)
        for warning in settings.warnings:
            warn(warning)
        if values["verbose"]:
            from durablectl.cli.terminal.logs import log_connection

            log_connection(settings)
        return {"settings": settings}

    added = [
        option(
            parameter,
            str | None,
            None,
            typer.Option(
                *flags,
                metavar=metavar,
                help=f"{text} (env {variable})",
                rich_help_panel="Connection",
                autocompletion=_COMPLETERS.get(parameter),
            ),
        )
        for parameter, _, metavar, flags, text, variable in rows
    ]
    return extend(function, "settings", [*added, *_verbosity_options()], provide)


def _verbosity_options() -> list[inspect.Parameter]:
    texts = {
        "quiet": ("-q", "No notes and no progress on standard error; warnings and errors stay."),
        "verbose": ("-v", "Say where it connects, and what it asks the server."),
    }
    return [
        option(name, bool, False, typer.Option(f"--{name}", short, help=text, rich_help_panel="Output"))  # noqa: FBT003  # the default of the option
        for name, (short, text) in texts.items()
    ]


def _set_verbosity(*, quiet: bool, verbose: bool) -> None:
    if quiet and verbose:
        raise UsageError("-q says less and -v says more, but both were given.", hint="Give only one of them.")
    if quiet or verbose:
        verbosity.set(Verbosity.QUIET if quiet else Verbosity.VERBOSE)
