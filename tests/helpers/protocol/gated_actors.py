"""Driving the real engine, control and storage code through the schedules of the model, one server operation at a time.

Each actor has a connection of its own. What it is about to ask of the server waits at its gate, and must be what the
model's actor asks; after each change the stored world must be that of the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from durablectl import control
from durablectl.engine.recovery.failover import Failover
from durablectl.engine.recovery.undelivered import UndeliveredScanner
from durablectl.engine.worker.claim import complete_writes
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.errors import DurableError
from durablectl.model.codec import decode_command, decode_execution
from durablectl.storage.commands.pulls import Delivery
from durablectl.storage.records import leases
from helpers.index_listing import list_index_entries
from helpers.protocol.world import EVERY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from durablectl.engine.sdk.app_loader import App
    from durablectl.storage.connection.requests import Ack, Request
    from durablectl.storage.connection.store import Store

Label = tuple[Any, ...]
PATIENCE = 60.0
ACTOR: ContextVar[Actor] = ContextVar("actor")
FAR = "@at 2199-01-01T00:00:00Z"


class Actor:
    """Somebody who asks the server: he goes on when he is let through, until he asks again or is done."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.store = store
        self.asks: Label | None = None
        self.answer: Any = None
        self.invocation_id = ""
        self._through: asyncio.Future[Any] | None = None
        self._changed = asyncio.Event()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.is_dead = False

    async def gate(self, label: Label) -> Any:
        if self.is_dead:
            raise asyncio.CancelledError
        assert self._through is None, f"{self.name} asks {label} while it asks {self.asks}"
        self.asks, self._through = label, asyncio.get_running_loop().create_future()
        self._changed.set()
        try:
            return await self._through
        finally:
            self.asks = self._through = None

    def let_through(self, value: Any = None) -> None:
        assert self._through is not None
        self._through.set_result(value)

    def spawn(self, work: Awaitable[Any]) -> None:
        async def run() -> None:
            ACTOR.set(self)
            await work

        self.watch(asyncio.ensure_future(run()))

    def watch(self, task: asyncio.Task[Any]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and task.exception() is not None:
            self.is_dead = True
            raise AssertionError(self.name) from task.exception()

    @property
    def is_idle(self) -> bool:
        return not self.tasks

    async def wait_until_idle(self) -> None:
        """Until it asks again, or has nothing to do."""
        async with asyncio.timeout(PATIENCE):
            while not self.is_idle and (self._through is None or self._through.done()):
                self._changed.clear()
                await self._changed.wait()

    async def kill(self) -> None:
        self.is_dead = True
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class ProcessorActor(Actor):
    """The real processor without its helper tasks: what it takes, and when it looks, is told."""

    def __init__(self, name: str, store: Store, app: App) -> None:
        super().__init__(name, store)
        self.processor = Processor(store, app, ProcessorOptions(max_concurrent=2))
        self.id = self.processor.id
        self._active_runs = self.processor._active_runs
        self._active_runs.freed = self._changed.set

    @property
    def is_idle(self) -> bool:
        return not (self.tasks or self._active_runs.busy or self._active_runs._side_tasks)

    def take(self, message: Any) -> None:
        ACTOR.set(self)
        delivery = GatedDelivery(self, message)
        self._active_runs.start(decode_command(delivery.data), delivery)

    def look(self, dead: Callable[[str], bool]) -> None:
        resources = self.processor._resources
        active_runs = self._active_runs
        scanner = UndeliveredScanner(self.store, active_runs.adopt_command, active_runs.is_dropped)
        failover = Failover(
            self.store, self.id, active_runs.adopt, lambda stored: complete_writes(resources, stored), scanner
        )

        async def look() -> None:
            await self.gate(("members",))
            members = {
                e.invocation_id for e in await list_index_entries(self.store) if e.group in {"pending", "running"}
            }
            if self.invocation_id in members:
                await failover._adopt_or_wake([self.invocation_id], dead)

        self.spawn(look())

    async def kill(self) -> None:
        self._active_runs._stopping = True
        self.tasks |= self._active_runs._tasks
        await super().kill()


class OperatorActor(Actor):
    """One operation after the other; what is refused is no matter."""

    def begin(self, names: Iterable[str]) -> None:
        self.spawn(self._operate(list(names)))

    async def _operate(self, names: list[str]) -> None:
        store, invocation_id = self.store, self.invocation_id
        for name in names:
            with contextlib.suppress(DurableError):
                match name:
                    case "start":
                        handler = self.answer
                        await control.start(store, control.StartRequest(handler, None, invocation_id))
                    case "cancel_now":
                        await control.cancel(store, invocation_id, now=True)
                    case "resolve":
                        await control.resolve(store, f"{invocation_id}.approval", "answer")
                    case _:
                        await getattr(control, name)(store, invocation_id)


class GatedDelivery(Delivery):
    """Acknowledged with the server's confirmation, so that it is done when the next one acts."""

    def __init__(self, actor: Actor, message: Any) -> None:
        super().__init__(actor.store, message, "")
        self._actor = actor

    async def _reply(self, payload: bytes) -> None:
        await self._actor.gate(("ack",) if payload == b"+ACK" else ("no ack", payload))
        await cast("GatedRequests", self._store.requests).ungated.send(self.reply, payload)


class GatedRequests:
    """In place of a store's requests: each stops at the gate first, those sent together one after the other."""

    def __init__(self, actor: Actor, invocation_id: str, names: dict[str, str]) -> None:
        self.ungated = getattr(actor.store.requests, "ungated", actor.store.requests)
        self._gate = actor.gate
        self._names = names
        self._id = invocation_id
        self._subjects = actor.store.subjects
        self.sent: list[int] = []
        """The sequences of the commands that were published."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ungated, name)

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Ack:
        await self._gate(self._label(subject, payload))
        ack: Ack = await self.ungated.publish(subject, payload, headers)
        return ack

    async def exchange(self, requests: Iterable[Request]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for request in requests:
            if request.subject.startswith(self._subjects.handler("")):
                # A name for queries, the same whoever writes it: the model leaves it out.
                answers += await self.ungated.exchange([request])
                continue
            label = self._label(request.subject, request.payload)
            await self._gate(label)
            if label[0] == "timer":
                request = request._replace(headers={**(request.headers or {}), "Nats-Schedule": FAR})  # noqa: PLW2901
            answers += await self.ungated.exchange([request])
            if label[0] == "publish":
                self.sent.append(answers[-1]["seq"])
        return answers

    async def send(self, subject: str, payload: bytes, *args: Any, **options: Any) -> Any:
        asked = subject.partition(".DIRECT.GET.")[2].partition(".")[2]
        if asked == self._subjects.state(self._id):
            await self._gate(("load",))
        elif asked.startswith(self._subjects.processor("")):
            await self._gate(("alive", self._names[self._subjects.processor_of(asked)]))
        elif not subject.startswith(self._subjects.audit("")[:-1]):  # the trail is no move of the model
            raise AssertionError(subject)
        return await self.ungated.send(subject, payload, *args, **options)

    async def send_many(self, subject: str, payload: bytes) -> Any:
        asked = json.loads(payload)["multi_last"]
        await self._gate(("read",) if self._subjects.journal(self._id, "*") in asked else ("load",))
        return await self.ungated.send_many(subject, payload)

    def _label(self, subject: str, payload: bytes) -> Label:  # noqa: PLR0911 - one line for each kind of request
        subjects = self._subjects
        if subject == subjects.state(self._id):
            return ("write", decode_execution(payload, self._id).status)
        if ".STREAM.PURGE." in subject:
            filtered = json.loads(payload)["filter"]
            if filtered.startswith(subjects.timer(self._id, "")):
                return ("stop_timer", filtered.rpartition(".")[2])
            if filtered.startswith(subjects.journal(self._id, "")):
                number = filtered.rpartition(".")[2]
                return ("purge", EVERY if number == "*" else int(number))
            return ("leave", subjects.index_entry(filtered).group)
        if subject.startswith(subjects.journal(self._id, "")):
            return ("append", int(subject.rpartition(".")[2]))
        if subject.startswith(subjects.timer(self._id, "")):
            return ("timer", subject.rpartition(".")[2])
        if subject.endswith(f"~{self._id}"):
            return ("enter", subjects.index_entry(subject).group)
        return ("publish", decode_command(payload).kind)


async def lease(actor: ProcessorActor, is_alive: bool) -> None:
    """Renewed, or run out."""
    store = actor.store
    gated = store.requests
    store.requests = cast("GatedRequests", gated).ungated
    try:
        if is_alive:
            await leases.renew(store, leases.Lease(actor.id))
        else:
            await leases.release(store, actor.id)
    finally:
        store.requests = gated
