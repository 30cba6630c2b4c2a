"""Workflows for the recorded stores (helpers/recorded_store.py): one or more for every state of a workflow.

They use the public SDK only, so that every version of durablectl can run them. Recorded stores replay this code: the
steps of a workflow up to the place where its recording stopped must not change.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from durablectl import Context, Retry, TerminalError, service, workflow

HOME = "RECORDED_STORE_HOME"
"""Variable with the directory of the effects file and of the gate, a file that lets held and failing steps succeed."""
RELEASE = "RECORDED_STORE_RELEASE"
"""Variable with the release of the app: 2 has another step in ``reordered``, 3 has the workflow ``unregistered``."""

FAR = timedelta(days=36_500)
ONCE = Retry(max_attempts=1)


def _order_class():
    """A message class of the app's own, without generated code."""
    file = descriptor_pb2.FileDescriptorProto(name="recorded_store.proto", package="shop", syntax="proto3")
    message = file.message_type.add(name="Order")
    kinds = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="item", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    message.field.add(name="amount", number=2, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))


Order = _order_class()


def is_open() -> bool:
    return _home().joinpath("gate").exists()


def _home() -> Path:
    return Path(os.environ[HOME])


def _note(invocation_id: str, what: str) -> None:
    with _home().joinpath("effects").open("a", encoding="utf-8") as file:
        file.write(f"{invocation_id} {what}\n")


async def act(invocation_id: str, what: str) -> str:
    _note(invocation_id, what)
    return what


async def act_when_open(invocation_id: str, what: str) -> str:
    _note(invocation_id, what)
    while not is_open():
        await asyncio.sleep(0.02)
    return what


async def refuse_until_open(invocation_id: str, what: str, error: str) -> str:
    _note(invocation_id, what)
    if not is_open():
        raise TerminalError(error)
    return what


async def break_until_open(invocation_id: str, what: str) -> str:
    _note(invocation_id, what)
    if not is_open():
        raise ConnectionError("the bank does not answer")
    return what


async def die_until_open(invocation_id: str, what: str) -> str:
    _note(invocation_id, what)
    if not is_open():
        os._exit(9)
    return what


async def stall_until_open(invocation_id: str, what: str) -> str:
    _note(invocation_id, what)
    if not is_open():
        await asyncio.sleep(3600)
    return what


async def write_much(invocation_id: str, what: str) -> str:
    _note(invocation_id, what)
    return what * 20_000


def did(ctx: Context, what: str, function=act, *args, **options):
    return ctx.step(function, ctx.invocation_id, what, *args, name=what, **options)


@service("Depot")
class Depot:
    """Packs orders."""

    async def Weigh(self, request: dict) -> dict:
        return {"grams": 10 * request["amount"]}

    async def Pack(self, request: Order) -> Order:
        return Order(item=f"packed {request.item}", amount=request.amount)


@workflow
async def everything(ctx: Context, order: dict) -> dict:
    """Runs each operation once, and completes."""
    ctx.set("cart", [order])
    ctx.set("order", Order(item=order["item"], amount=order["amount"]))
    ctx.defer(act, ctx.invocation_id, "undo", name="undo")
    await did(ctx, "reserve")
    await ctx.sleep(0.01)
    first = await ctx.race(ctx.sleep(0.01), ctx.awakeable("late"))
    both = await ctx.gather(did(ctx, "left"), did(ctx, "right"))
    weight = await ctx.call("Depot", "Weigh", order)
    packed = await ctx.call("Depot", "Pack", Order(item=order["item"], amount=1), Order)
    await ctx.send(quick, 1)
    spawned = await ctx.spawn(quick, 2)
    invoked = await ctx.invoke(quick, order["amount"], partition_key="inner")
    ctx.log.info("all is done")
    return {
        "first": list(first),
        "both": both,
        "weight": weight,
        "packed": packed.item,
        "children": [invoked, await spawned.result()],
        "random": ctx.random(),
        "uuid": str(ctx.uuid()),
        "at": ctx.now().isoformat(),
    }


@workflow
async def quick(ctx: Context, amount: object = None) -> object:
    await did(ctx, "quick")
    return amount


@workflow
async def nothing(_: Context) -> None:
    """Completes without a step, input or output."""


@workflow
async def packing(ctx: Context, order: Order) -> Order:
    await did(ctx, "pack")
    return Order(item=f"packed {order.item}", amount=order.amount)


@workflow
async def shipping(ctx: Context, item: str) -> Order:
    return await ctx.invoke(packing, Order(item=item, amount=3), Order)


