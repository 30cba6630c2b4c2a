"""How the scenarios of the crash sweep come about, and how they are led to their ends."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from crash_sweep_app import DEADLY
from durablectl.model.names import awakeable_id_of
from durablectl.model.records import Command, Payload
from durablectl.storage.connection.requests import Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from durablectl.storage.streams import direct_get
from durablectl.storage.streams.provision import is_provisioned
from helpers.crash.points import points, sources
from helpers.stored_commands import publish_command
from helpers.stored_records import list_journal_subjects
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from helpers.crash.case import Case

AWAKEABLE = awakeable_id_of("w", "ok", 1)
W = "w"


def start_workflow(handler: str, *input: Any, **more: Any) -> Callable[[Case], Awaitable[None]]:
    async def drive(case: Case) -> None:
        await case.start(handler, *input, **more)

    return drive


def operate(name: str, *args: Any, **options: Any) -> Callable[[Case], Awaitable[list[Any]]]:
    async def operation(_: Case) -> list[Any]:
        return [name, args, options]

    return operation


async def nothing(_: Case) -> None:
    pass


async def family(case: Case) -> None:
    await case.start("family")
    await case.resolve()


async def bare(case: Case) -> None:
    await wait_until(lambda: is_provisioned(case.store))
    await case.start("small", 0.0)


async def compensated(case: Case) -> None:
    await case.start("compensated")
    await case.reaches("suspended", waits_for="child")
    await case.do("cancel", W)


async def compensated_in_work(case: Case) -> None:
    await case.start("compensated_in_work")

    async def both() -> bool:
        return sum(each.status == "running" and each.current_step >= 0 for each in await case.executions()) == 2

    await wait_until(both, every=0.05)
    await case.do("cancel", W)


async def paused(case: Case) -> None:
    await in_a_step(case)
    await case.do("pause", W)
    await resumed(case)


async def is_in_step(case: Case) -> bool:
    found = await case.execution()
    return found is not None and found.current_step >= 0


async def resumed(case: Case) -> None:
    """Whenever it is paused, and its step has ended, or the processor of that is gone."""
    case.release_steps()

    async def over() -> bool:
        found = await case.execution()
        assert found is not None
        if found.status == "paused" and (not found.owner or case.died):
            await case.do("resume", W)
        return found.status == "completed"

    await wait_until(over, every=0.05)


def command(handler: str = "small", **fields: Any) -> Command:
    return Command(W, handler, input=Payload(b"0"), created_at=int(time.time() * 1e6), **fields)


async def unrouted_and_malformed_commands(case: Case) -> None:
    """A command whose handler stands in its body only, and one that is no command."""
    subjects = case.store.subjects
    await publish_command(case.store, command(), subject=subjects.unrouted_commands.replace("*", "any"))
    await case.store.requests.publish(subjects.command("small", ""), b"\xff\xff")
    await case.reaches("completed")


async def without_state(case: Case) -> None:
    await publish_command(case.store, command(), W)


async def early(case: Case) -> None:
    await a_delayed(case)
    await case.do("resume", W)


async def woken_early(case: Case) -> None:
    await case.start("family")
    # After a death the sleep may be over before anybody has suspended it.
    await case.reaches("suspended", waits_for="sleep or awakeable")
    await publish_command(case.store, Command(W, "family", kind="wake"))
    await case.resolve()


async def damage(case: Case, handler: str) -> Callable[[], Awaitable[Any]]:
    """Of the journal; what mends it."""
    await case.start(handler)
    await case.reaches("suspended")
    store = case.store
    subject = store.subjects.journal(W, "0")
    good = await direct_get.get_last(store, store.subjects.state_stream, subject)
    assert good is not None
    await store.requests.publish(subject, b"\xff\xff")
    return partial(store.requests.publish, subject, good.data)


async def damaged_journal(case: Case) -> None:
    mend = await damage(case, "waits_for_go")
    await case.do("signal", W, "go", 1)
    await case.reaches("paused")
    await mend()
    await case.do("resume", W)


async def damaged_and_cancelled(case: Case) -> None:
    await damage(case, "defers")
    await case.do("cancel", W)


async def ended_by_hand(case: Case) -> None:
    await a_wait(case)
    await case.do("cancel", W, now=True)


async def died_on(case: Case) -> None:
    await case.start("deadly")
    assert await case.processor().exit_code == DEADLY


async def fired(case: Case) -> None:
    await case.do("create_schedule", "s", "takes", input=1, every=1)
    await wait_until(case.executions, every=0.1)
    await case.do("delete_schedule", "s")


async def go(case: Case) -> None:
    await case.do("resume", W)
    await case.do("signal", W, "go", 1)


async def a_wait(case: Case) -> None:
    await case.start("waits_for_go")
    await case.reaches("suspended")


async def a_paused_wait(case: Case) -> None:
    await a_wait(case)
    await case.do("pause", W)


async def a_failure(case: Case) -> None:
    await case.start("fails")
    await case.reaches("failed")

    async def is_purged() -> bool:
        return not await list_journal_subjects(case.store, W)

    await wait_until(is_purged)
    case.repair()


async def a_back_off(case: Case) -> None:
    await case.start("backs_off")
    await case.reaches("suspended", waits_for="retry")
    case.repair()


async def tried(case: Case) -> None:
    """Until it has completed, however often that takes."""

    async def over() -> bool:
        found = await case.execution()
        assert found is not None
        if found.status == "suspended":
            await case.do("retry_now", W)
        return found.status == "completed"

    await wait_until(over, every=0.05)


async def a_big_failure(case: Case) -> None:
    await case.start("big")
    await case.reaches("failed")
    case.repair()


async def a_compensated(case: Case) -> None:
    await case.start("compensated")
    await case.reaches("suspended", waits_for="child")


async def a_completion(case: Case) -> None:
    await case.start("small", 0.0)
    await case.reaches("completed")


async def a_family(case: Case) -> None:
    await case.start("family")
    await case.reaches("suspended", waits_for="awakeable")


async def in_a_step(case: Case) -> None:
    await case.start("held")
    await wait_until(lambda: is_in_step(case), every=0.05)


async def let_go(case: Case) -> None:
    case.release_steps()


async def paused_in_a_step(case: Case) -> None:
    await in_a_step(case)
    await case.do("pause", W)


async def a_delayed(case: Case) -> None:
    await case.start("small", 0.0, start_at=int((time.time() + 15) * 1e6))


async def far_away(case: Case) -> None:
    await case.start("small", 0.0, start_at=int((time.time() + 60) * 1e6))


async def a_schedule(case: Case) -> None:
    await case.do("create_schedule", "s", "takes", input=1, every=1000)


async def without_schedule(case: Case) -> None:
    await case.do("delete_schedule", "s")


async def restart_as_of(case: Case) -> list[Any]:
    stored = await states.load(case.store, W)
    assert stored is not None
    return ["restart", [W], {"if_revision": stored.revision}]


async def damaged(case: Case) -> None:
    """The index, the names of handlers and the commands are gone; two entries are there that should not be."""
    await case.start("small", 0.0)
    store, subjects = case.store, case.store.subjects
    stored = await states.load(store, W)
    assert stored is not None
    wrong = index_entries.index_subject(subjects, replace(stored.execution, status="failed"))
    streams = {
        subjects.index_stream: [">"],
        subjects.commands_stream: [">"],
        subjects.state_stream: [subjects.handler("*")],
    }
    purges = [purge_request(store, stream, each) for stream, filters in streams.items() for each in filters]
    await store.requests.exchange(purges)
    await store.requests.exchange([Request(wrong), Request(wrong.rpartition(".")[0] + ".odd")])


async def with_processor(case: Case, prepare: Callable[[Case], Awaitable[None]]) -> None:
    """Which is gone afterwards."""
    processor = case.processor()
    await prepare(case)
    await processor.kill()


async def retried(case: Case) -> None:
    await with_processor(case, a_failure)
    await case.do("retry", W)


async def retried_big(case: Case) -> None:
    await with_processor(case, a_big_failure)
    await case.do("retry", W)


async def unfolded(case: Case) -> None:
    """Ended by a client that died before it had made the journal part of the record."""

    async def ended(case: Case) -> None:
        await a_wait(case)
        place = next(
            each for each in points(sources()) if each.name == "control.lifecycle._cancel_unowned>inline_journal"
        )
        await case.fork("client", operation=["cancel", [W], {"now": True}], crash_at=f"{place.traced}:before").exit_code

    await with_processor(case, ended)
