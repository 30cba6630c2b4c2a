"""Handlers of durablectl's own: reserved, indexed apart, and left out of what asks for no handler."""

import pytest

from durablectl import workflow
from durablectl.errors import AppError, InvalidNameError
from durablectl.model.codec import decode_execution, encode_execution
from durablectl.model.filters import Filters
from durablectl.model.names import JOB_HANDLER, validate_app_handler
from durablectl.model.records import Execution
from durablectl.storage.subjects import Subjects

_MOMENT = 1_764_500_000_123_456


def test_app_cannot_register_a_reserved_handler() -> None:
    with pytest.raises(AppError, match="reserved"):

        @workflow(name=JOB_HANDLER)
        async def mine(ctx: object) -> None: ...


def test_reserved_handler_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidNameError, match="durablectl-anything"):
        validate_app_handler("handler", "durablectl-anything")
    assert validate_app_handler("handler", "durablectl") == "durablectl"


def test_system_index_entry_reads_back() -> None:
    subjects = Subjects("shop")
    subject = subjects.index("running", _MOMENT, JOB_HANDLER, "", "job-1")
    assert subjects.index_entry(subject) == ("running", _MOMENT, JOB_HANDLER, "", "job-1", "")


def test_filters_on_statuses_do_not_meet_system_entries() -> None:
    subjects = Subjects()
    subject = subjects.index("running", _MOMENT, JOB_HANDLER, "", "job-1")
    assert not _meets(subjects.index_filter("running"), subject)
    assert not _meets(subjects.index_filter(handler="running"), subject)
    assert not _meets(subjects.index_filter(time="*.*.*.*", partition="~"), subject)
    assert _meets(subjects.index_filter("running", handler=JOB_HANDLER), subject)
    assert _meets(subjects.index_filter(handler=JOB_HANDLER), subject)
    assert _meets(subjects.system_index_filter(), subject)
    assert _meets(subjects.system_index_filter("running"), subject)
    assert not _meets(subjects.system_index_filter("failed"), subject)


def test_filters_match_system_workflows_only_by_name() -> None:
    job = Execution("job-1", JOB_HANDLER)
    assert not Filters().match(job)
    assert not Filters(statuses=frozenset({"pending"})).match(job)
    assert Filters(handlers=frozenset({JOB_HANDLER})).match(job)


def test_record_remembers_the_last_four_jobs() -> None:
    execution = Execution("a", "b")
    for number in range(6):
        execution.mark_job(f"job-{number}")
    read = decode_execution(encode_execution(execution), "a")
    assert read.changed_by_jobs == ["job-2", "job-3", "job-4", "job-5"]


def _meets(wanted: str, subject: str) -> bool:
    tokens, pattern = subject.split("."), wanted.split(".")
    if pattern[-1] == ">":
        tokens, pattern = tokens[: len(pattern) - 1], pattern[:-1]
    return len(tokens) == len(pattern) and all(p in {"*", t} for t, p in zip(tokens, pattern, strict=True))