@workflow
async def bulky(ctx: Context, wait: bool) -> int:
    """Has a journal that is too big to be part of the record."""
    sizes = [len(await did(ctx, f"bulk{number}", write_much)) for number in range(6)]
    if wait:
        await ctx.awakeable("go")
    await did(ctx, "last")
    return sum(sizes)


@workflow
async def long(ctx: Context) -> int:
    """Runs more steps than one read returns, then waits."""
    done = 0
    for block in range(11):
        done += len(await ctx.gather(*(did(ctx, f"s{block}-{number}") for number in range(100))))
    await ctx.awakeable("go")
    return done


@workflow
async def approving(ctx: Context) -> object:
    ctx.set("stage", "before")
    await did(ctx, "ask")
    answer = await ctx.awakeable("approval")
    ctx.set("stage", "after")
    await did(ctx, "approved")
    return answer


@workflow
async def listening(ctx: Context) -> list:
    heard = [await ctx.signal("note"), await ctx.signal("note")]
    await did(ctx, "heard")
    return heard


@workflow
async def failing(ctx: Context, how: str) -> str:
    """Fails in the given way until the gate is open."""
    await did(ctx, "before")
    if how == "step":
        return await did(ctx, "refused", refuse_until_open, "the order is closed")
    if how == "attempts":
        return await did(ctx, "refused", break_until_open, retry=Retry(initial=0.01, max_attempts=3))
    if how == "stall":
        return await did(ctx, "stalled", stall_until_open, timeout=0.1, retry=ONCE)
    if how == "silence":
        return await ctx.awakeable("answer", timeout=0.1)
    if not is_open():
        raise ValueError(f"there is no {how!r}")
    return how


@workflow(timeout=0.5)
async def hurrying(ctx: Context) -> object:
    await did(ctx, "before")
    return await ctx.awakeable("answer")


@workflow(timeout=FAR)
async def limited(ctx: Context) -> object:
    return await ctx.awakeable("answer")


@workflow
async def relying(ctx: Context, how: str) -> str:
    return await ctx.invoke(failing, how)


@workflow
async def undoing(ctx: Context, how: str) -> None:
    """Has two compensations, and waits to be cancelled."""
    await did(ctx, "book")
    ctx.defer(act, ctx.invocation_id, "unbook", name="unbook")
    await did(ctx, "pay")
    undo = {"held": act_when_open, "broken": refuse_until_open}.get(how, act)
    more = ("the money is gone",) if how == "broken" else ()
    ctx.defer(undo, ctx.invocation_id, "refund", *more, name="refund")
    await ctx.sleep(FAR)


@workflow
async def delegating(ctx: Context, partition: str) -> object:
    await did(ctx, "delegate")
    return [await ctx.invoke(approving, partition_key=partition)]


@workflow
async def launching(ctx: Context) -> object:
    """Starts children of all three kinds; one begins in a hundred years."""
    await ctx.send(nothing, delay=FAR, id="launched-later")
    abandoned = await ctx.spawn(approving, parent_close="abandon")
    bound = await ctx.spawn(approving)
    return [await abandoned.result(), await bound.result()]


@workflow
async def sleeping(ctx: Context, seconds: float | None = None) -> str:
    await did(ctx, "lie down")
    await ctx.sleep(FAR if seconds is None else seconds)
    await did(ctx, "get up")
    return "rested"


@workflow
async def racing(ctx: Context) -> list:
    return list(await ctx.race(ctx.sleep(FAR), ctx.awakeable("first"), ctx.signal("first")))


@workflow
async def gathering(ctx: Context) -> list:
    """Has one part recorded, one in flight and one waiting."""
    return await ctx.gather(did(ctx, "done"), did(ctx, "held", act_when_open), ctx.awakeable("third"))


@workflow
async def holding(ctx: Context) -> str:
    await did(ctx, "before")
    await did(ctx, "held", act_when_open)
    return await did(ctx, "after")


@workflow
async def retrying(ctx: Context, seconds: float | None = None) -> str:
    await did(ctx, "before")
    wait = FAR if seconds is None else seconds
    retry = Retry(initial=wait, cap=wait, max_attempts=None, jitter=0)
    return await did(ctx, "flaky", break_until_open, retry=retry)


@workflow
async def reordered(ctx: Context) -> str:
    """Begins with another step in release 2."""
    done = await did(ctx, "bill" if os.environ.get(RELEASE) == "2" else "charge")
    await ctx.awakeable("go")
    return done


@workflow
async def crashing(ctx: Context) -> str:
    await did(ctx, "before")
    return await did(ctx, "deadly", die_until_open)


if os.environ.get(RELEASE) == "3":

    @workflow
    async def unregistered(ctx: Context, given: object) -> object:
        await did(ctx, "at last")
        return given
