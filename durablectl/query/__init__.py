"""Reading workflows: one small API for the CLI, the SDK and HTTP. Nothing here writes.

Names are loaded when first used: a command needs few of the modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from durablectl.model.filters import Filters

if TYPE_CHECKING:
    from durablectl.query.audit import list_audit
    from durablectl.query.board import Board, watch_board, watch_changes
    from durablectl.query.diff import ABSENT, Aspect, Comparison, StepDifference, ValueChange, compare
    from durablectl.query.doctor import Diagnosis, diagnose
    from durablectl.query.doctor_checks import Check, Severity
    from durablectl.query.error_clusters import ErrorCluster, ErrorsView, FailedStepCount, ParsedError, get_errors
    from durablectl.query.from_now import by_server_time, server_time
    from durablectl.query.get import get_children, get_workflow
    from durablectl.query.incoming import awaited_instead_of_answer, awaited_instead_of_signal
    from durablectl.query.jobs import JobPage, JobView, get_job, job_reports, list_jobs, watch_job
    from durablectl.query.list import count_workflows, list_workflows
    from durablectl.query.processors import find_missing_leases, live_processors, lost_processors
    from durablectl.query.room import get_full_store
    from durablectl.query.selection import (
        MatchWalk,
        SelectedWorkflow,
        count_candidates,
        list_pages,
        select_ids,
        select_workflows,
    )
    from durablectl.query.state_changes import DELETED, ChangeReader, StateChange, TailFilters, tail
    from durablectl.query.stats import get_stats
    from durablectl.query.status import Moving, StatusReport, get_status, watch_status
    from durablectl.query.tree import Tree, watch_tree
    from durablectl.query.trouble import Group, Remedy, Trouble, Urgency
    from durablectl.query.typical_steps import find_typical_steps
    from durablectl.query.views import (
        DroppedView,
        LostProcessorView,
        ProcessorView,
        StatsView,
        StepView,
        UnclaimedView,
        WaitingView,
        WorkflowPage,
        WorkflowView,
    )
    from durablectl.query.watch import watch_all, watch_workflow
    from durablectl.query.why import LiveContext, StatusCause, StatusExplanation, explain_workflow

_HOME = {
    name: module
    for module, names in {
        "doctor_checks": ("Check", "Severity"),
        "diff": ("ABSENT", "Aspect", "Comparison", "StepDifference", "ValueChange", "compare"),
        "audit": ("list_audit",),
        "board": ("Board", "watch_board", "watch_changes"),
        "doctor": ("Diagnosis", "diagnose"),
        "tree": ("Tree", "watch_tree"),
        "error_clusters": ("ErrorCluster", "ErrorsView", "FailedStepCount", "ParsedError", "get_errors"),
        "incoming": ("awaited_instead_of_answer", "awaited_instead_of_signal"),
        "jobs": ("JobPage", "JobView", "get_job", "job_reports", "list_jobs", "watch_job"),
        "list": ("count_workflows", "list_workflows"),
        "processors": ("find_missing_leases", "live_processors", "lost_processors"),
        "why": ("LiveContext", "StatusCause", "StatusExplanation", "explain_workflow"),
        "room": ("get_full_store",),
        "selection": (
            "MatchWalk",
            "SelectedWorkflow",
            "count_candidates",
            "list_pages",
            "select_ids",
            "select_workflows",
        ),
        "get": ("get_children", "get_workflow"),
        "from_now": ("by_server_time", "server_time"),
        "stats": ("get_stats",),
        "status": ("Moving", "StatusReport", "get_status", "watch_status"),
        "trouble": ("Group", "Remedy", "Trouble", "Urgency"),
        "state_changes": ("DELETED", "ChangeReader", "StateChange", "TailFilters", "tail"),
        "typical_steps": ("find_typical_steps",),
        "views": (
            "DroppedView",
            "LostProcessorView",
            "LostProcessorView",
            "ProcessorView",
            "StatsView",
            "StepView",
            "UnclaimedView",
            "WaitingView",
            "WorkflowPage",
            "WorkflowView",
        ),
        "watch": ("watch_all", "watch_workflow"),
    }.items()
    for name in names
}

__all__ = [
    "ABSENT",
    "DELETED",
    "Aspect",
    "Board",
    "ChangeReader",
    "Check",
    "Comparison",
    "Diagnosis",
    "DroppedView",
    "ErrorCluster",
    "ErrorsView",
    "FailedStepCount",
    "Filters",
    "Group",
    "JobPage",
    "JobView",
    "LiveContext",
    "LostProcessorView",
    "MatchWalk",
    "Moving",
    "ParsedError",
    "ProcessorView",
    "Remedy",
    "SelectedWorkflow",
    "Severity",
    "StateChange",
    "StatsView",
    "StatusCause",
    "StatusExplanation",
    "StatusReport",
    "StepDifference",
    "StepView",
    "TailFilters",
    "Tree",
    "Trouble",
    "UnclaimedView",
    "Urgency",
    "ValueChange",
    "WaitingView",
    "WorkflowPage",
    "WorkflowView",
    "awaited_instead_of_answer",
    "awaited_instead_of_signal",
    "by_server_time",
    "compare",
    "count_candidates",
    "count_workflows",
    "diagnose",
    "explain_workflow",
    "find_missing_leases",
    "find_typical_steps",
    "get_children",
    "get_errors",
    "get_full_store",
    "get_job",
    "get_stats",
    "get_status",
    "get_workflow",
    "job_reports",
    "list_audit",
    "list_jobs",
    "list_pages",
    "list_workflows",
    "live_processors",
    "lost_processors",
    "select_ids",
    "select_workflows",
    "server_time",
    "tail",
    "watch_all",
    "watch_board",
    "watch_changes",
    "watch_job",
    "watch_status",
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
