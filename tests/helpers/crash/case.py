"""One case of the crash sweep: its namespace, its processes, what they have done, and whether that is right."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from durablectl import query
from durablectl.control import repair
from durablectl.errors import DurableError, UnreadableError
from durablectl.model.names import awakeable_id_of
from durablectl.model.status import is_terminal
from durablectl.query.doctor_checks import Severity
from durablectl.query.full_scan import scan
from durablectl.storage.records import states
from helpers.crash.zygote import operate
from helpers.index_listing import list_index_entries
from helpers.stored_commands import count_commands
from helpers.stored_records import list_journal_subjects, list_subjects, read_journal
from helpers.waiting import NotInTimeError, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store
    from helpers.crash.forking import Forked, Zygote

SECONDS = 90
QUIET_SECONDS = 60
RUN = frozenset({"step", "compensation"})


@dataclass
class Scenario:
    """``drive`` leads from the start to the end, whoever dies meanwhile. ``ends`` are statuses by id ("a or b").

    ``left`` is how many messages of journals may be left.

    With ``operation`` the one that dies is a client that does this; it is done again by another afterwards. Else it is
    a processor, alone until it is dead.
    """

    name: str
    drive: Callable[[Case], Awaitable[None]]
    ends: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Case], Awaitable[None]] | None = None
    operation: Callable[[Case], Awaitable[list[Any]]] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    stop_after: float = 0
    is_bare: bool = False
    keeps_steps: bool = True
    has_processor: bool = True
    has_gaps: bool = False
    left: tuple[int, ...] = (0,)
    ailment: str = ""


@dataclass
class Case:
    scenario: Scenario
    crash_at: str
    store: Store
    settings: Settings
    zygote: Zygote
    directory: Path
    died: bool = False
    recorded: set[tuple[str, str]] = field(default_factory=set)
    ran: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def effects_file(self) -> Path:
        return self.directory / f"{self.settings.namespace}.effects"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.settings.namespace}.log"

    def fork(self, role: str, **job: Any) -> Forked:
        return self.zygote.fork(
            {
                "role": role,
                "url": self.settings.url,
                "namespace": self.settings.namespace,
                "effects": str(self.effects_file),
                "log": str(self.log),
                **job,
            }
        )

    def processor(self, **job: Any) -> Forked:
        return self.fork("processor", options=self.scenario.options, **job)

    def repair(self) -> None:
        self.effects_file.with_name(self.effects_file.name + ".mended").touch()

    def release_steps(self) -> None:
        """The step of `held`."""
        self.effects_file.with_name(self.effects_file.name + ".let-go").touch()

    async def executions(self) -> list[Execution]:
        return [scanned.execution async for scanned in scan(self.store)]

    async def execution(self, invocation_id: str = "w") -> Execution | None:
        stored = await states.load(self.store, invocation_id)
        return None if stored is None else stored.execution

    async def reaches(self, *statuses: str, id: str = "w", waits_for: str = "") -> Execution:
        async def there() -> Execution | None:
            found = await self.execution(id)
            if found is None or found.status not in statuses:
                return None
            kinds = {wait.kind for wait in found.waits}
            return found if not waits_for or kinds & {*waits_for.split(" or ")} else None

        return await wait_until(there, SECONDS, 0.05)

    async def do(self, name: str, *args: Any, **options: Any) -> Any:
        """As a person would, who is told that it was done before."""
        with contextlib.suppress(DurableError):
            return await operate(self.store, name, list(args), options)

    async def start(self, handler: str, *input: Any, id: str = "w", **more: Any) -> None:
        await operate(self.store, "start", [handler, *(input or [None]), id], more)

    async def resolve(self) -> None:
        await self.reaches("suspended", waits_for="awakeable")
        await self.do("resolve", awakeable_id_of("w", "ok", 1), "fine")

    def effects(self) -> Counter[tuple[str, str]]:
        text = self.effects_file.read_text() if self.effects_file.exists() else ""
        return Counter((line.split()[0], line.split()[1]) for line in text.splitlines())

    async def journaled(self, invocation_id: str) -> list[JournalEntry]:
        """Nothing where a scenario has damaged it."""
        try:
            return await read_journal(self.store, invocation_id)
        except UnreadableError:
            return []

    async def remember(self) -> None:
        """What is recorded: none of it may run again."""
        for execution in await self.executions():
            entries = {entry.step_number: entry for entry in execution.journal}
            entries |= {entry.step_number: entry for entry in await self.journaled(execution.invocation_id)}
            self.recorded |= {
                (execution.invocation_id, entry.step_type)
                for entry in entries.values()
                if entry.kind in {"step", "compensation"} and not entry.error
            }
        self.ran = self.effects()

    async def problems(self) -> list[str]:
        """What is not as it should be, now."""
        executions = await self.executions()
        found = self._wrong_statuses({each.invocation_id: each.status for each in executions})
        ran = self.effects()
        for each in executions:
            entries = each.journal or await self.journaled(each.invocation_id)
            if not self.scenario.has_gaps and [entry.step_number for entry in entries] != list(range(len(entries))):
                found.append(f"journal of {each.handler}: {[(e.step_number, e.step_type) for e in entries]}")
            recorded = [(each.invocation_id, e.step_type) for e in entries if e.kind in RUN and not e.error]
            found += [f"{key} is recorded, and never ran" for key in recorded if not ran[key]]
        if self.scenario.keeps_steps:
            found += [f"{key} was recorded and ran again" for key in self.recorded if ran[key] != self.ran[key]]
        return found + await self._left() + await self._index(executions)

    def _wrong_statuses(self, statuses: dict[str, str]) -> list[str]:
        ends = self.scenario.ends
        found = [
            f"{invocation_id} is {statuses.get(invocation_id)}, not {status}"
            for invocation_id, status in ends.items()
            if statuses.get(invocation_id, "deleted") not in status.split(" or ")
        ]
        others = statuses.keys() - ends.keys()
        return found + [f"{each} is {statuses[each]}" for each in others if not is_terminal(statuses[each])]

    async def _left(self) -> list[str]:
        found = []
        if await count_commands(self.store):
            subjects = await list_subjects(self.store, self.store.subjects.commands_stream, ">")
            found.append(f"commands or timers are left: {subjects}")
        subjects = await list_journal_subjects(self.store)
        if len(subjects) not in self.scenario.left and not self.may_leave_its_journal:
            found.append(f"journal messages are left: {subjects}")
        return found

    async def _index(self, executions: list[Execution]) -> list[str]:
        entered = sorted((entry.invocation_id, entry.group) for entry in await list_index_entries(self.store))
        stored = sorted((each.invocation_id, each.status) for each in executions)
        return [] if entered == stored else [f"the index says {entered}, the states {stored}"]

    async def _diagnosis(self) -> list[str]:
        checks = (await query.diagnose(self.store)).checks
        expected = {self.scenario.ailment, "work"}  # work: that a scenario's workflow failed, say
        ailing = [check for check in checks if check.severity != Severity.OK and check.name not in expected]
        return [f"doctor: {check.name}: {check.message}" for check in ailing]

    @property
    def may_leave_its_journal(self) -> bool:
        """Of what was deleted, where it was too big to be part of the record: nothing removes that later."""
        return self.crash_at.startswith("control.lifecycle.delete:")

    async def wait_for_problems_to_end(self) -> list[str]:
        """Return the problems that are left when none is expected to end by itself any more."""
        problems: list[str] = []

        async def none_left() -> bool:
            problems[:] = await self.problems()
            if problems and self.may_leave_an_entry and all(each.startswith("the index") for each in problems):
                await repair(self.store)
            return not problems

        with contextlib.suppress(NotInTimeError):
            await wait_until(none_left, QUIET_SECONDS, 0.25)
        return problems or await self._diagnosis()

    @property
    def may_leave_an_entry(self) -> bool:
        """Until it is mended: of a start without its command, or of what was deleted."""
        return bool(re.search(r">start_(command|child)\[\d\]|^control\.lifecycle\.delete:", self.crash_at))
