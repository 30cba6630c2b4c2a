"""The processor: takes commands while it has free slots, keeps them alive, and stops without losing one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from durablectl.engine.metrics import Metrics
from durablectl.engine.recovery.failover import Failover
from durablectl.engine.recovery.undelivered import UndeliveredScanner
from durablectl.engine.recovery.upkeep import Upkeep
from durablectl.engine.replay.control_flow import ProcessorStopping
from durablectl.engine.worker.claim import complete_writes
from durablectl.engine.worker.command_pump import CommandPump
from durablectl.engine.worker.presence_writer import PresenceWriter
from durablectl.engine.worker.resources import Resources
from durablectl.engine.worker.slots import ActiveRuns
from durablectl.engine.worker.watchdog import LoopWatchdog
from durablectl.errors import ConnectionFailedError, DurableError, UsageError
from durablectl.limits import MOST_REPLICAS, MOST_SLOTS, checked_count, checked_seconds
from durablectl.model.clock import MICROSECONDS
from durablectl.model.concurrency import run_concurrently
from durablectl.model.held_workflows import digest_ids
from durablectl.model.throttled_log import ThrottledLog
from durablectl.storage.commands.notifications import subscribe_notifications
from durablectl.storage.connection.rejections import ConnectionLostError, NoAnswerError
from durablectl.storage.connection.store import server_defect
from durablectl.storage.index import index_entries
from durablectl.storage.records import leases, presence
from durablectl.storage.records.consistent_reads import sync_clock
from durablectl.storage.records.message_types import SchemaWriter
from durablectl.storage.streams.permission_probes import processor_probes, require_permissions
from durablectl.storage.streams.provision import LEASE_SECONDS, provision

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from durablectl.engine.sdk.app_loader import App
    from durablectl.engine.sdk.registry import Workflow
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)
_throttled = ThrottledLog(_log)

_MOST_LOST_ANSWERS = 3
"""How often a start goes on after a cluster left a request without an answer."""

_LONGEST_VERSION = 100
"""Every record of a workflow holds it."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class ProcessorOptions:
    """``ack_wait`` and ``grace`` are seconds; ``replicas`` None takes the streams as they are.

    ``retention`` is how many seconds what has ended is kept; 0 keeps it without limit. ``version`` is that of
    durablectl, ``app_version`` that of the app. OutOfRangeError for what is out of range, UsageError for a version that
    is no short line.
    """

    max_concurrent: int = 100
    ack_wait: float = 300.0
    grace: float = 10.0
    replicas: int | None = None
    version: str = ""
    retention: float = 0.0
    app_version: str = ""

    def __post_init__(self) -> None:
        checked_count(self.max_concurrent, "The max_concurrent of a processor", 1, MOST_SLOTS)
        for name in ("ack_wait", "grace", "retention"):
            seconds = checked_seconds(getattr(self, name), f"The {name} of a processor", zero=name != "ack_wait")
            object.__setattr__(self, name, seconds)  # a timedelta becomes seconds
        if len(self.app_version) > _LONGEST_VERSION or not self.app_version.isprintable():
            raise UsageError(
                f"The version of the app is no line of at most {_LONGEST_VERSION} characters: "
                f"{self.app_version[:_LONGEST_VERSION]!r}.",
                hint="Use a release or a commit, such as 2.4.1 or 9f2c01d.",
            )
        if self.replicas is not None:
            checked_count(self.replicas, "The replicas of a processor", 1, MOST_REPLICAS)


class SystemWorkflows(NamedTuple):
    """Workflows of durablectl's own.

    ``prepare`` makes what they need, with so many replicas; ``stop`` has their steps end, for the processor to stop.
    """

    workflows: Mapping[str, Workflow]
    prepare: Callable[[int | None], Awaitable[None]]
    stop: Callable[[], None]


async def _nothing_to_prepare(_: int | None) -> None:
    pass


