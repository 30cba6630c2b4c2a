"""What is stored, as plain data. Times are microseconds since the epoch; 0 means not set."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import WAITING_FOR, CommandKind, StepKind, WaitKind
from durablectl.model.names import is_name, is_system_handler
from durablectl.model.status import OTHER, Status
from durablectl.model.text import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence


class Payload(NamedTuple):
    """An encoded value: JSON text when ``type_name`` is empty, else the protobuf message of that full name.

    No bytes and no type name is the absent value, which is None in Python and null in JSON.
    """

    data: bytes = b""
    type_name: str = ""


NO_PAYLOAD = Payload()
INDEX_LAG = 5 * 60 * MICROSECONDS
"""How much older than its last change the index entry of a running invocation may be."""
_MOST_SUPERSEDED = 4
_MOST_JOBS = 4
_STATUSES = frozenset(Status)


@dataclass(slots=True)
class Command:
    """A message in COMMANDS; ``kind`` is a CommandKind, or a word of a later version."""

    invocation_id: str
    handler: str
    kind: str = CommandKind.START
    input: Payload = NO_PAYLOAD
    partition_key: str = ""
    created_at: int = 0
    start_token: str = ""
    parent_id: str = ""
    parent_handler: str = ""
    parent_partition_key: str = ""
    start_at: int = 0
    schedule: str = ""
    restarted_from: str = ""
    reason: str = ""
    """Of a cancellation by the parent."""


@dataclass(slots=True)
class JournalEntry:
    """One step. ``error`` is empty unless the step failed for good; ``reason_code`` says in which way.

    A wait is journaled when it begins, and again when it ends; until then ``finished_at`` is 0. ``until`` is when it
    ends by itself, ``awaited_id`` the awakeable or child that ends it.
    """

    step_number: int
    step_type: str
    kind: str = ""
    request: Payload = NO_PAYLOAD
    response: Payload = NO_PAYLOAD
    error: str = ""
    error_type: str = ""
    started_at: int = 0
    finished_at: int = 0
    attempts: int = 0
    until: int = 0
    awaited_id: str = ""
    reason_code: str = ""
    error_class: str = ""
    """The qualified name of the exception's class, where that differs from ``error_type``."""
    error_details: bytes = b""
    """The exception's ``details``, as JSON; empty for none."""
    order: int = 0
    """The place of its end among all ends of the journal, from 1; 0 before the end, and in journals of before."""
    encoded: bytes = field(default=b"", compare=False, repr=False)
    """As it stands in the stream; kept so that folding need not encode it again."""


@dataclass(slots=True)
class PendingWait:
    """What an invocation that does not move waits for; ``until`` 0 means that only an event moves it."""

    kind: str
    name: str
    step_number: int
    until: int = 0
    attempt: int = 0
    error: str = ""
    awaited_id: str = ""
    reason_code: str = ""
    """Of ``error``."""
    since: int = 0
    """Of a retry: when the first attempt failed."""


def named_waits(handler: str, waits: Iterable[PendingWait]) -> str:
    """The kinds of these waits as the index names them: sorted, joined by "+"; none for durablectl's own handlers."""
    if is_system_handler(handler):
        return ""
    return "+".join(sorted({waiting.kind for waiting in waits if is_name(waiting.kind)}))


@dataclass(slots=True)
class Signal:
    """``number`` counts the signals of an invocation from 1."""

    name: str
    data: Payload = NO_PAYLOAD
    sent_at: int = 0
    number: int = 0


@dataclass(slots=True)
class DroppedSteps:
    """Part of a journal that a retry has dropped."""

    dropped_at: int
    reason: str
    entries: list[JournalEntry] = field(default_factory=list)


@dataclass(slots=True)
class Awakeable:
    awakeable_id: str
    invocation_id: str
    resolved: bool = False
    result: Payload = NO_PAYLOAD
    error: str = ""
    created_at: int = 0
    name: str = ""


class SupersededEntry(NamedTuple):
    """The status and time (microseconds) of an index entry, and the waits that it names."""

    status: str
    at: int
    waits: str = ""


class FailedStep(NamedTuple):
    """The step that a workflow failed with.

    Its own message begins at ``message_at`` (characters) in the error of the workflow; 0 where that is another error,
    raised because of the step's.
    """

    step_number: int
    step_type: str
    message_at: int = 0


