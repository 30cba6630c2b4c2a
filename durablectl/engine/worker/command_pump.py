"""Where commands come from: one consumer a handler, all kept open, none asked for more than there are free slots."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, NamedTuple

from durablectl.engine.worker.quarantine import quarantine_command
from durablectl.errors import DurableError, InvalidNameError, StorageError
from durablectl.model.codec import decode_command
from durablectl.model.concurrency import map_concurrently
from durablectl.model.validation import check_command
from durablectl.storage.commands import command_queue
from durablectl.storage.commands.pulls import PullRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from durablectl.engine.worker.slots import ActiveRuns
    from durablectl.model.records import Command
    from durablectl.storage.commands.pulls import Delivery
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_UNROUTED_AT_ONCE = 100
_RETRY_SECONDS = 1.0


class _Source(NamedTuple):
    """A consumer from which commands come."""

    name: str
    purpose: str
    filter_subject: str


class CommandPump:
    """The open pulls of one processor."""

    def __init__(self, store: Store, handlers: Iterable[str], active_runs: ActiveRuns, ack_wait: float) -> None:
        self._store = store
        self._handlers = sorted(handlers)
        self._active_runs = active_runs
        self._ack_wait = ack_wait
        self._pulls: list[PullRequests] = []
        self._unrouted: PullRequests | None = None
        self._filling: asyncio.Task[None] | None = None
        self._closed = False
        self._is_short = False
        self._side_tasks: set[asyncio.Task[Any]] = set()

    async def prepare(self) -> None:
        """Have the consumer of each handler, and that of commands without one. Nothing is taken yet."""
        await map_concurrently(self._ensure, self._sources())

    async def start(self) -> None:
        """Take commands; after ``prepare``."""
        *handled, unrouted = self._sources()
        for handler, source in zip(self._handlers, handled, strict=True):
            self._pulls.append(await self._open(source, functools.partial(self._on_delivery, handler)))
        self._unrouted = await self._open(unrouted, self._on_unrouted)
        self._active_runs.freed = self.fill
        self.fill()

    def _sources(self) -> list[_Source]:
        """Those of the handlers, in their order, and last that of commands that name none in their subject."""
        subjects = self._store.subjects
        return [
            *(
                _Source(command_queue.consumer_name(each), f"of handler {each}", subjects.handler_commands(each))
                for each in self._handlers
            ),
            _Source(command_queue.UNROUTED, "of unrouted commands", subjects.unrouted_commands),
        ]

    async def _open(self, source: _Source, deliver: Callable[[Delivery], None]) -> PullRequests:
        recreate = functools.partial(self._ensure, source)
        opened = PullRequests(self._store, source.name, deliver, self.fill, recreate)
        await opened.start()
        return opened

    async def _ensure(self, source: _Source) -> None:
        changes = await command_queue.ensure_consumer(self._store, source.name, source.filter_subject, self._ack_wait)
        for change in changes:
            _log.warning("The consumer %s was changed: %s.", source.purpose, change)

    async def stop(self) -> None:
        """Ask for nothing more; what arrives all the same is handed back."""
        self._closed = True
        self._is_short = False
        if self._filling is not None:
            await asyncio.wait([self._filling])
        # Together: a server that does not answer is waited for once, not once per handler.
        await asyncio.gather(*(pulls.stop() for pulls in [*self._pulls, *([self._unrouted] if self._unrouted else [])]))

    def fill(self) -> None:
        """Ask for as many more commands as there are free slots; several calls in one turn of the loop ask once."""
        self._is_short = not self._closed
        if self._is_short and (self._filling is None or self._filling.done()):
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        while self._is_short:
            self._is_short = False
            for handler, pulls in zip(self._handlers, self._pulls, strict=False):
                free = self._active_runs.free(handler)
                # With hysteresis: one pull for many freed slots, but never none open while a slot is free.
                if pulls.outstanding * 2 < free:
                    await pulls.pull(free - pulls.outstanding)
            if self._unrouted is not None and self._unrouted.outstanding == 0:
                await self._unrouted.pull(_UNROUTED_AT_ONCE)

    def _on_delivery(self, handler: str, delivery: Delivery) -> None:
        if self._closed or self._active_runs.free(handler) <= 0:
            self._spawn(delivery.nak())
            return
        command = self._read(delivery)
        if command is not None and command.handler not in self._handlers:
            # The subject brought it here, but the body decides.
            self._spawn(self._route(command, delivery))
        elif command is not None:
            self._active_runs.start(command, delivery)
        self.fill()

    def _on_unrouted(self, delivery: Delivery) -> None:
        command = self._read(delivery)
        if command is not None:
            self._spawn(self._route(command, delivery))
        self.fill()

    async def _route(self, command: Command, delivery: Delivery) -> None:
        """Publish a command that named its handler only in its body to that handler's subject."""
        try:
            await self._store.requests.exchange(
                [command_queue.publication(self._store, command, f"routed-{delivery.sequence}")]
            )
        except DurableError as error:
            _log.warning("A command for %s could not be routed: %s", command.handler, error)
            await delivery.nak(_RETRY_SECONDS)
        else:
            await delivery.ack()

    def _read(self, delivery: Delivery) -> Command | None:
        """The command, or None when it is not one: then it is set aside, and the others go on."""
        try:
            command = decode_command(delivery.data)
            check_command(command)
        except (StorageError, InvalidNameError) as error:
            self._spawn(quarantine_command(self._store, delivery, error.message))
            return None
        return command

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)
