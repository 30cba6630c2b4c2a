"""What the tests of `wf tail` share."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from durablectl import query
from helpers.operations import UNSERVED_HANDLER
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from durablectl.storage.connection.store import Store
    from helpers.operations import OperatorCli
    from helpers.spawned import Spawned, Spawner

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


async def consumers(store: Store, stream: str = "") -> list[str]:
    answer = await store.requests.call(f"{store.api}.CONSUMER.NAMES.{stream or store.subjects.state_stream}")
    return answer["consumers"] or []


async def no_consumers(store: Store, stream: str = "") -> bool:
    """The server removes one a moment after its reader has gone."""
    return not await consumers(store, stream)


def follower(spawn: Spawner) -> Callable[..., Awaitable[Spawned]]:
    """Starts ``wf tail ARGS`` and waits until it follows."""

    async def begin(desk: OperatorCli, *args: str) -> Spawned:
        process = spawn("wf", "tail", *args, env={"NATS_URL": desk.settings.url})
        await wait_until(lambda: consumers(desk.store))
        return process

    return begin


async def lines(process: Spawned, count: int) -> list[str]:
    """So many whole lines, while the process goes on."""
    await wait_until(lambda: process.out().count("\n") >= count)
    assert process.out().count("\n") == count
    return process.out().splitlines()


async def start_live_tail(desk: OperatorCli, *names: str, handler: str = UNSERVED_HANDLER) -> None:
    for name in names:
        await start_workflow(desk.store, handler, id=name)


async def revision(desk: OperatorCli, name: str) -> int:
    return (await query.get_workflow(desk.store, name)).revision


def ids_and_statuses(text: str) -> list[tuple[str, str]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [(change["invocation_id"], change["status"]) for change in found]