class StepMismatch(NamedTuple):
    """What a journal holds at a step, and what the code asked for there: nothing, if it ended after ``ended_after``."""

    step_number: int
    recorded_kind: str
    recorded_type: str
    asked_kind: str = ""
    asked_type: str = ""
    ended_after: int = 0
    recorded_request: str = ""
    asked_request: str = ""
    error: str = ""
    is_waiting: bool = False

    def sentence(self) -> str:
        if self.recorded_request or self.asked_request:
            passed = f"is recorded with {self.recorded_request}, but the code now passes {self.asked_request}"
            return f"step {self.step_number} {self.asked_type!r} {passed}"
        if not self.asked_type:
            ended = (
                f"waits after {self.ended_after} steps" if self.is_waiting else f"ends after {self.ended_after} steps"
            )
            error = f", with {self.error}" if self.error else ""
            return f"step {self.step_number} is recorded as {self.recorded_type!r}, but the code now {ended}{error}"
        recorded, asked = (
            f"the {kind or StepKind.STEP} {step_type!r}"
            for kind, step_type in ((self.recorded_kind, self.recorded_type), (self.asked_kind, self.asked_type))
        )
        return f"step {self.step_number} is recorded as {recorded}, but the code now asks for {asked}"


@dataclass(slots=True)
class Execution:
    """The state record of one invocation: the value of its key in EXECUTION_STATE.

    ``status`` is a plain string because other writers may store words of their own.
    """

    invocation_id: str
    handler: str
    status: str = Status.PENDING
    current_step: int = -1
    current_step_type: str = ""
    journal: list[JournalEntry] = field(default_factory=list)
    output: Payload = NO_PAYLOAD
    workflow_state: dict[str, Payload] = field(default_factory=dict)
    awakeables: dict[str, Awakeable] = field(default_factory=dict)
    input: Payload = NO_PAYLOAD
    error: str = ""
    error_type: str = ""
    error_class: str = ""
    error_details: bytes = b""
    traceback: str = ""
    reason: str = ""
    partition_key: str = ""
    owner: str = ""
    attempt: int = 0
    total_steps: int = 0
    created_at: int = 0
    started_at: int = 0
    updated_at: int = 0
    finished_at: int = 0
    waiting_for: PendingWait | None = None
    parent_id: str = ""
    start_token: str = ""
    indexed_at: int = 0
    command_sequence: int = 0
    journal_length: int = 0
    superseded_entries: list[SupersededEntry] = field(default_factory=list)
    crashes: int = 0
    crash_mark: int = 0
    cancel_requested: bool = False
    compensations: int = 0
    waits: list[PendingWait] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    history: list[DroppedSteps] = field(default_factory=list)
    parent_handler: str = ""
    parent_partition_key: str = ""
    start_at: int = 0
    schedule: str = ""
    restarted_from: str = ""
    restarted_as: str = ""
    signals_sent: int = 0
    deadline: int = 0
    timer_attempt: int = 0
    expires_at: int = 0
    indexed_as: str = ""
    reason_code: str = ""
    cancel_reason: str = ""
    failed_step: FailedStep | None = None
    mismatch: StepMismatch | None = None
    retry_now_at: int = 0
    step_to_restart: int = 0
    restart_asked_at: int = 0
    last_owner: str = ""
    version: str = ""
    app_version: str = ""
    changed_by_jobs: list[str] = field(default_factory=list)

    def copy(self) -> Execution:
        """With the same lists and maps. copy.copy takes three times as long, and every write of a state copies."""
        return Execution(*_every_field(self))

    def has_result(self, waiting: PendingWait, ended: Collection[str] = ()) -> bool:
        """Whether what ends this wait, other than its time, is there; ``ended`` are ids of children that have ended."""
        answer = self.awakeables.get(waiting.awaited_id)
        return (
            waiting.awaited_id in ended
            or (answer is not None and answer.resolved)
            or (waiting.kind == WaitKind.SIGNAL and any(s.name == waiting.name.partition(":")[2] for s in self.signals))
        )

    def release(self) -> None:
        """Leave it without an owner, and note which processor that was."""
        self.owner, self.last_owner = "", self.owner or self.last_owner

    def set_reason(self, code: str = "", text: str = "", mismatch: StepMismatch | None = None) -> None:
        """Say why it has its status, with a code for programs and a text for people; without both, nothing needs it."""
        self.reason_code = code
        self.reason = storable(text)
        self.mismatch = mismatch

    def request_cancellation(self, code: str, text: str = "") -> None:
        """Note that it is to be cancelled, and why; ``text`` becomes its reason when it has ended."""
        self.cancel_requested = True
        self.cancel_reason = storable(text)
        self.set_reason(code, f"cancelling: {text}" if text else "cancelling")

    def mark_job(self, job_id: str) -> None:
        """Note that a bulk job changes it with the write to come, so that the job does not change it twice."""
        self.changed_by_jobs = [*self.changed_by_jobs, job_id][-_MOST_JOBS:]

    @property
    def index_group(self) -> str:
        """The status under which the index has it."""
        group = self.indexed_as or self.status
        return group if group in _STATUSES else OTHER

    @property
    def index_waits(self) -> str:
        """The kinds of waits that its index entry names; empty where the entry names none."""
        return self.suspended_waits if self.indexed_as == Status.SUSPENDED else ""

    @property
    def suspended_waits(self) -> str:
        """What it waits for while it is suspended: the kinds of its waits, sorted and joined by "+"."""
        return named_waits(self.handler, self.waits) if self.status == Status.SUSPENDED else ""

    @property
    def waiting_kinds(self) -> frozenset[str]:
        """What it waits for, as filters call that (WaitingFor); one that is due and not taken says so by ``due_at``."""
        waits: Sequence[PendingWait | None] = ()
        if self.status == Status.SUSPENDED:
            waits = self.waits
        elif self.status in {Status.RUNNING, Status.PENDING}:
            waits = [self.waiting_for]
        return frozenset(WAITING_FOR[each.kind] for each in waits if each is not None and each.kind in WAITING_FOR)

    @property
    def step_names(self) -> frozenset[str]:
        """The steps and waits at which it is, or with which it failed: ``charge``, ``signal:go``."""
        if self.status == Status.FAILED:
            return frozenset() if self.failed_step is None else frozenset({self.failed_step.step_type})
        waits = self.waits if self.status == Status.SUSPENDED else ()
        return frozenset({self.current_step_type, *(waiting.name for waiting in waits)} - {""})

    @property
    def due_at(self) -> int:
        """From when on a processor can begin or resume it, in microseconds; 0 where only an event can tell."""
        if self.status == Status.PENDING:
            return max(1, self.start_at)
        if self.status != Status.SUSPENDED:
            return 0
        if any(map(self.has_result, self.waits)):
            return 1
        return min((each for each in (self.deadline, *(waiting.until for waiting in self.waits)) if each), default=0)

    def suspend(self, waits: list[PendingWait]) -> None:
        """Say what it waits for, the first of ``waits`` first, in the record and in its index entry."""
        self.waits = waits
        self.waiting_for = waits[0]
        self.current_step, self.current_step_type = waits[0].step_number, waits[0].name
        self.name_waits_in_index()

    def name_waits_in_index(self) -> None:
        """Have the index entry of a suspended workflow name its waits.

        The mark is a field that earlier versions keep: entries of theirs name none, and neither do their records.
        """
        if self.suspended_waits:
            self.indexed_as = Status.SUSPENDED

    def enter_status(self, status: Status, timestamp_us: int) -> None:
        """Change the status at ``timestamp_us``, remembering the index entry that this leaves behind.

        What runs and goes on running keeps its entry until that is INDEX_LAG old.
        """
        group = self.index_group
        if status != group or status != Status.RUNNING or timestamp_us - self.indexed_at >= INDEX_LAG:
            # More than one: whoever wrote the state before may have died before it wrote the index.
            self.superseded_entries = [*self.superseded_entries, *self._entries(group)][-_MOST_SUPERSEDED:]
            self.indexed_at = timestamp_us
        self.indexed_as = ""
        self.status = status
        self.updated_at = max(timestamp_us, self.indexed_at)

    def _entries(self, group: str) -> list[SupersededEntry]:
        """The index entries that it may have now: two where a repair may have replaced one of an earlier version."""
        unsaid = self.suspended_waits if self.indexed_as != Status.SUSPENDED else ""
        repaired = [SupersededEntry(group, self.indexed_at, unsaid)] if unsaid else []
        return [*repaired, SupersededEntry(group, self.indexed_at, self.index_waits)]

    def mark_started(self, timestamp_us: int) -> None:
        """Enter RUNNING from a claim. Of what was pending the index learns only once it has run for a while."""
        if self.index_group == Status.PENDING:
            self.indexed_as = Status.PENDING
            self.status = Status.RUNNING
            self.updated_at = max(timestamp_us, self.indexed_at)
        else:
            self.enter_status(Status.RUNNING, timestamp_us)


_every_field: Callable[[Execution], tuple[Any, ...]] = attrgetter(*(each.name for each in fields(Execution)))


def pending_execution(command: Command) -> Execution:
    """The first state of an invocation, the same whether the client or the processor writes it."""
    return Execution(
        invocation_id=command.invocation_id,
        handler=command.handler,
        input=command.input,
        partition_key=command.partition_key,
        created_at=command.created_at,
        updated_at=command.created_at,
        indexed_at=command.created_at,
        parent_id=command.parent_id,
        start_token=command.start_token,
        parent_handler=command.parent_handler,
        parent_partition_key=command.parent_partition_key,
        start_at=command.start_at,
        schedule=command.schedule,
        restarted_from=command.restarted_from,
    )
