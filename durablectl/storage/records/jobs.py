"""What a bulk job stores beside its workflow: the ids that it is about, how far it is, and why some did not change.

The ids are stored before the job is started, or before it changes the first workflow: the selection is fixed. Progress
is written by compare-and-set: of two processors that work on one job, one stops.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from durablectl.errors import UnreadableError
from durablectl.model.jobs import ItemOutcome, ItemReport, JobProgress
from durablectl.model.names import MAX_NAME_LENGTH, is_name
from durablectl.storage.connection.rejections import WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED, EXPECTED_SUBJECT, Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.direct_get import get_last, get_many_last, messages
from durablectl.storage.streams.provision import provision_jobs, stream_info
from durablectl.storage.streams.stored_messages import parse_timestamp_us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from durablectl.storage.connection.store import Store

_IDS_PER_CHUNK = 1000
_CHUNKS_AT_ONCE = 16
_LONGEST_MESSAGE = 500
_REST_BYTES = 512
"""Of a report beside its message."""
_PROGRESS = "progress"
_IDS = "ids"
_REPORTS = "reports"


def ids_per_chunk(store: Store) -> int:
    """How many ids one message holds, whatever they are."""
    return max(1, min(_IDS_PER_CHUNK, store.max_payload // 2 // (MAX_NAME_LENGTH + 1)))


async def store_ids(store: Store, job_id: str, ids: Sequence[str], per_chunk: int) -> None:
    """Store what the job is about. Dying in between leaves ids of a job that never starts, which later jobs remove."""
    await provision_jobs(store)
    chunks = [ids[start : start + per_chunk] for start in range(0, len(ids), per_chunk)]
    for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
        await store.requests.exchange(
            [
                Request(store.subjects.job(job_id, f"{_IDS}.{number}"), "\n".join(chunk).encode())
                for number, chunk in enumerate(chunks[start : start + _CHUNKS_AT_ONCE], start)
            ]
        )


async def store_chunk(store: Store, job_id: str, number: int, ids: Sequence[str], revision: int) -> bool:
    """Store one chunk while the progress stands at ``revision``; False when another processor has written it since.

    Written again, it replaces what it wrote.
    """
    fence = {EXPECTED: str(revision), EXPECTED_SUBJECT: progress_subject(store, job_id)}
    try:
        await store.requests.publish(store.subjects.job(job_id, f"{_IDS}.{number}"), "\n".join(ids).encode(), fence)
    except WrongSequenceError:
        return False
    return True


async def load_chunk(store: Store, job_id: str, number: int) -> list[str] | None:
    """The ids of one chunk; None when it was removed."""
    raw = await get_last(store, store.subjects.jobs_stream, store.subjects.job(job_id, f"{_IDS}.{number}"))
    return None if raw is None else raw.data.decode().split("\n")


async def load_progress(store: Store, job_id: str) -> tuple[JobProgress, int]:
    """The progress and its revision; that of a job which nobody has begun, and 0, where there is none."""
    raw = await get_last(store, store.subjects.jobs_stream, store.subjects.job(job_id, _PROGRESS))
    return (JobProgress(), 0) if raw is None else (_decode_progress(raw.data, job_id), raw.sequence)


async def load_progress_of(store: Store, job_ids: Iterable[str]) -> dict[str, JobProgress]:
    """Of those jobs that have begun."""
    subjects = [store.subjects.job(job_id, _PROGRESS) for job_id in job_ids if is_name(job_id)]
    if not subjects or await stream_info(store, store.subjects.jobs_stream) is None:
        return {}
    answer = await get_many_last(store, store.subjects.jobs_stream, subjects)
    found = answer.messages if answer is not None else []
    return {(job_id := store.subjects.job_of(raw.subject)): _decode_progress(raw.data, job_id) for raw in found}


def progress_subject(store: Store, job_id: str) -> str:
    """Where the progress of a job is written."""
    return store.subjects.job(job_id, _PROGRESS)


async def replace_progress(store: Store, job_id: str, progress: JobProgress, revision: int) -> int | None:
    """Write over the progress that stands at ``revision``; the new revision, or None when another was first."""
    data = json.dumps(progress.to_json()).encode()
    subject = store.subjects.job(job_id, _PROGRESS)
    try:
        return (await store.requests.publish(subject, data, {EXPECTED: str(revision)})).sequence
    except WrongSequenceError:
        return None


async def store_reports(store: Store, job_id: str, position: int, reports: Sequence[ItemReport]) -> None:
    """Store why workflows of the batch at ``position`` did not change; written again, it replaces what it wrote."""
    room = store.max_payload // 2 // len(reports) - _REST_BYTES
    longest = max(0, min(_LONGEST_MESSAGE, room // 4))  # a character is up to four bytes
    lines = [
        json.dumps(each._replace(message=each.message[:longest]).to_json(), ensure_ascii=False) for each in reports
    ]
    subject = store.subjects.job(job_id, f"{_REPORTS}.{position}")
    await store.requests.exchange([Request(subject, "\n".join(lines).encode())])


async def load_reports(store: Store, job_id: str) -> AsyncIterator[ItemReport]:
    """Every stored report, in the order of the batches."""
    stream = store.subjects.jobs_stream
    if await stream_info(store, stream) is None:
        return
    async for message in messages(store, stream, store.subjects.job(job_id, f"{_REPORTS}.*")):
        for line in message.data.decode().split("\n"):
            yield _decode_report(line, job_id)


def removal_of_ids(store: Store, job_id: str) -> Request:
    """The write that removes what the job is about: it has ended."""
    return purge_request(store, store.subjects.jobs_stream, store.subjects.job(job_id, f"{_IDS}.*"))


def removal(store: Store, job_id: str) -> Request:
    """The write that removes everything that is stored for the job."""
    return purge_request(store, store.subjects.jobs_stream, store.subjects.job(job_id, ">"))


async def stored_jobs(store: Store) -> Mapping[str, int]:
    """The jobs that have ids stored, and when those were (microseconds)."""
    if await stream_info(store, store.subjects.jobs_stream) is None:
        return {}
    answer = await get_many_last(store, store.subjects.jobs_stream, [store.subjects.job("*", f"{_IDS}.0")])
    found = answer.messages if answer is not None else []
    return {store.subjects.job_of(raw.subject): parse_timestamp_us(raw.stored_at) for raw in found}


def _decode_report(line: str, job_id: str) -> ItemReport:
    try:
        value = json.loads(line)
        return ItemReport(
            value["invocation_id"], ItemOutcome(value["outcome"]), value.get("code", ""), value.get("message", "")
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise UnreadableError(
            f"A report of the job {job_id} cannot be read: {error}.",
            hint="A later version wrote it, or something else did; `durablectl jobs get` has the counts.",
        ) from error


def _decode_progress(data: bytes, job_id: str) -> JobProgress:
    try:
        return JobProgress.from_json(json.loads(data))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UnreadableError(
            f"The progress of the job {job_id} cannot be read: {error}.",
            hint="Something else wrote there; start the job again.",
        ) from error
