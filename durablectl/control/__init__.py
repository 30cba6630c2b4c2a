"""Changing workflows: starting, operating and answering them, and waiting for their outcome."""

from durablectl.control.attempts import restart_step, retry_now
from durablectl.control.command_removal import remove_dead_commands
from durablectl.control.index_repair import RepairReport, repair
from durablectl.control.jobs import FASTEST_JOB, can_run_jobs, cancel_job, pause_job, resume_job, start_job
from durablectl.control.lifecycle import cancel, delete, pause, resume, wait_until_cancelled
from durablectl.control.messages import reject, resolve, signal
from durablectl.control.operation_result import OperationResult
from durablectl.control.retry import restart, retry
from durablectl.control.schedules import (
    ScheduleView,
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
)
from durablectl.control.start import StartRequest, start
from durablectl.control.stream_repair import RepairedStreams, repair_streams
from durablectl.control.wait import WorkflowOutcome, wait_for_outcome, wait_until_listed

__all__ = [
    "FASTEST_JOB",
    "OperationResult",
    "RepairReport",
    "RepairedStreams",
    "ScheduleView",
    "StartRequest",
    "WorkflowOutcome",
    "can_run_jobs",
    "cancel",
    "cancel_job",
    "create_schedule",
    "delete",
    "delete_schedule",
    "get_schedule",
    "list_schedules",
    "pause",
    "pause_job",
    "pause_schedule",
    "reject",
    "remove_dead_commands",
    "repair",
    "repair_streams",
    "resolve",
    "restart",
    "restart_step",
    "resume",
    "resume_job",
    "resume_schedule",
    "retry",
    "retry_now",
    "signal",
    "start",
    "start_job",
    "trigger_schedule",
    "wait_for_outcome",
    "wait_until_cancelled",
    "wait_until_listed",
]
