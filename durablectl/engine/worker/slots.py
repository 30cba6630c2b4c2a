"""The workflows that this process executes right now: slots, progress acknowledgements, and the end of each."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import FencedOut, RunExit, StateChanged
from durablectl.engine.replay.current_step import VISIBLE_AFTER_SECONDS
from durablectl.engine.worker.execute import process_command
from durablectl.engine.worker.failure_limit import (
    FailureLimit,
    cause_of,
    give_up,
    is_passing,
    is_too_often,
    pause_seconds,
)
from durablectl.engine.worker.quarantine import quarantine_command
from durablectl.errors import DurableError, PayloadTooLargeError, UnreadableError
from durablectl.model.kinds import CommandKind
from durablectl.model.names import is_name, is_system_handler
from durablectl.model.status import Status
from durablectl.model.throttled_log import ThrottledLog
from durablectl.storage.commands.pulls import LocalDelivery
from durablectl.storage.commands.wake import wake_command
from durablectl.storage.connection.rejections import StorageFullError
from durablectl.storage.records import states
from durablectl.storage.transitions import cancel_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from durablectl.engine.replay.run import Run
    from durablectl.engine.worker.resources import Resources
    from durablectl.model.records import Command, Execution
    from durablectl.storage.commands.pulls import Delivery

_log = logging.getLogger(__name__)
_throttled = ThrottledLog(_log)

_RETRY_SECONDS = 0.5
_FULL_SECONDS = 2.0
_REFRESH_SECONDS = 2.0
_CANCELLATIONS = 10
SYSTEM_SLOTS = 4
"""For durablectl's own workflows: they begin though workflows of the app hold every slot, and take none from them."""


@dataclass(slots=True)
class _Slot:
    command: Command
    delivery: Delivery
    touched: float
    refreshed: float
    run: Run | None = None


async def _refresh(run: Run) -> None:
    try:
        await run.state.ownership.refresh()
    except (FencedOut, StateChanged) as reason:
        run.exit(reason)
    except DurableError as error:
        _log.debug("Could not look at the state of %s: %s", run.state.invocation_id, error)
    else:
        run.waits.poll()


