"""Options that many commands share, as decorators that add them to a command's signature."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar, overload

import typer

from durablectl.cli.completion.completers import (
    complete_context,
    complete_from,
    complete_handler,
    complete_id,
    complete_namespace,
    complete_status,
)
from durablectl.cli.connection_flags import CONNECTION_FLAGS, connection_settings
from durablectl.cli.options.signatures import extend, option
from durablectl.cli.terminal.output import Output, OutputFormat, Verbosity, is_decorated, verbosity, warn
from durablectl.errors import UsageError
from durablectl.model.filters import FILTERS, FilterKind, flag_of, parse_filters

R = TypeVar("R")

StepsOption = Annotated[
    str | None,
    typer.Option(
        metavar="A:B",
        help="The steps from number A up to before B, negative from the end, ':' for all (default -50:).",
    ),
]

_COMPLETERS: Mapping[str, Callable[..., Any]] = {
    "nats_context": complete_context,
    "namespace": complete_namespace,
}
_FILTER_COMPLETERS: Mapping[str, Callable[..., Any]] = {
    FilterKind.STATUS: complete_status,
    FilterKind.HANDLER: complete_handler,
    FilterKind.ID: complete_id,
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
            from durablectl.cli.terminal.logs import tell_connection

            tell_connection(settings)
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


@overload
def with_output(function: Callable[..., R]) -> Callable[..., R]: ...


@overload
def with_output(
    *, formats: Sequence[OutputFormat] = ..., paged: bool = ...
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...


def with_output(
    function: Callable[..., Any] | None = None,
    *,
    formats: Sequence[OutputFormat] = tuple(OutputFormat),
    paged: bool = False,
) -> Any:
    """Add ``-o/--output`` and ``--json``; the command gets the keyword ``output: Output`` instead of them.

    ``formats`` are those that the command can write, the default one first. UsageError for another one, and for
    ``--json`` together with another ``-o``. ``paged`` adds ``--no-pager``: what ``output.show`` prints can be long.
    """
    if function is None:
        return functools.partial(with_output, formats=formats, paged=paged)
    names = "|".join(formats)

    def provide(values: dict[str, Any]) -> dict[str, Any]:
        output = _chosen(values["output_format"], formats, json=values["json_output"])
        return {"output": replace(output, paged=paged and output.decorated and not values.get("no_pager"))}

    added = [
        option(
            "output_format",
            str | None,
            None,
            typer.Option(
                "--output",
                "-o",
                metavar=names,
                help=f"Output format (default {formats[0]}).",
                rich_help_panel="Output",
                autocompletion=complete_from(formats),
            ),
        ),
        option(
            "json_output",
            bool,
            False,  # noqa: FBT003  # the default of the option
            typer.Option("--json", help="The same as -o json.", rich_help_panel="Output"),
        ),
    ]
    if paged:
        added.append(
            option(
                "no_pager",
                bool,
                False,  # noqa: FBT003  # the default of the option
                typer.Option("--no-pager", help="Print what is longer than the screen, too.", rich_help_panel="Output"),
            )
        )
    return extend(function, "output", added, provide)


def _chosen(given: str | None, formats: Sequence[OutputFormat], *, json: bool) -> Output:
    if json and given not in (None, OutputFormat.JSON):
        raise UsageError(f"--json means -o json, but -o {given} was given too.", hint="Give only one of them.")
    name = OutputFormat.JSON if json else given or formats[0]
    if name not in formats:
        raise UsageError(f"This command has no output format {name!r}.", hint=f"Choose one of {', '.join(formats)}.")
    return Output(format=OutputFormat(name), decorated=is_decorated(sys.stdout))


def with_filters(function: Callable[..., R]) -> Callable[..., R]:
    """Add the filters; the command gets the keyword ``filters: Filters`` instead of them. UsageError for bad ones."""
    return extend(function, "filters", filter_options("Filters"), lambda values: {"filters": parse_filters(values)})


def filter_options(panel: str, **texts: str) -> list[inspect.Parameter]:
    """``texts`` are other help texts, by parameter."""
    return [
        option(
            each.name,
            list[str] | None if each.is_repeatable else str | None,
            None,
            typer.Option(
                flag_of(each.name),
                metavar=each.kind.value,
                help=texts.get(each.name, each.help),
                rich_help_panel=panel,
                autocompletion=_FILTER_COMPLETERS.get(each.kind),
            ),
        )
        for each in FILTERS
    ]


def is_filtered(values: dict[str, Any]) -> bool:
    """Whether any of ``filter_options`` was given."""
    return any(values[each.name] not in (None, []) for each in FILTERS)
