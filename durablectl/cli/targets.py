"""Which workflows a command changes: ids, ids on standard input, or filters; as a decorator that adds the options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from durablectl.cli.completing import complete_status
from durablectl.cli.options import extend, option
from durablectl.errors import UsageError

R = TypeVar("R")

STANDARD_INPUT = "-"
_PANEL = "Selection"
_HINT = "Give ids, '-' for ids on standard input, or --status and --handler."


@dataclass(frozen=True)
class Targets:
    """Either ``ids`` or filters; ``rate`` is how many a second at most, 0 for no limit.

    ``is_one`` tells that a single id was named on the command line: its result is not one of many.
    """

    ids: Sequence[str] = ()
    statuses: Sequence[str] = ()
    handlers: Sequence[str] = ()
    yes: bool = False
    dry_run: bool = False
    rate: float = 0.0
    is_one: bool = False

    @property
    def are_filtered(self) -> bool:
        return bool(self.statuses or self.handlers)


def with_targets(function: Callable[..., R]) -> Callable[..., R]:
    """Add the ids and the filters; the command gets the keyword ``targets: Targets`` instead of them."""
    added = [
        inspect.Parameter(
            "ids",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None, typer.Argument(metavar="ID", help="Workflows; '-' reads ids from stdin.")
            ],
        ),
        option(
            "status",
            list[str] | None,
            None,
            typer.Option(
                "--status",
                metavar="STATUS",
                help="All of this status; repeatable.",
                autocompletion=complete_status,
                rich_help_panel=_PANEL,
            ),
        ),
        option(
            "handler",
            list[str] | None,
            None,
            typer.Option(
                "--handler",
                metavar="HANDLER",
                help="All of this handler that the command can change; repeatable.",
                rich_help_panel=_PANEL,
            ),
        ),
        _flag("yes", ("--yes", "-y"), "Do not ask before changing what the filters match."),
        _flag("dry_run", ("--dry-run",), "Show what would be changed, and change nothing."),
        option(
            "rate",
            float | None,
            None,
            typer.Option("--rate", metavar="N", min=0, help="At most so many a second.", rich_help_panel=_PANEL),
        ),
    ]
    return extend(function, "targets", added, lambda values: {"targets": _targets(values)})


def _flag(name: str, declared: tuple[str, ...], text: str) -> inspect.Parameter:
    return option(name, bool, False, typer.Option(*declared, help=text, rich_help_panel=_PANEL))  # noqa: FBT003  # the default of the option


def _targets(values: dict[str, Any]) -> Targets:
    given: list[str] = values["ids"] or []
    statuses, handlers = values["status"] or [], values["handler"] or []
    if given and (statuses or handlers):
        raise UsageError("Ids and filters were given, but a workflow is chosen by one of them.", hint=_HINT)
    if not given and not statuses and not handlers:
        raise UsageError("Nothing says which workflows.", hint=_HINT)
    ids = [i for each in given for i in (_from_standard_input() if each == STANDARD_INPUT else [each])]
    return Targets(
        list(dict.fromkeys(ids)),
        statuses,
        handlers,
        yes=values["yes"],
        dry_run=values["dry_run"],
        rate=values["rate"] or 0.0,
        is_one=len(given) == 1 and given[0] != STANDARD_INPUT,
    )


def _from_standard_input() -> list[str]:
    return [line.strip() for line in sys.stdin if line.strip()]
