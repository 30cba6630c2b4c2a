"""Reading workflows: one small API for the CLI, the SDK and HTTP. Nothing here writes."""

from durablectl.query.filters import Filters
from durablectl.query.listing import list_workflows
from durablectl.query.processors import live_processors
from durablectl.query.selecting import Selected, select, select_ids
from durablectl.query.single import get_workflow
from durablectl.query.stats import get_stats
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
    "DroppedView",
    "Filters",
    "ProcessorView",
    "Selected",
    "StatsView",
    "StepView",
    "WaitingView",
    "WorkflowPage",
    "WorkflowView",
    "get_stats",
    "get_workflow",
    "list_workflows",
    "live_processors",
    "select",
    "select_ids",
    "watch_all",
    "watch_workflow",
]
