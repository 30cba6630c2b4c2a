"""The filters that choose workflows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import typer

from durablectl.cli.completion.completers import (
    complete_handler,
    complete_id,
    complete_processor,
    complete_status,
    complete_waiting_for,
)
from durablectl.cli.options.signatures import extend, option
from durablectl.model.filters import FILTERS, FilterKind, flag_of, parse_filters

R = TypeVar("R")

_FILTER_COMPLETERS: Mapping[str, Callable[..., Any]] = {
    FilterKind.STATUS: complete_status,
    FilterKind.HANDLER: complete_handler,
    FilterKind.ID: complete_id,
    FilterKind.PREFIX: complete_id,
    FilterKind.WAIT: complete_waiting_for,
    FilterKind.PROCESSOR: complete_processor,
}


def with_filters(function: Callable[..., R]) -> Callable[..., R]:
    """Add the filters; the command gets the keyword ``filters: Filters`` instead of them. UsageError for bad ones."""
    return extend(function, "filters", filter_options("Filters"), lambda values: {"filters": parse_filters(values)})


def filter_options(
    panel: str,
    *,
    without: Collection[str] = (),
    completers: Mapping[str, Callable[..., Any]] | None = None,
    **texts: str,
) -> list[inspect.Parameter]:
    """All but those ``without``; ``completers`` and ``texts`` are other completions and help texts, by name."""
    completing = completers or {}
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
                autocompletion=completing.get(each.name, _FILTER_COMPLETERS.get(each.kind)),
            ),
        )
        for each in FILTERS
        if each.name not in without
    ]


def is_filtered(values: dict[str, Any]) -> bool:
    """Whether any of ``filter_options`` was given."""
    return any(values.get(each.name) not in (None, []) for each in FILTERS)