class Processor:
    """Executes the workflows of one app in this process, up to ``max_concurrent`` at once.

    Those of ``system`` run beside them, in slots of their own.
    """

    def __init__(
        self, store: Store, app: App, options: ProcessorOptions, system: SystemWorkflows | None = None
    ) -> None:
        self.id = new_processor_id()
        self._store = store
        self._app = app
        self._options = options
        self._system = system or SystemWorkflows({}, _nothing_to_prepare, lambda: None)
        self._workflows = {**app.workflows, **self._system.workflows}
        self.metrics = Metrics(self._workflows, options.max_concurrent, lambda: self._active_runs.busy)
        self._resources = Resources(
            store=store,
            schemas=SchemaWriter(store),
            workflows=self._workflows,
            processor_id=self.id,
            metrics=self.metrics,
            retention_us=int(options.retention * MICROSECONDS),
            version=options.version,
            app_version=options.app_version,
        )
        self._active_runs = ActiveRuns(self._resources, options.max_concurrent, options.ack_wait)
        self._command_pump = CommandPump(store, self._workflows, self._active_runs, options.ack_wait)
        self._watchdog = LoopWatchdog(
            store,
            options.ack_wait,
            self._lease,
            self._active_runs.deliveries_in_work,
            self.metrics,
            grace=options.grace,
        )
        self._presence = PresenceWriter(store, self._lease)
        self._signs_of_life: list[asyncio.Task[None]] = []
        """What renews the lease and the record of this processor's presence."""
        self._started_at = 0

    async def run(
        self,
        stop: asyncio.Event,
        ready: asyncio.Event | None = None,
        *,
        stop_requested_at: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Work until ``stop`` is set, then stop gracefully.

        ``ready`` is set once commands are being taken. ``stop_requested_at`` says when the stop was asked for, in
        seconds of the monotonic clock, even where the event loop is blocked and ``stop`` is not set yet; 0 before.
        Raises ConfigurationError, UnsupportedServerError and other DurableErrors when it cannot start; a lost
        connection later is waited for.
        """
        if defect := server_defect(self._store.server_version):
            _log.warning("%s Upgrade it.", defect)
        helpers: list[asyncio.Task[None]] = []
        is_started = False
        try:
            failover = self._failover()
            await self._prepare_until_answered(failover)
            async with subscribe_notifications(self._store, self.id, self._active_runs.notify):
                await self._command_pump.start()
                upkeep = Upkeep(
                    self._store, self.id, self._active_runs.adopt, self._forget_stored, self._options.replicas
                )
                parts = (self._active_runs.keep_alive, self._active_runs.write_current_steps, failover.run, upkeep.run)
                helpers += [self._helper(part()) for part in parts]
                self._signs_of_life.append(self._helper(self._presence.run()))
                names = ", ".join(sorted(self._app.workflows)) or "none"
                _log.info("Processor %s takes commands for: %s.", self.id, names)
                self._watchdog.start(stop_requested_at)
                is_started = True
                if ready is not None:
                    ready.set()
                await stop.wait()
                await self._stop(stop_requested_at())
        except BaseException:
            if not is_started:
                await self._withdraw()
            raise
        finally:
            await _cancel([*helpers, *self._signs_of_life])
            await self._watchdog.stop()

    def _failover(self) -> Failover:
        """What finds the workflows of other processors that died."""
        active_runs = self._active_runs
        scanner = UndeliveredScanner(self._store, active_runs.adopt_command, active_runs.is_dropped)
        return Failover(
            self._store, self.id, active_runs.adopt, lambda stored: complete_writes(self._resources, stored), scanner
        )

    async def _prepare_until_answered(self, failover: Failover) -> None:
        """Prepare to take commands; again where a cluster leaves a request unanswered, as it may in an election.

        And where the connection is lost meanwhile: it comes back.
        """
        for _ in range(_MOST_LOST_ANSWERS):
            try:
                return await self._prepare(failover)
            except NoAnswerError as error:
                if not (isinstance(error, ConnectionLostError) or self._store.requests.is_cluster):
                    raise
                _log.warning("The NATS server left a request without an answer; preparing again: %s", error)
        return await self._prepare(failover)

    async def _prepare(self, failover: Failover) -> None:
        """Have the streams, the consumers and the lease of this processor, and know what is in work."""
        await provision(self._store, replicas=self._options.replicas)
        await require_permissions(
            self._store, processor_probes(self._store), [self._store.subjects.notifications(self.id)]
        )
        # None of these needs another, and each may be done again by a start after one that died in the middle.
        await run_concurrently(
            lambda: self._announce(failover),
            lambda: self._system.prepare(self._options.replicas),
            self._add_handlers,
            lambda: failover.prepare(self._workflows),
            self._command_pump.prepare,
        )

    async def _announce(self, failover: Failover) -> None:
        """Have a lease, and then the record of this processor's presence, before it takes its first command.

        The lease is renewed from then on, however long the rest of the start takes.
        """
        if not self._signs_of_life:
            await sync_clock(self._store)
            self._started_at = self._store.clock.now()
            await self._renew()
            self._signs_of_life.append(self._helper(self._renew_lease(failover)))
        await self._presence.write()

    async def _add_handlers(self) -> None:
        await index_entries.add_handlers(self._store, self._app.workflows)

    def _helper(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                _log.error("A part of the processor stopped; restart it.", exc_info=task.exception())

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    async def _stop(self, requested_at: float) -> None:
        """Pull no more, let steps end until ``grace`` seconds after the request, hand the rest back."""
        grace = self._options.grace
        if requested_at:
            grace = max(0.0, grace - (time.monotonic() - requested_at))
        self._system.stop()
        await self._command_pump.stop()
        busy = self._active_runs.busy
        if busy:
            _log.info("Stopping: %d workflows go to their next step, for at most %.3g s.", busy, grace)
        self._active_runs.stop_at_next_step()
        if not await self._active_runs.drain(grace):
            self._active_runs.exit_all(ProcessorStopping())
            answers_within = self._store.settings.timeout if self._store.is_connected else 0
            if not await self._active_runs.drain(answers_within + 1):
                await self._active_runs.cancel_all()
        if not await self._leave() and busy:
            _log.warning(
                "The NATS server is out of reach: %d workflows may not have been handed back. Other processors take "
                "them over once the lease of this one has expired, at the latest after the --ack-wait of %g s.",
                busy,
                self._options.ack_wait,
            )
        _log.info("Processor %s stopped.", self.id)

    async def _leave(self) -> bool:
        """Release the lease; False when the server is out of reach. Then the lease expires by itself."""
        await self._watchdog.stop()
        await _cancel(self._signs_of_life)
        if not self._store.is_connected:
            return False
        try:
            # The streams of the two may have different leaders: the lease does not wait for the record.
            with contextlib.suppress(DurableError, TimeoutError):
                async with asyncio.timeout(self._store.settings.timeout):
                    await presence.remove(self._store, self.id)
            await leases.release(self._store, self.id)
            await self._store.flush()
        except (ConnectionFailedError, TimeoutError):
            return False
        except DurableError as error:
            _log.warning("The lease of %s could not be released: %s", self.id, error)
        return True

    async def _withdraw(self) -> None:
        """Leave nothing behind of a start that failed. What fails here does not hide why the start did."""
        if not self._signs_of_life:
            return
        try:
            async with asyncio.timeout(self._store.settings.timeout):
                await self._command_pump.stop()
                await self._leave()
        except Exception as error:  # noqa: BLE001
            _log.debug("The lease and the record of %s may not have been removed: %s", self.id, error)

    async def _renew_lease(self, failover: Failover) -> None:
        """Stay alive, and hear from the server what time it is and whether its store was put back meanwhile."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(leases.RENEW_SECONDS)
            try:
                await self._renew()
                if loop.time() - renewed > LEASE_SECONDS - leases.RENEW_SECONDS:
                    # Others have noticed, or are about to.
                    self._presence.returned()
                renewed = loop.time()
                reached = self._store.reached_sequence
                last = await sync_clock(self._store)
                if last < reached and self._store.requests.is_cluster:
                    # A leader that was elected just now may not have come to where its predecessor was.
                    await asyncio.sleep(leases.RENEW_SECONDS)
                    last = await sync_clock(self._store)
                if last < reached:
                    _log.warning("The store was put back to an older state: it ends at %d, not %d.", last, reached)
                    self._store.reached_sequence = last
                    self._forget_stored()
                    self._active_runs.require_confirmation()
                    failover.expect_orphans(self.id)
            except DurableError as error:
                _throttled.write(type(error).__name__, "The lease of %s could not be renewed: %s", self.id, error)

    def _forget_stored(self) -> None:
        """Store handlers and message types again when they are used next: the states were replaced, with these."""
        self._store.known_handlers.clear()
        self._resources.schemas.forget()

    async def _renew(self) -> None:
        await leases.renew(self._store, self._lease())
        self._watchdog.lease_renewed()

    def _lease(self) -> leases.Lease:
        return leases.Lease(
            processor_id=self.id,
            handlers=sorted(self._app.workflows),
            version=self._options.version,
            app_version=self._options.app_version,
            host=socket.gethostname(),
            process_id=os.getpid(),
            slots=self._options.max_concurrent,
            busy=self._active_runs.busy,
            held=digest_ids(self._active_runs.held_ids()),
            started_at=self._started_at,
            system_handlers=sorted(self._system.workflows),
            machine_time=time.time_ns() // 1000,
        )


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def new_processor_id() -> str:
    """``<host>-<process id>-<random>``, cut to what a subject token may hold."""
    host = _UNSAFE.sub("-", socket.gethostname())[:48] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
