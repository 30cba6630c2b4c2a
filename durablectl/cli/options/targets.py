"""Which workflows a command changes: ids, ids on standard input, or filters; as a decorator that adds the options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.filters import filter_options, is_filtered
from durablectl.cli.options.signatures import extend, option
from durablectl.errors import UsageError
from durablectl.limits import checked_number
from durablectl.model.filters import parse_filters

if TYPE_CHECKING:
    from durablectl.query import Filters

R = TypeVar("R")

STANDARD_INPUT = "-"
BACKGROUND_OVER = 1_000
"""More workflows than these are changed by a job, unless the command says otherwise."""
_PANEL = "Selection"
_FASTEST = 1_000_000
_HINT = "Give ids, '-' for ids on standard input, or filters such as --status and --handler."


@dataclass(frozen=True)
class Targets:
    """Either ``ids`` or filters; ``rate`` is how many a second at most, 0 for no limit.

    ``background`` tells whether processors are to do it, as a job; None where that depends on how many there are.

    ``is_one`` tells that a single id was named on the command line: its result is not one of many.
    """

    ids: Sequence[str] = ()
    filters: Filters | None = None
    yes: bool = False
    dry_run: bool = False
    rate: float = 0.0
    background: bool | None = None
    is_one: bool = False


def with_targets(function: Callable[..., R]) -> Callable[..., R]:
    """Add the ids and the filters; the command gets the keyword ``targets: Targets`` instead of them.

    A filter is left out where the command has a parameter of that name: the --reason of a pause is what it records.
    """
    own = inspect.signature(function).parameters
    filters = filter_options(
        _PANEL, status="Only this status; repeatable. Without it, all that the command can change."
    )
    added = [
        inspect.Parameter(
            "ids",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None,
                typer.Argument(metavar="ID", help="Workflows; '-' reads ids from stdin.", autocompletion=complete_id),
            ],
        ),
        *(each for each in filters if each.name not in own),
        _flag("yes", ("--yes", "-y"), "Do not ask before changing what the filters match."),
        _flag("dry_run", ("--dry-run",), "Show what would be changed, and change nothing."),
        option(
            "rate",
            float | None,
            None,
            typer.Option("--rate", metavar="N", min=0, help="At most so many a second.", rich_help_panel=_PANEL),
        ),
        option(
            "background",
            bool | None,
            None,
            typer.Option(
                "--background/--foreground",
                " /--no-background",
                help=f"As a job that processors carry out (default for over {BACKGROUND_OVER:,}), or from here.",
                rich_help_panel=_PANEL,
            ),
        ),
    ]
    return extend(function, "targets", added, lambda values: {"targets": _targets(values)})


def _flag(name: str, declared: tuple[str, ...], text: str) -> inspect.Parameter:
    return option(name, bool, False, typer.Option(*declared, help=text, rich_help_panel=_PANEL))  # noqa: FBT003  # the default of the option


def _targets(values: dict[str, Any]) -> Targets:
    given: list[str] = values["ids"] or []
    filtered = is_filtered(values)
    if given and filtered:
        raise UsageError("Ids and filters were given, but a workflow is chosen by one of them.", hint=_HINT)
    if not given and not filtered:
        raise UsageError("Nothing says which workflows.", hint=_HINT)
    ids = [i for each in given for i in (_from_standard_input() if each == STANDARD_INPUT else [each])]
    return Targets(
        list(dict.fromkeys(ids)),
        parse_filters(values) if filtered else None,
        yes=values["yes"],
        dry_run=values["dry_run"],
        rate=checked_number(values["rate"] or 0.0, "The --rate", 0, _FASTEST),
        background=values["background"],
        is_one=len(given) == 1 and given[0] != STANDARD_INPUT,
    )


def _from_standard_input() -> list[str]:
    return [line.strip() for line in sys.stdin if line.strip()]
