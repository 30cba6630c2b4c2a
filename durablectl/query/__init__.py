"""Reading workflows: one small API for the CLI, the SDK and HTTP. Nothing here writes."""

from durablectl.query.checks import Check, Severity
from durablectl.query.diagnosing import Diagnosis, diagnose
from durablectl.query.failures import ErrorCluster, ErrorsView, FailedStep, Failure, get_errors
from durablectl.query.filters import Filters
from durablectl.query.listing import count_workflows, list_workflows
from durablectl.query.processors import live_processors
from durablectl.query.selecting import Selected, list_pages, select, select_ids
from durablectl.query.single import get_workflow
from durablectl.query.stats import get_stats
from durablectl.query.tailing import DELETED, StateChange, TailFilters, tail
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

__all__ = [
    "DELETED",
    "Check",
    "Diagnosis",
    "DroppedView",
    "ErrorCluster",
    "ErrorsView",
    "FailedStep",
    "Failure",
    "Filters",
    "ProcessorView",
    "Selected",
    "Severity",
    "StateChange",
    "StatsView",
    "StepView",
    "TailFilters",
    "WaitingView",
    "WorkflowPage",
    "WorkflowView",
    "count_workflows",
    "diagnose",
    "get_errors",
    "get_stats",
    "get_workflow",
    "list_pages",
    "list_workflows",
    "live_processors",
    "select",
    "select_ids",
    "tail",
    "watch_all",
    "watch_workflow",
]
