"""Reading workflows: one small API for the CLI, the SDK and HTTP. Nothing here writes.

Names are loaded when first used: a command needs few of the modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durablectl.query.checks import Check, Severity
    from durablectl.query.comparing import ABSENT, Aspect, Change, Comparison, StepDifference, compare
    from durablectl.query.dashboard import Board, watch_board, watch_changes
    from durablectl.query.diagnosing import Diagnosis, diagnose
    from durablectl.query.failures import ErrorCluster, ErrorsView, FailedStep, Failure, get_errors
    from durablectl.query.family import Tree, watch_tree
    from durablectl.query.filters import Filters
    from durablectl.query.listing import count_workflows, list_workflows
    from durablectl.query.processors import live_processors
    from durablectl.query.reasons import Cause, Live, Reason, explain
    from durablectl.query.selecting import Selected, list_pages, select, select_ids
    from durablectl.query.single import get_children, get_workflow
    from durablectl.query.stats import get_stats
    from durablectl.query.tailing import DELETED, ChangeReader, StateChange, TailFilters, tail
    from durablectl.query.usual import usual_steps
    from durablectl.query.views import (
        DroppedView,
        ProcessorView,
        StatsView,
        StepView,
        WaitingView,
        WorkflowPage,
        WorkflowView,
    )
    from durablectl.query.watching import watch_all, watch_workflow

_HOME = {
    name: module
    for module, names in {
        "checks": ("Check", "Severity"),
        "comparing": ("ABSENT", "Aspect", "Change", "Comparison", "StepDifference", "compare"),
        "dashboard": ("Board", "watch_board", "watch_changes"),
        "diagnosing": ("Diagnosis", "diagnose"),
        "family": ("Tree", "watch_tree"),
        "failures": ("ErrorCluster", "ErrorsView", "FailedStep", "Failure", "get_errors"),
        "filters": ("Filters",),
        "listing": ("count_workflows", "list_workflows"),
        "processors": ("live_processors",),
        "reasons": ("Cause", "Live", "Reason", "explain"),
        "selecting": ("Selected", "list_pages", "select", "select_ids"),
        "single": ("get_children", "get_workflow"),
        "stats": ("get_stats",),
        "tailing": ("DELETED", "ChangeReader", "StateChange", "TailFilters", "tail"),
        "usual": ("usual_steps",),
        "views": (
            "DroppedView",
            "ProcessorView",
            "StatsView",
            "StepView",
            "WaitingView",
            "WorkflowPage",
            "WorkflowView",
        ),
        "watching": ("watch_all", "watch_workflow"),
    }.items()
    for name in names
}

__all__ = [
    "ABSENT",
    "DELETED",
    "Aspect",
    "Board",
    "Cause",
    "Change",
    "ChangeReader",
    "Check",
    "Comparison",
    "Diagnosis",
    "DroppedView",
    "ErrorCluster",
    "ErrorsView",
    "FailedStep",
    "Failure",
    "Filters",
    "Live",
    "ProcessorView",
    "Reason",
    "Selected",
    "Severity",
    "StateChange",
    "StatsView",
    "StepDifference",
    "StepView",
    "TailFilters",
    "Tree",
    "WaitingView",
    "WorkflowPage",
    "WorkflowView",
    "compare",
    "count_workflows",
    "diagnose",
    "explain",
    "get_children",
    "get_errors",
    "get_stats",
    "get_workflow",
    "list_pages",
    "list_workflows",
    "live_processors",
    "select",
    "select_ids",
    "tail",
    "usual_steps",
    "watch_all",
    "watch_board",
    "watch_changes",
    "watch_tree",
    "watch_workflow",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'durablectl.query' has no attribute {name!r}")
    return getattr(import_module(f"durablectl.query.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
