"""How the result is shown: ``-o``, ``--json``, ``--no-pager`` and ``--steps``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar, overload

import typer

from durablectl.cli.completion.completers import (
    complete_from,
)
from durablectl.cli.options.signatures import extend, option
from durablectl.cli.terminal.output import Output, OutputFormat, is_decorated
from durablectl.errors import UsageError

R = TypeVar("R")

StepsOption = Annotated[
    str | None,
    typer.Option(
        metavar="A:B",
        help="The steps from number A up to before B, negative from the end, ':' for all (default -50:).",
    ),
]


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
