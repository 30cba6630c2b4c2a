"""Random handlers: nested asyncio constructs around steps, sleeps and signals, made from a seed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from durablectl import StepError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DURATIONS = (0.0, 0.001, 0.002, 0.004)


@dataclass(frozen=True)
class Node:
    """One construct: ``kind`` names the method of Interpreter that runs it."""

    kind: str
    name: str
    children: tuple[Node, ...] = ()
    number: int = 0
    seconds: float = 0.0


WAITS = ("signal", "awakeable", "child")
"""Leaves for which something outside of the handler has to come."""

LEAVES = ("step", "step", "step", "failing_step", "sleep", "asyncio_sleep", "yield_once")
BRANCHES = (
    "sequence",
    "gather",
    "gather_exceptions",
    "task_group",
    "failing_task_group",
    "wait_first_completed",
    "wait_first_exception",
    "wait_all",
    "timeout",
    "wait_for",
    "shield",
    "queue",
    "lock",
    "semaphore",
    "event",
    "cancelled_task",
    "as_completed",
    "ctx_gather",
    "ctx_race",
    "cleanup",
)


@dataclass
class Generator:
    choices: random.Random
    leaves: tuple[str, ...] = LEAVES
    durations: tuple[float, ...] = DURATIONS
    stem: str = "n"
    _count: int = field(default=0)

    def name(self) -> str:
        self._count += 1
        return f"{self.stem}{self._count}"

    def node(self, depth: int) -> Node:
        kind = self.choices.choice(self.leaves if depth <= 0 or self.choices.random() < 0.3 else BRANCHES)
        seconds = self.choices.choice(self.durations)
        if kind in self.leaves:
            return Node(kind, self.name(), seconds=seconds)
        children = tuple(self.node(depth - 1) for _ in range(self.choices.randrange(1, 4)))
        return Node(kind, self.name(), children, self.choices.randrange(1, 4), seconds)


def random_program(
    seed: int,
    depth: int = 3,
    leaves: tuple[str, ...] = LEAVES,
    durations: tuple[float, ...] = DURATIONS,
    stem: str = "n",
) -> Node:
    """Return the program of this seed: a few constructs one after the other, named ``<stem><number>``."""
    generator = Generator(random.Random(seed), leaves, durations, stem)
    return Node("sequence", "main", tuple(generator.node(depth) for _ in range(generator.choices.randrange(1, 4))))


def nodes_of(node: Node, kind: str) -> list[Node]:
    """Return the nodes of this kind in a program."""
    found = [node] if node.kind == kind else []
    return found + [each for child in node.children for each in nodes_of(child, kind)]


class Interpreter:
    """Runs a program through a context.

    Args:
        ctx: The context of a workflow, or what has its methods ``step``, ``sleep``, ``gather`` and ``race``.
        effect: What a step does with its name.
        failing: What a failing step does: raise.
    """

    def __init__(self, ctx: Any, effect: Callable[[str], Any], failing: Callable[[str], Any]) -> None:
        self._ctx = ctx
        self._effect = effect
        self._failing = failing

    async def run(self, node: Node) -> Any:
        result = await getattr(self, node.kind)(node)
        return [node.kind, result]

    def _all(self, node: Node) -> list[Awaitable[Any]]:
        return [self.run(child) for child in node.children]

    def _tasks(self, node: Node) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(self.run(child)) for child in node.children]

    async def step(self, node: Node) -> Any:
        return await self._ctx.step(self._effect, node.name, name=node.name)

    async def failing_step(self, node: Node) -> Any:
        try:
            return await self._ctx.step(self._failing, node.name, name=node.name)
        except StepError as error:
            return str(error)

    async def sleep(self, node: Node) -> None:
        await self._ctx.sleep(node.seconds)

    async def asyncio_sleep(self, node: Node) -> None:
        await asyncio.sleep(node.seconds)

    async def yield_once(self, node: Node) -> None:
        del node
        await asyncio.sleep(0)

    async def signal(self, node: Node) -> Any:
        del node
        return await self._ctx.signal("note")

    async def awakeable(self, node: Node) -> Any:
        return await self._ctx.awakeable(node.name)

    async def child(self, node: Node) -> Any:
        return await self._ctx.invoke("random_child", node.name)

    async def sequence(self, node: Node) -> Any:
        return [await self.run(child) for child in node.children]

    async def gather(self, node: Node) -> Any:
        return await asyncio.gather(*self._all(node))

    async def gather_exceptions(self, node: Node) -> Any:
        async def fail() -> None:
            await self._ctx.step(self._failing, node.name, name=node.name)

        found = await asyncio.gather(*self._all(node), fail(), return_exceptions=True)
        return [str(each) for each in found]

    async def task_group(self, node: Node) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(child)) for child in node.children]
        return [task.result() for task in tasks]

    async def failing_task_group(self, node: Node) -> Any:
        tasks: list[asyncio.Task[Any]] = []
        messages: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(self.run(child)) for child in node.children]
                group.create_task(self._ctx.step(self._failing, node.name, name=node.name))
        except* StepError as errors:
            messages += [str(error) for error in errors.exceptions]
        return [messages, [task.cancelled() for task in tasks]]

    async def wait_first_completed(self, node: Node) -> Any:
        return await self._wait(node, asyncio.FIRST_COMPLETED)

    async def wait_first_exception(self, node: Node) -> Any:
        return await self._wait(node, asyncio.FIRST_EXCEPTION)

    async def wait_all(self, node: Node) -> Any:
        return await self._wait(node, asyncio.ALL_COMPLETED)

    async def _wait(self, node: Node, return_when: str) -> Any:
        tasks = self._tasks(node)
        done, pending = await asyncio.wait(tasks, return_when=return_when)
        finished = [index for index, task in enumerate(tasks) if task in done]
        if node.number % 2:
            for task in tasks:
                task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [finished, len(pending), [repr(each) for each in found]]

    async def timeout(self, node: Node) -> Any:
        results = []
        try:
            async with asyncio.timeout(node.seconds + 0.001):
                for child in node.children:
                    found = await self.run(child)
                    results.append(found)
        except TimeoutError:
            results.append("timed out")
        return results

    async def wait_for(self, node: Node) -> Any:
        try:
            return await asyncio.wait_for(self.run(node.children[0]), node.seconds + 0.001)
        except TimeoutError:
            return "timed out"

    async def shield(self, node: Node) -> Any:
        task = asyncio.create_task(self.run(node.children[0]))
        try:
            async with asyncio.timeout(node.seconds):
                await asyncio.shield(task)
        except TimeoutError:
            pass
        return await task

    async def queue(self, node: Node) -> Any:
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=node.number)

        async def produce() -> None:
            for child in node.children:
                await queue.put(await self.run(child))

        async def consume() -> list[Any]:
            return [await queue.get() for _ in node.children]

        _, found = await asyncio.gather(produce(), consume())
        return found

    async def lock(self, node: Node) -> Any:
        lock = asyncio.Lock()
        order: list[int] = []

        async def inside(index: int, child: Node) -> Any:
            async with lock:
                order.append(index)
                return await self.run(child)

        return [await asyncio.gather(*(inside(i, child) for i, child in enumerate(node.children))), order]

    async def semaphore(self, node: Node) -> Any:
        semaphore = asyncio.Semaphore(node.number)
        order: list[int] = []

        async def inside(index: int, child: Node) -> Any:
            async with semaphore:
                found = await self.run(child)
                order.append(index)
                return found

        return [await asyncio.gather(*(inside(i, child) for i, child in enumerate(node.children))), order]

    async def event(self, node: Node) -> Any:
        event = asyncio.Event()

        async def first() -> Any:
            found = await self.run(node.children[0])
            event.set()
            return found

        async def later(child: Node) -> Any:
            await event.wait()
            return await self.run(child)

        return await asyncio.gather(*(later(child) for child in node.children[1:]), first())

    async def cancelled_task(self, node: Node) -> Any:
        task = asyncio.create_task(self.run(node.children[0]))
        for child in node.children[1:]:
            await self.run(child)
        for _ in range(node.number):
            await asyncio.sleep(0)
        task.cancel()
        return await _outcome(task)

    async def as_completed(self, node: Node) -> Any:
        return [await each for each in asyncio.as_completed(self._all(node))]

    async def ctx_gather(self, node: Node) -> Any:
        steps = [self._ctx.step(self._effect, child.name, name=child.name) for child in node.children]
        return await self._ctx.gather(*steps, self._ctx.sleep(node.seconds))

    async def ctx_race(self, node: Node) -> Any:
        steps = [self._ctx.step(self._effect, child.name, name=child.name) for child in node.children]
        return await self._ctx.race(*steps, self._ctx.sleep(node.seconds))

    async def cleanup(self, node: Node) -> Any:
        async def guarded() -> Any:
            try:
                return await self.run(node.children[0])
            except asyncio.CancelledError:
                await self._ctx.step(self._effect, f"{node.name}-undo", name=f"{node.name}-undo")
                raise
            finally:
                await asyncio.sleep(0)

        task = asyncio.create_task(guarded())
        try:
            async with asyncio.timeout(node.seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            task.cancel()
            return await _outcome(task)


async def _outcome(task: asyncio.Task[Any]) -> str:
    """The result or the exception of a task, as text."""
    found = await asyncio.gather(task, return_exceptions=True)
    return repr(found[0])
