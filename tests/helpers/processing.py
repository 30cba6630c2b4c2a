"""What the tests of storage, engine and crashes share: processors, conditions, a look underneath."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl import control, query
from durablectl.engine.sdk.app_loader import App
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.engine.worker.service_host import hosted
from durablectl.model.codec import decode_entry, encode_command
from durablectl.model.records import Execution
from durablectl.storage.commands import command_queue
from durablectl.storage.connection.store import Store, open_store
from durablectl.storage.records import states
from durablectl.storage.streams.provision import provision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from durablectl.control import Outcome
    from durablectl.model.records import Command, JournalEntry
    from durablectl.query import WorkflowView
    from durablectl.settings import Settings


async def until(condition: Callable[[], Awaitable[Any] | Any], timeout: float = 10, every: float = 0.01) -> Any:
    """The first true answer of ``condition``, asked every few milliseconds; fails showing the last one."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout} s; the last answer was {answer!r}"
        await asyncio.sleep(every)


@contextlib.asynccontextmanager
async def provisioned(settings: Settings) -> AsyncIterator[Store]:
    async with open_store(settings) as store:
        await provision(store)
        yield store


@contextlib.asynccontextmanager
async def serving(settings: Settings, *services: Any) -> AsyncIterator[None]:
    """The service classes, hosted on a connection of their own."""
    app = App()
    app.add(services)
    async with open_store(settings) as store, hosted(store, app.services.values(), grace=1):
        yield


class Running:
    """A processor in this process, on a connection of its own."""

    def __init__(self, processor: Processor, store: Store, task: asyncio.Task[None], stop: asyncio.Event) -> None:
        self.processor = processor
        self.store = store
        self._task = task
        self._stop = stop

    @property
    def id(self) -> str:
        return self.processor.id

    async def stop(self) -> None:
        """Gracefully."""
        self._stop.set()
        await self._task


@contextlib.asynccontextmanager
async def processing(settings: Settings, *defined: Any, **options: Any) -> AsyncIterator[Running]:
    """A processor for these workflows, taking commands; stopped gracefully at the end."""
    app = App()
    app.add(defined)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with open_store(settings) as store:
        processor = Processor(store, app, ProcessorOptions(**{"grace": 2.0, "ack_wait": 30.0, **options}))
        task = asyncio.create_task(processor.run(stop, ready))
        waiter = asyncio.create_task(ready.wait())
        await asyncio.wait([task, waiter], return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        running = Running(processor, store, task, stop)
        try:
            yield running
        finally:
            await running.stop()


async def start(store: Store, handler: Any, input: Any = None, *, id: str | None = None) -> str:
    name = handler if isinstance(handler, str) else handler.name
    return await control.start(store, control.StartRequest(name, input, id))


async def publish_command(store: Store, command: Command, message_id: str = "", subject: str = "") -> None:
    """A command as a client that dies right afterwards leaves it, or on any ``subject`` as a stranger might."""
    headers = {"Nats-Msg-Id": message_id} if message_id else None
    subject = subject or store.subjects.command(command.handler, command.partition_key)
    await store.requests.publish(subject, encode_command(command), headers)


async def outcome(store: Store, invocation_id: str, timeout: float = 15) -> Outcome:
    return await control.wait_for_outcome(store, invocation_id, timeout)


async def result(store: Store, invocation_id: str, timeout: float = 15) -> Any:
    return (await outcome(store, invocation_id, timeout)).output()


async def run(store: Store, handler: Any, input: Any = None, *, id: str | None = None, timeout: float = 15) -> Any:
    """Start, wait, and the output; the workflow's error is raised."""
    return await result(store, await start(store, handler, input, id=id), timeout)


async def ended(store: Store, handler: Any, input: Any = None, *, id: str | None = None) -> WorkflowView:
    """Start, wait, and the view."""
    invocation_id = await start(store, handler, input, id=id)
    await outcome(store, invocation_id)
    return await query.get_workflow(store, invocation_id)


async def reaches(store: Store, invocation_id: str, status: str, timeout: float = 10) -> WorkflowView:
    async def there() -> WorkflowView | None:
        view = await query.get_workflow(store, invocation_id)
        return view if view.status == status else None

    return await until(there, timeout)


async def subjects_of(store: Store, stream: str, filter: str) -> list[str]:
    """The subjects under ``filter`` that the stream holds, as the server lists them."""
    answer = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}", {"subjects_filter": filter})
    return sorted(answer["state"].get("subjects") or {})


@dataclass(frozen=True)
class IndexEntry:
    group: str
    handler: str
    partition: str
    invocation_id: str


async def index_entries(store: Store) -> list[IndexEntry]:
    subjects = await subjects_of(store, store.subjects.index_stream, ">")
    entries = [store.subjects.index_entry(subject) for subject in subjects]
    return [IndexEntry(e.group, e.handler, e.partition_key, e.invocation_id) for e in entries]


async def index_of(store: Store, invocation_id: str) -> list[str]:
    """The status groups under which an invocation is entered; one when all is well."""
    return [entry.group for entry in await index_entries(store) if entry.invocation_id == invocation_id]


async def entered(store: Store, invocation_id: str, group: str) -> None:
    """Until it is entered there and nowhere else: the index moves after the end that others see."""

    async def is_entered() -> bool:
        return await index_of(store, invocation_id) == [group]

    await until(is_entered)


async def journal_subjects(store: Store, invocation_id: str = "*") -> list[str]:
    return await subjects_of(store, store.subjects.state_stream, store.subjects.journal(invocation_id, "*"))


async def journaled(store: Store, invocation_id: str) -> list[JournalEntry]:
    """The entries of a workflow that has not ended, read one by one."""
    raws = [
        await states.get_last(store, store.subjects.state_stream, subject)
        for subject in await journal_subjects(store, invocation_id)
    ]
    return sorted((decode_entry(raw.data) for raw in raws if raw), key=lambda entry: entry.step_number)


async def consumer(store: Store, handler: Any) -> dict[str, Any]:
    info = await command_queue.consumer_info(store, command_queue.consumer_name(handler.name))
    assert info is not None
    return info


async def standing_still(store: Store) -> None:
    """Until nothing more arrives in the stream of states and journals: what a dead process had sent is stored."""
    seen = [-1]

    async def unchanged() -> bool:
        answer = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
        seen.append(answer["state"]["last_seq"])
        return seen[-1] == seen[-2]

    await until(unchanged, every=0.2)


async def commands_left(store: Store) -> int:
    """Commands that are stored and not acknowledged."""
    answer = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.commands_stream}")
    return int(answer["state"]["messages"])


async def drained(store) -> bool:
    return await commands_left(store) == 0


async def write(store: Any, name: str, owner: str = "", **fields: Any) -> int:
    """Any state, as a processor would store it, without an entry in the index; its revision."""
    stored = await states.load(store, name)
    execution = Execution(name, "h", **{"owner": owner, "status": "running", **fields})
    if stored is None:
        revision = await states.create(store, execution)
    else:
        revision = await states.replace(store, execution, stored.revision)
    assert revision is not None
    return revision
