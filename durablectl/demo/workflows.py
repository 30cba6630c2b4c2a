"""The sample workflows. Each is an ordinary coroutine; what it awaits through ``ctx`` is journaled and never redone."""

import asyncio

from durablectl import Context, Retry, TerminalError, workflow
from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.demo._proto.tickets_pb2 import ReserveRequest, ReserveResponse


@workflow
async def hello_workflow(ctx: Context, name: str) -> str:
    """One call to a service: ``--input '"Ada"'``."""
    hello = await ctx.call("HelloService", "SayHello", HelloRequest(name=name), HelloResponse)
    return hello.message


@workflow
async def greet_many(ctx: Context, names: list[str]) -> list[str]:
    """Calls side by side: ``--input '["Ada", "Grace"]'``."""
    hellos: list[HelloResponse] = await ctx.gather(
        *(ctx.call("HelloService", "SayHello", HelloRequest(name=name), HelloResponse) for name in names)
    )
    return [hello.message for hello in hellos]


@workflow
async def async_workflow(ctx: Context, user_id: str) -> list[str]:
    """Three calls, one after the other: ``--input '"user-001"'``."""
    greetings = []
    for kind in ("User", "Team", "Account"):
        request = HelloRequest(name=f"{kind}:{user_id}")
        hello = await ctx.call("HelloService", "SayHello", request, HelloResponse)
        greetings.append(hello.message)
    return greetings


@workflow
async def slow_workflow(ctx: Context, task: str) -> str:
    """Three steps of a second each; kill the processor, and the next one goes on from there: ``--input '"report"'``."""
    for stage in ("prepare", "process", "publish"):
        await ctx.step(work, stage, task, name=stage)
        ctx.log.info("%s: %s is done", task, stage)
    return f"{task} is published"


async def work(stage: str, task: str) -> str:
    await asyncio.sleep(1)
    return f"{stage} {task}"


@workflow
async def flaky_workflow(ctx: Context, task: str) -> str:
    """A step that is tried three times: ``--input '"flaky"'`` fails, ``--input '"flaky retry"'`` does not."""
    done: str = await ctx.step(attempt, task, retry=Retry(initial=0.5, max_attempts=3))
    return done


def attempt(task: str) -> str:
    if "flaky" in task and "retry" not in task:
        raise ConnectionError(f"{task!r} was dropped on the way")
    return f"{task}: done"


@workflow
async def add_ticket_to_cart(ctx: Context, request: ReserveRequest) -> list[str]:
    """State of its own, and a message as input: ``--input '{"ticket_id": "A-7", "user_id": "user-001"}'``."""
    ticket = await ctx.call("TicketService", "Reserve", request, ReserveResponse)
    if not ticket.reserved:
        raise TerminalError(f"The ticket {request.ticket_id} is held by somebody else.")
    cart: list[str] = [*ctx.get("cart", []), ticket.reservation_id]
    ctx.set("cart", cart)
    return cart
