"""An example of each answer, for the description of the API; a test holds them against the schemas."""

from __future__ import annotations

from typing import Any

_STEP: dict[str, Any] = {
    "step_number": 0,
    "step_type": "HelloService.SayHello",
    "kind": "call",
    "request": {"name": "User:user-001"},
    "response": {"message": "Hello, User:user-001!"},
    "error": "",
    "error_type": None,
    "attempts": 1,
    "started_at": "2026-11-22T09:00:00.100000Z",
    "finished_at": "2026-11-22T09:00:00.120000Z",
    "until": None,
    "awaited_id": None,
    "reason_code": None,
}
_WAITING: dict[str, Any] = {
    "kind": "awakeable",
    "name": "approval",
    "step_number": 1,
    "until": "2026-11-29T09:00:00Z",
    "attempt": None,
    "error": None,
    "awaited_id": "abc-123-def-456.approval",
    "reason_code": None,
}
_ROW: dict[str, Any] = {
    "invocation_id": "abc-123-def-456",
    "handler": "async_workflow",
    "status": "suspended",
    "current_step": 1,
    "current_step_type": "awakeable:approval",
    "total_steps": 2,
    "input": "user-001",
    "output": None,
    "error": None,
    "error_type": None,
    "traceback": None,
    "reason": None,
    "reason_code": None,
    "partition_key": "user-001",
    "attempt": 1,
    "owner": None,
    "last_owner": "worker-1-4711-a1b2c3",
    "version": "0.1.0",
    "app_version": "2.4.1",
    "waiting_for": _WAITING,
    "workflow_state": {"cart": ["apple"]},
    "created_at": "2026-11-22T09:00:00Z",
    "started_at": "2026-11-22T09:00:00.050000Z",
    "updated_at": "2026-11-22T09:00:00.150000Z",
    "finished_at": None,
    "parent_id": None,
    "revision": 41,
    "schedule": None,
    "restarted_from": None,
    "restarted_as": None,
    "expires_at": None,
}
_PAGE = {"workflows": [_ROW], "total": 2, "next_cursor": "LTE3NjM4MDQ4MDAwMDAwMDB-YWJjLTEyMw"}


def _failure(code: str, message: str, hint: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}


_JOB: dict[str, Any] = {
    "job_id": "job-0a1b2c3d4e",
    "operation": "cancel",
    "status": "running",
    "filters": ["--handler", "checkout"],
    "reason": "the shop is closed",
    "now": False,
    "from_step": None,
    "actor": "ada@desk",
    "total": 20000,
    "is_selecting": False,
    "done": 1204,
    "changed": 1200,
    "unchanged": 1,
    "skipped": 2,
    "failed": 1,
    "left": 18796,
    "reports_kept": 3,
    "rate_limit": None,
    "recent_rate": 412.5,
    "eta_seconds": 45.6,
    "waits_for_processor": False,
    "owner": "worker-1-4711-a1b2c3",
    "error": None,
    "status_reason": None,
    "created_at": "2026-11-22T09:00:00Z",
    "started_at": "2026-11-22T09:00:00.050000Z",
    "updated_at": "2026-11-22T09:00:03.150000Z",
    "finished_at": None,
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "get_workflow": {
        **_ROW,
        "children": [],
        "journal": [_STEP],
        "journal_start": 0,
        "journal_length": 1,
        "history": [],
        "unclaimed": [],
    },
    "list_workflows": _PAGE,
    "list_active": _PAGE,
    "stats": {
        "total": 150,
        "by_status": {"completed": 140, "suspended": 10},
        "by_handler": {"async_workflow": 150},
        "by_handler_status": {"async_workflow": {"completed": 140, "suspended": 10}},
        "oldest_active": _ROW,
        "completed_per_minute": 2.5,
        "completed_per_minute_last_hour": 1.75,
        "set_aside": 0,
    },
    "status": {
        "needs_person": True,
        "checked_at": "2026-11-22T09:00:00Z",
        "groups": [
            {
                "code": "retrying",
                "severity": "warning",
                "summary": "60 workflows of checkout retry step charge: the bank is away",
                "count": 60,
                "is_estimate": False,
                "since": "2026-11-22T08:48:00Z",
                "recent": 12,
                "is_growing": True,
                "examples": ["order-17", "order-18", "order-19"],
                "commands": [{"command": "durablectl wf why order-17", "purpose": "look at one of them"}],
                "details": {"handler": "checkout", "step": "charge", "attempts": 7},
            }
        ],
        "moving": {
            "by_status": {"completed": 140, "running": 60},
            "completed_per_minute": {"last_5_minutes": 2.5, "last_hour": 1.75},
            "backlog": 0,
            "backlog_eta_seconds": None,
            "oldest_active": {
                "invocation_id": "order-17",
                "handler": "checkout",
                "status": "running",
                "created_at": "2026-11-22T08:48:00Z",
            },
        },
        "processors": {"live": 1, "slots": 100, "busy": 60},
        "schedules": 0,
    },
    "processors": {
        "processors": [
            {
                "processor_id": "p-7f3a",
                "handlers": ["async_workflow"],
                "version": "0.1.0",
                "app_version": "2.4.1",
                "host": "worker-1",
                "process_id": 4711,
                "slots": 100,
                "busy": 3,
                "started_at": "2026-11-22T08:00:00Z",
                "blocked_since": None,
                "blocked_by": None,
                "full": False,
                "clock_error_seconds": 0.0,
            }
        ],
        "lost": [],
    },
    "invoke": {"invocation_id": "order-17"},
    "list_audit": {
        "changes": [
            {
                "at": "2026-11-22T12:00:00.000Z",
                "action": "cancel",
                "actor": "ann@laptop",
                "via": "cli",
                "address": None,
                "nats_user": "ops",
                "invocation_id": "order-17",
                "handler": "async_workflow",
                "target": None,
                "reason": "ordered by mistake",
                "refused": None,
                "details": {"now": True},
            }
        ]
    },
    "start_job": _JOB,
    "get_job": _JOB,
    "list_jobs": {"jobs": [_JOB], "total": 1, "next_cursor": None},
    "job_reports": {
        "job_id": "job-0a1b2c3d4e",
        "reports": [
            {
                "invocation_id": "order-17",
                "outcome": "failed",
                "code": "invalid_state",
                "message": "The workflow order-17 is completed and cannot be cancelled.",
            }
        ],
        "next_offset": None,
    },
    "operation_result": {
        "invocation_id": "abc-123-def-456",
        "status": "paused",
        "changed": True,
        "message": "Paused.",
        "restarted_from": None,
    },
    "health": {"status": "healthy", "nats": "connected", "version": "0.1.0"},
    "unhealthy": {"status": "unhealthy", "nats": "disconnected", "version": "0.1.0"},
    "400": _failure("usage", "The parameter limit cannot be used: 'abc' is not a whole number."),
    "401": _failure("unauthorised", "This API needs its token.", "Send it as `Authorization: Bearer TOKEN`."),
    "403": _failure("foreign_origin", "Pages of other origins may change nothing here."),
    "404": _failure("not_found", "There is no workflow abc-123.", "GET /api/workflows lists those that there are."),
    "408": _failure("timed_out", "The body did not come within 30 s."),
    "409": _failure("invalid_state", "The workflow abc-123 is completed and cannot be resumed."),
    "412": _failure("stale_revision", "The workflow abc-123 is at revision 44, not 41 any more.", "Look at it again."),
    "413": _failure("payload_too_large", "The body is larger than 2,097,152 bytes."),
    "503": _failure("cannot_connect", "The NATS server cannot be reached.", "Try again a little later."),
}
