"""Workflows to steer, a processor for them, and the command line in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from durablectl import TerminalError, control, workflow
from durablectl.cli.main import app
from durablectl.storage.connection.store import open_store
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typer.testing import Result

    from durablectl.query import WorkflowView
    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store

UNSERVED_HANDLER = "nobodys"
"""A handler that no processor has: its workflows stay pending."""

_gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
healed: set[str] = set()
effects: list[str] = []


def release(key: str) -> None:
    """Let the step that holds this key end, now or when it comes."""
    _gates[key].set()


async def hold(key: str) -> str:
    await _gates[key].wait()
    effects.append(f"held {key}")
    return key


async def charge(key: str) -> str:
    if key not in healed:
        raise TerminalError("no money")
    return "charged"


async def undo(key: str) -> str:
    effects.append(f"undone {key}")
    return key


async def note(key: str) -> str:
    effects.append(f"noted {key}")
    return key


@workflow
async def busy(ctx: Any, key: str) -> str:
    return await ctx.step(hold, key)


@workflow
async def asking(ctx: Any, key: str) -> Any:
    await ctx.step(note, key)
    return await ctx.awakeable("approval")


@workflow
async def quick(ctx: Any, key: str) -> str:
    return await ctx.step(note, key)


@workflow
async def paying(ctx: Any, key: str) -> str:
    await ctx.step(note, key)
    return await ctx.step(charge, key)


async def hoard(key: str) -> str:
    effects.append(f"hoarded {key}")
    return "x" * 100_000


@workflow
async def hoarding(ctx: Any, key: str) -> str:
    """Its journal is bigger than a message may be."""
    for _ in range(12):
        await ctx.step(hoard, key)
    return await ctx.step(charge, key)


@workflow
async def booking(ctx: Any, key: str) -> str:
    """Compensates, which takes until the test releases it."""
    ctx.defer(undo, key)
    ctx.defer(hold, f"undo-{key}")
    return await ctx.step(hold, key)


@workflow
async def listening(ctx: Any) -> list[Any]:
    return [await ctx.signal("item"), await ctx.signal("item")]


@workflow
async def delegating(ctx: Any, key: str) -> Any:
    return await ctx.invoke(asking, key)


ALL = [busy, asking, quick, paying, hoarding, booking, listening, delegating]


class OperatorCli:
    """An operator's place: a connection of its own, and the command line."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self._runner = CliRunner(env={"NATS_URL": settings.url, "DURABLECTL_NAMESPACE": settings.namespace})

    async def cli(self, *args: str, input: str | None = None) -> Result:
        """Run ``durablectl ARGS`` in a thread, so that the processor in this one goes on."""
        return await asyncio.to_thread(self._runner.invoke, app, args, input=input)

    async def ok(self, *args: str, input: str | None = None) -> str:
        result = await self.cli(*args, input=input)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    async def start_in_status(self, status: str) -> str:
        """The id of a workflow that stands in this status, and stays there; it is listed so, too."""
        if status == "pending":
            return await start_workflow(self.store, UNSERVED_HANDLER, "key")
        if status == "running":
            return await self.in_flight(busy)
        if status in {"completed", "failed"}:
            return await self.start_and_wait(quick if status == "completed" else paying, status)
        invocation_id = await self.start_and_wait(asking, "suspended")
        if status == "paused":
            await control.pause(self.store, invocation_id)
        elif status == "cancelled":
            await control.cancel(self.store, invocation_id)
        await wait_for_index_group(self.store, invocation_id, status)
        return invocation_id

    async def start_and_wait(self, handler: Any, status: str) -> str:
        """The id of a workflow whose input is its id, and that is listed in this status."""
        invocation_id = await self._started(handler, status)
        await wait_for_index_group(self.store, invocation_id, status)
        return invocation_id

    async def _started(self, handler: Any, status: str) -> str:
        invocation_id = new_key()
        await start_workflow(self.store, handler, invocation_id, id=invocation_id)
        await wait_for_status(self.store, invocation_id, status)
        return invocation_id

    async def in_flight(self, handler: Any) -> str:
        """The id of one whose step 0 runs until it is released."""
        invocation_id = await self._started(handler, "running")

        async def standing() -> WorkflowView | None:
            view = await wait_for_status(self.store, invocation_id, "running")
            return view if view.current_step == 0 else None

        await wait_until(standing)
        await wait_for_index_group(self.store, invocation_id, "running")
        return invocation_id


_KEYS = itertools.count(1)


def new_key() -> str:
    return f"w{next(_KEYS):04d}"


@contextlib.asynccontextmanager
async def operator_cli(settings: Settings) -> AsyncIterator[OperatorCli]:
    """With a processor; what it holds is released at the end."""
    async with running_processor(settings, *ALL), open_store(settings) as store:
        yield OperatorCli(store, settings)
