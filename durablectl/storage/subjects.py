"""Every stream, bucket and subject name of a namespace.

The default namespace has the names of the specification; any other adds ``_<namespace>`` to streams and buckets and
``-<namespace>`` to the first token of its subjects, so that no id can make two namespaces meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

from durablectl.errors import UnreadableError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.names import is_system_handler

NO_PARTITION = "~"
"""Stands for "no partition key" in a subject; not a character that a key may hold."""

SYSTEM = "~"
"""Stands where an index entry has its status, if its handler is durablectl's own: no filter on statuses meets it."""
WAITS = "~"
"""Separates a handler from the waits that an index entry names."""

RECURRENCE = "~"
"""Stands where the timers of an invocation have its id."""


@lru_cache(maxsize=64)
def _time(seconds: int) -> str:
    """Day, hour, minute and second of so many seconds after the epoch, as four tokens."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d.%H.%M.%S")
    except (ValueError, OverflowError, OSError) as error:
        raise UnreadableError(f"{seconds} s after the epoch is no time that an index entry can have.") from error


@lru_cache(maxsize=64)
def _seconds(day: str, hour: str, minute: str, second: str) -> int:
    date = datetime(int(day[:4]), int(day[4:6]), int(day[6:]), int(hour), int(minute), int(second), tzinfo=UTC)
    return int(date.timestamp())


def waiting_handler(handler: str, waits: str) -> str:
    """The token of an index subject that names a handler, and what its workflow waits for."""
    return f"{handler}{WAITS}{waits}" if waits else handler


class IndexEntry(NamedTuple):
    """What an index subject says; ``timestamp_us`` in microseconds, ``partition_key`` empty for none.

    ``waits`` are the kinds of waits of what is suspended, joined by "+"; empty where the entry does not name them.
    """

    group: str
    timestamp_us: int
    handler: str
    partition_key: str
    invocation_id: str
    waits: str = ""


@dataclass(frozen=True)
class Subjects:
    namespace: str = ""

    @cached_property
    def _suffix(self) -> str:
        return f"_{self.namespace}" if self.namespace else ""

    @cached_property
    def _dash(self) -> str:
        return f"-{self.namespace}" if self.namespace else ""

    @cached_property
    def commands_stream(self) -> str:
        return f"COMMANDS{self._suffix}"

    @cached_property
    def state_bucket(self) -> str:
        return f"EXECUTION_STATE{self._suffix}"

    @cached_property
    def state_stream(self) -> str:
        return f"KV_{self.state_bucket}"

    @cached_property
    def index_stream(self) -> str:
        return f"EXECUTION_INDEX{self._suffix}"

    @cached_property
    def processors_bucket(self) -> str:
        return f"DURABLE_PROCESSORS{self._suffix}"

    @cached_property
    def processors_stream(self) -> str:
        return f"KV_{self.processors_bucket}"

    @cached_property
    def jobs_stream(self) -> str:
        return f"DURABLE_JOBS{self._suffix}"

    @cached_property
    def audit_stream(self) -> str:
        return f"DURABLE_AUDIT{self._suffix}"

    @cached_property
    def _state_prefix(self) -> str:
        return f"$KV.{self.state_bucket}."

    @cached_property
    def _journal_prefix(self) -> str:
        return f"durable{self._dash}.journal."

    @cached_property
    def _type_prefix(self) -> str:
        return f"durable{self._dash}.type."

    @cached_property
    def _handler_prefix(self) -> str:
        return f"durable{self._dash}.handler."

    @cached_property
    def _index_prefix(self) -> str:
        return f"durable{self._dash}.index."

    @cached_property
    def _commands_prefix(self) -> str:
        return f"commands{self._dash}."

    def state(self, invocation_id: str) -> str:
        return self._state_prefix + invocation_id

    @cached_property
    def all_states(self) -> str:
        return self._state_prefix + ">"

    def state_key(self, subject: str) -> str:
        """The invocation id of a state's subject."""
        return subject[len(self._state_prefix) :]

    def is_state(self, subject: str) -> bool:
        return subject.startswith(self._state_prefix)

    def journal(self, invocation_id: str, step: int | str) -> str:
        return f"{self._journal_prefix}{invocation_id}.{step}"

    def type(self, type_name: str) -> str:
        return self._type_prefix + type_name

    def type_name(self, subject: str) -> str:
        return subject[len(self._type_prefix) :]

    def command(self, handler: str, partition_key: str) -> str:
        return f"{self._commands_prefix}{handler}.{partition_key or NO_PARTITION}"

    def handler_commands(self, handler: str) -> str:
        return f"{self._commands_prefix}{handler}.>"

    @cached_property
    def all_commands(self) -> str:
        return self._commands_prefix + ">"

    @cached_property
    def unrouted_commands(self) -> str:
        """Commands as other implementations publish them: one token, the partition."""
        return self._commands_prefix + "*"

    def index(
        self, group: str, timestamp_us: int, handler: str, partition_key: str, invocation_id: str, *, waits: str = ""
    ) -> str:
        """The index entry of an invocation that entered the status ``group`` at ``timestamp_us`` microseconds.

        The time is tokens, so that filters can name a day, an hour, a minute or a second; what is left of it, six
        digits, stands before the id. ``waits`` are part of the handler's token: ``checkout~signal+sleep``.
        """
        seconds, rest = divmod(timestamp_us, MICROSECONDS)
        partition = partition_key or NO_PARTITION
        token = waiting_handler(handler, waits)
        kind = f"{SYSTEM}.{handler}.{group}" if is_system_handler(handler) else f"{group}.{token}"
        return f"{self._index_prefix}{kind}.{_time(seconds)}.{partition}.{rest:06}~{invocation_id}"

    def index_filter(self, group: str = "*", time: str = "*.*.*.*", handler: str = "*", partition: str = "*") -> str:
        """A filter on index entries; ``time`` has four tokens. NO_PARTITION finds those without a partition key.

        Those of durablectl's own handlers match where the handler is named, or where nothing is asked for at all.
        """
        if is_system_handler(handler):
            return f"{self._index_prefix}{SYSTEM}.{handler}.{group}.{time}.{partition}.*"
        if (time, partition) != ("*.*.*.*", "*"):
            return f"{self._index_prefix}{group}.{handler}.{time}.{partition}.*"
        if handler != "*":
            return f"{self._index_prefix}{group}.{handler}.>"
        return self._index_prefix + (">" if group == "*" else f"{group}.>")

    def system_index_filter(self, group: str = "*") -> str:
        """A filter on the index entries of durablectl's own handlers."""
        return f"{self._index_prefix}{SYSTEM}." + (">" if group == "*" else f"*.{group}.>")

    def index_entry(self, subject: str) -> IndexEntry:
        """Raises ValueError for a subject that is none."""
        tokens = subject[len(self._index_prefix) :].split(".")
        if tokens[0] == SYSTEM:
            _, token, group, day, hour, minute, second, partition, last = tokens
        else:
            group, token, day, hour, minute, second, partition, last = tokens
        handler, _, waits = token.partition(WAITS)
        rest, _, invocation_id = last.partition("~")
        timestamp_us = _seconds(day, hour, minute, second) * MICROSECONDS + int(rest)
        key = "" if partition == NO_PARTITION else partition
        return IndexEntry(group, timestamp_us, handler, key, invocation_id, waits)

    def handler(self, name: str) -> str:
        """By which the handlers that there are can be named; the message is empty."""
        return f"{self._handler_prefix}{name}"

    def handler_waits(self, handler: str, waits: str) -> str:
        """By which those ``waits`` that index entries of a handler have named can be found; the message is empty."""
        return f"{self._handler_prefix}{handler}.{waits}"

    def handler_of(self, subject: str) -> str:
        return subject[len(self._handler_prefix) :]

    def presence(self, processor_id: str) -> str:
        """The record of a processor of the last hour; deeper than the handlers: no filter of theirs finds it."""
        return f"{self._handler_prefix}{RECURRENCE}.processor.{processor_id}"

    def rejected(self, sequence: int | str) -> str:
        """Where a command that cannot be read is set aside, by its sequence in COMMANDS."""
        return f"durable{self._dash}.rejected.{sequence}"

    def timer(self, invocation_id: str, name: str) -> str:
        return f"schedules{self._dash}.{invocation_id}.{name}"

    def timer_owner(self, subject: str) -> str:
        """The invocation id of a timer's subject; RECURRENCE of a schedule's."""
        return subject.split(".")[1]

    def schedule(self, name: str) -> str:
        """The record of a schedule."""
        return f"durable{self._dash}.schedule.{name}"

    def recurrence(self, name: str) -> str:
        """The message schedule of a schedule, beside the timers of invocations."""
        return f"schedules{self._dash}.{RECURRENCE}.{name}"

    @cached_property
    def index_marker(self) -> str:
        """The record that says for which index stream every workflow is entered; no filter on handlers finds it."""
        return f"{self._handler_prefix}{RECURRENCE}.index.complete"

    @cached_property
    def commands_marker(self) -> str:
        """A message that says that the commands are complete; it is gone when they were lost or purged."""
        return self.recurrence(RECURRENCE)

    def fires(self, handler: str, name: str) -> str:
        """Where a schedule's fires arrive: a partition of its own, which no key can be."""
        return f"{self._commands_prefix}{handler}.{NO_PARTITION}{name}"

    def job(self, job_id: str, part: str) -> str:
        """A part of what is stored for a bulk job; ``part`` may hold dots and wildcards."""
        return f"durable{self._dash}.job.{job_id}.{part}"

    def job_of(self, subject: str) -> str:
        """The job id of such a subject."""
        return subject.split(".")[2]

    def audit(self, name: str) -> str:
        """Where changes of a workflow, or of a schedule, are recorded; "*" for those of the whole namespace."""
        return f"durable{self._dash}.audit.{name or NO_PARTITION}"

    @cached_property
    def all_audit(self) -> str:
        return self.audit("*")

    def notifications(self, processor_id: str) -> str:
        """Where a processor hears of states that have changed; no stream stores it."""
        return f"durable{self._dash}.poke.{processor_id}"

    @cached_property
    def state_stream_subjects(self) -> list[str]:
        return [
            self.all_states,
            self._journal_prefix + ">",
            self._type_prefix + ">",
            self._handler_prefix + ">",
            f"durable{self._dash}.rejected.>",
            f"durable{self._dash}.schedule.>",
        ]

    @cached_property
    def index_stream_subjects(self) -> list[str]:
        return [self._index_prefix + ">"]

    @cached_property
    def commands_stream_subjects(self) -> list[str]:
        return [self.all_commands, f"schedules{self._dash}.>"]

    @cached_property
    def jobs_stream_subjects(self) -> list[str]:
        return [f"durable{self._dash}.job.>"]

    @cached_property
    def audit_stream_subjects(self) -> list[str]:
        return [self.all_audit]

    @cached_property
    def processors_subjects(self) -> list[str]:
        return [f"$KV.{self.processors_bucket}.>"]

    def processor(self, processor_id: str) -> str:
        return f"$KV.{self.processors_bucket}.{processor_id}"

    def processor_of(self, subject: str) -> str:
        """The processor id of a lease's subject."""
        return subject.rpartition(".")[2]
