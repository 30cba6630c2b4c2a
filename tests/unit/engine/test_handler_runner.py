"""The handler's loop: random programs run, and replayed after every prefix of their journals, ask for the same."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from durablectl.engine.replay.handler_runner import CANCEL, UNDECODED, HandlerRunner, PendingOperation
from durablectl.engine.replay.run_state import HandlerState
from durablectl.errors import StepError
from durablectl.model.records import JournalEntry, Payload
from helpers.random_programs import Interpreter, Node, random_program

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator


class FakeOperation:
    """A step, or a wait for its time alone: ``perform`` fills in its journal entry."""

    on_cancel = CANCEL
    is_executed = True

    def __init__(
        self, run: FakeRun, kind: str, step_type: str, perform: Callable[[JournalEntry], Coroutine[Any, Any, None]]
    ) -> None:
        self.kind = kind
        self.step_type = step_type
        self._run = run
        self._perform = perform
        self.handle: asyncio.TimerHandle | None = None

    def prepare_request(self, number: int) -> None:
        self._run.asked.append((number, self.kind, self.step_type))

    def difference(self, recorded: JournalEntry) -> None:
        del recorded

    async def execute(self, number: int, entry: JournalEntry | None) -> tuple[JournalEntry, Any]:
        entry = JournalEntry(number, self.step_type, self.kind)
        await self._perform(entry)
        return entry, UNDECODED

    def resolve(self, future: asyncio.Future[Any], entry: JournalEntry, value: Any) -> None:
        assert value is UNDECODED
        if self.handle is not None:
            self._run.runner.fire(self.handle)
        elif entry.error:
            future.set_exception(StepError(entry.error, step_number=entry.step_number, step_type=entry.step_type))
        else:
            future.set_result(entry.response.data.decode())

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run.runner.begin(self).__await__()


def after(seconds: float) -> Callable[[JournalEntry], Coroutine[Any, Any, None]]:
    async def perform(entry: JournalEntry) -> None:
        del entry
        await asyncio.sleep(seconds)

    return perform


class FakeRun:
    """An engine without a store, and the context of the handler: ends come after random times."""

    def __init__(self, program: Node, recorded: list[JournalEntry], latencies: random.Random) -> None:
        self.journal = list(recorded)
        self.asked: list[tuple[int, str, str]] = []
        self.executed: list[str] = []
        self.reports: list[str] = []
        self._program = program
        self._latencies = latencies
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[tuple[JournalEntry, Any]]] = {}
        self._state = HandlerState(recorded, 0)
        self.runner = HandlerRunner(self, self._state)

    # The context.

    def step(self, function: Callable[[str], str], argument: str, *, name: str) -> FakeOperation:
        async def perform(entry: JournalEntry) -> None:
            await asyncio.sleep(self._latencies.choice((0, 0, 0.001, 0.002, 0.005)))
            self.executed.append(argument)
            try:
                entry.response = Payload(function(argument).encode())
            except ValueError as error:
                entry.error = str(error)

        return FakeOperation(self, "step", name, perform)

    def sleep(self, seconds: float) -> FakeOperation:
        return FakeOperation(self, "sleep", "sleep", after(seconds))

    async def gather(self, *operations: FakeOperation) -> list[Any]:
        futures = [self.runner.begin(operation) for operation in operations]
        return [await future for future in futures]

    async def race(self, *operations: FakeOperation) -> int:
        futures = [self.runner.begin(operation) for operation in operations]
        done, pending = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        for future in pending:
            future.cancel()
        return min(index for index, future in enumerate(futures) if future in done)

    # The engine.

    def begin(self, pending: PendingOperation) -> None:
        task = self._loop.create_task(pending.operation.execute(pending.number, pending.entry))
        self._tasks[pending.number] = task
        task.add_done_callback(self._performed)

    def _performed(self, task: asyncio.Task[tuple[JournalEntry, Any]]) -> None:
        if not task.cancelled():
            entry, value = task.result()
            entry.finished_at = 1 + int(time.monotonic() * 1_000_000) - STARTED_US
            entry.order = self._state.next_order()
            self.journal.append(entry)
            self.runner.deliver(entry, value)

    def interrupt(self, pending: PendingOperation) -> None:
        self._tasks[pending.number].cancel()

    def timer(self, handle: asyncio.TimerHandle) -> FakeOperation:
        operation = FakeOperation(self, "sleep", "timer", after(handle.when() - self.runner.loop.time()))
        operation.handle = handle
        return operation

    def record_cancellation(self, number: int) -> None:
        raise AssertionError(number)

    def received_in_vain(self, entry: JournalEntry) -> None:
        pass

    def went_live(self) -> None:
        pass

    def idle(self) -> None:
        assert self.runner.pending, "the handler waits for nothing"

    def may_cancel(self) -> bool:
        return True

    def cancelled(self) -> None:
        pass

    def report(self, message: str, error: BaseException | None) -> None:
        self.reports.append(f"{message}: {error!r}")

    async def result(self) -> Any:
        interpreter = Interpreter(self, lambda name: f"{name}:{random.random()}", fail)
        self.runner.run(interpreter.run(self._program))
        await self.runner.finished
        try:
            if self._state.exit_reason is not None:
                raise self._state.exit_reason
            return self.runner.main_task.result()
        except (StepError, ExceptionGroup, asyncio.CancelledError) as error:
            return repr(error)
        finally:
            self.runner.loop.abandon()
            for task in self._tasks.values():
                task.cancel()


STARTED_US = int(time.monotonic() * 1_000_000)


def fail(name: str) -> str:
    raise ValueError(f"{name} fails")


async def run(program: Node, recorded: list[JournalEntry], seed: int) -> tuple[FakeRun, Any]:
    fake = FakeRun(program, recorded, random.Random(seed))
    result = await fake.result()
    return fake, result


@pytest.mark.parametrize("seed", range(400))
async def test_replay_of_every_prefix_asks_for_the_same(seed):
    program = random_program(seed)
    first, output = await run(program, [], seed)
    again, same = await run(program, first.journal, seed + 1)
    assert same == output
    assert again.asked == first.asked
    assert not again.executed
    for length in range(len(first.journal)):
        prefix = first.journal[:length]
        resumed, resumed_output = await run(program, prefix, seed + length)
        recorded = {entry.step_type for entry in prefix if entry.kind == "step"}
        assert not recorded.intersection(resumed.executed)
        replayed, replayed_output = await run(program, resumed.journal, seed)
        assert replayed_output == resumed_output
        assert replayed.asked == resumed.asked
        assert not replayed.executed