class ActiveRuns:
    """The runs of this processor, a slot each; ``freed`` is called whenever a slot becomes free."""

    def __init__(self, resources: Resources, slots: int, ack_wait: float) -> None:
        self.freed: Callable[[], None] = lambda: None
        self._resources = resources
        self._limit = slots
        self._ack_wait = ack_wait
        self._slots: dict[str, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._system_tasks: set[asyncio.Task[None]] = set()
        self._side_tasks: set[asyncio.Task[None]] = set()
        self._failure_limit = FailureLimit()
        self._stopping = False
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> int:
        """The slots that the app's workflows take."""
        return len(self._tasks) - len(self._system_tasks)

    def free(self, handler: str) -> int:
        """The slots that are left for a handler: durablectl's own workflows have theirs apart from those of the app."""
        if is_system_handler(handler):
            return SYSTEM_SLOTS - len(self._system_tasks)
        return self._limit - self.busy

    def start(self, command: Command, delivery: Delivery) -> None:
        """Take a slot; a second command for an invocation that runs here is dealt with at once."""
        slot = self._slots.get(command.invocation_id)
        if slot is None:
            now = self._loop.time()
            slot = _Slot(command, delivery, now, now)
            self._slots[command.invocation_id] = slot
            self._spawn_run(self._process(slot), is_system=is_system_handler(command.handler))
        elif slot.delivery.sequence == delivery.sequence:
            # Its ack_wait ran out while it was being worked on; the acknowledgement to come covers this delivery too.
            slot.touched = self._loop.time()
        elif slot.run is not None and slot.run.is_in_handler:
            self._spawn_side_task(self._apply_to_running(slot.run, command, delivery))
        else:
            self._spawn_side_task(delivery.nak(_RETRY_SECONDS))

    def adopt(self, execution: Execution) -> bool:
        """Take over an invocation whose processor is gone; False without the handler, or a free slot."""
        return self._start_undelivered(wake_command(execution))

    def adopt_command(self, command: Command, stored_at_us: int) -> bool:
        """Take an undelivered command that was stored at ``stored_at_us``; False without a free slot."""
        slot = self._slots.get(command.invocation_id)
        is_being_claimed = slot is not None and slot.run is None
        return is_being_claimed or self._start_undelivered(command, stored_at_us)

    def _start_undelivered(self, command: Command, stored_at_us: int = 0) -> bool:
        if self._stopping or command.handler not in self._resources.workflows or self.free(command.handler) <= 0:
            return False
        self.start(command, LocalDelivery(self._resources.store, command, stored_at_us))
        return True

    def notify(self, invocation_id: str) -> None:
        """The state of an invocation may have changed: look at it, if it runs here, or should."""
        slot = self._slots.get(invocation_id)
        if slot is None and is_name(invocation_id):
            self._spawn_side_task(self._adopt_if_dropped(invocation_id))
        elif slot is not None and slot.run is not None:
            self._spawn_side_task(_refresh(slot.run))

    def is_dropped(self, execution: Execution) -> bool:
        """Ours, and not in work: the answer to the write that claimed it was lost, for one."""
        is_ours = execution.status == Status.RUNNING and execution.owner == self._resources.processor_id
        return is_ours and execution.invocation_id not in self._slots

    async def _adopt_if_dropped(self, invocation_id: str) -> None:
        while not self._stopping:
            try:
                stored = await states.load(self._resources.store, invocation_id)
            except UnreadableError:
                return
            except DurableError as error:
                _log.debug("Could not look at the state of %s: %s", invocation_id, error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if stored is not None and self.is_dropped(stored.execution):
                self.adopt(stored.execution)
            return

    def require_confirmation(self) -> None:
        """Load the state of each run before its next write: the store has been put back."""
        for slot in self._slots.values():
            if slot.run is not None:
                slot.run.state.ownership.require_confirmation()
                self._spawn_side_task(_refresh(slot.run))

    async def _apply_to_running(self, run: Run, command: Command, delivery: Delivery) -> None:
        """A command for an invocation that runs here: its state says the rest, but for a parent's cancellation."""
        try:
            if command.kind == CommandKind.CANCEL:
                await cancel_request.request_child_cancel(self._resources.store, command.invocation_id, command.reason)
        except DurableError as error:
            _log.warning("Not cancelled with its parent yet: %s", error)
            await delivery.nak(_RETRY_SECONDS)
            return
        await _refresh(run)
        if isinstance(run.state.exit_reason, FencedOut):
            # The store was put back to a time at which no processor ran it: this command starts it again.
            await delivery.nak(_RETRY_SECONDS)
        else:
            await delivery.ack()

    def _spawn_side_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something that takes no slot."""
        task = self._loop.create_task(coroutine)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)

    def _spawn_run(self, coroutine: Coroutine[Any, Any, None], *, is_system: bool) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        if is_system:
            self._system_tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._system_tasks.discard(task)
        self.freed()

    async def _process(self, slot: _Slot) -> None:
        def on_run(run: Run) -> None:
            slot.run = run
            if self._stopping:
                run.stop_at_next_step()

        command = slot.command
        about = {"invocation_id": command.invocation_id, "handler": command.handler}
        try:
            await process_command(self._resources, command, slot.delivery, on_run)
            self._failure_limit.forget(command.invocation_id)
        except (UnreadableError, PayloadTooLargeError) as error:
            await quarantine_command(self._resources.store, slot.delivery, error.message)
        except asyncio.CancelledError as error:
            if not self._stopping:
                await self._failed(slot, error)
                return
            await slot.delivery.nak()
            raise
        except BaseException as error:  # noqa: BLE001 - one workflow must not take the others down
            if isinstance(cause_of(error), StorageFullError):
                # Keeping the slot: else all that waits would be tried again and again, as fast as that goes.
                _throttled.write("full", "Not done, will be delivered again: %s", error, extra=about)
                await asyncio.sleep(_FULL_SECONDS)
                await slot.delivery.nak(_RETRY_SECONDS)
            else:
                await self._failed(slot, error)
        finally:
            del self._slots[command.invocation_id]
            if isinstance(slot.delivery, LocalDelivery) and slot.delivery.is_redelivered:
                # Whom that calls may see it as ours, and leave it.
                self._spawn_side_task(self._adopt_if_dropped(command.invocation_id))

    async def _failed(self, slot: _Slot, error: BaseException) -> None:
        """Have the command delivered again; no more often than helps, where the failure is not the outside's."""
        command, run = slot.command, slot.run
        about = {"invocation_id": command.invocation_id, "handler": command.handler}
        if is_passing(error):
            key, message = type(cause_of(error)).__name__, "Not finished, will be delivered again: %s"
            _throttled.write(key, message, error, level=logging.ERROR, extra=about)
            await slot.delivery.nak(_RETRY_SECONDS)
            return
        recorded = -1 if run is None else len(run.state.entries)
        failures = self._failure_limit.count(command.invocation_id, recorded)
        if is_too_often(failures, slot.delivery.attempt):
            try:
                await give_up(
                    self._resources,
                    command,
                    slot.delivery,
                    error,
                    failures=failures,
                    compensations=0 if run is None else len(run.compensations),
                )
            except DurableError as unpaused:
                _log.warning("Not paused, will be delivered again: %s", unpaused, extra=about)
            else:
                self._failure_limit.forget(command.invocation_id)
                return
        elif isinstance(cause_of(error), DurableError):
            _log.error("Not finished, will be delivered again: %s", error, extra=about)
        else:
            trace = cause_of(error)
            _log.error("A bug in durablectl; the command will be delivered again.", exc_info=trace, extra=about)
        await slot.delivery.nak(pause_seconds(failures, _RETRY_SECONDS))

    async def write_current_steps(self) -> None:
        """Have every run write its current step, once that has lasted for a while."""
        while True:
            await asyncio.sleep(VISIBLE_AFTER_SECONDS)
            now = self._loop.time()
            for slot in self._slots.values():
                if slot.run is not None:
                    slot.run.tracker.write_if_due(now)

    async def keep_alive(self) -> None:
        """Tell JetStream of every command in work that it is, three times within ack_wait; and look at the states.

        Looking is for pokes that were lost: an operator's word reaches a step of an hour within seconds all the same.
        """
        interval = self._ack_wait / 3
        while True:
            await asyncio.sleep(min(interval / 2, _REFRESH_SECONDS))
            now = self._loop.time()
            for slot in list(self._slots.values()):
                if now - slot.touched >= interval / 2:
                    slot.touched = now
                    await slot.delivery.in_progress()
                if slot.run is not None and now - slot.refreshed >= _REFRESH_SECONDS:
                    slot.refreshed = now
                    self._spawn_side_task(_refresh(slot.run))

    def held_ids(self) -> list[str]:
        """The ids of the workflows that this processor runs. May be called from another thread."""
        return list(self._slots)

    def deliveries_in_work(self) -> list[str]:
        """The reply subjects of the commands in work. May be called from another thread."""
        return [slot.delivery.reply for slot in list(self._slots.values()) if slot.delivery.reply]

    def stop_at_next_step(self) -> None:
        self._stopping = True
        for slot in self._slots.values():
            if slot.run is not None:
                slot.run.stop_at_next_step()

    def exit_all(self, reason: RunExit) -> None:
        for slot in self._slots.values():
            if slot.run is not None:
                slot.run.exit(reason)

    async def drain(self, seconds: float) -> bool:
        """Wait for the workflows in work to end; False when ``seconds`` were not enough."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        return not late

    async def cancel_all(self) -> None:
        """Cancel what waits for a server that is out of reach, or full.

        More than once: the first answer to that is to hand back, which waits for the server too. Not without end: what
        an app's code does not let go is left to the end of the process.
        """
        for _ in range(_CANCELLATIONS):
            if not self._tasks:
                return
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=_RETRY_SECONDS)
