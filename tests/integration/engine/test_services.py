"""Service calls: JSON and protobuf both ways, the micro protocol's errors, and a service that is not there yet."""

from __future__ import annotations

import asyncio
import json

import nats.micro
import pytest

from durablectl import Retry, StepError, TerminalError, query, service, workflow
from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.errors import AppError
from helpers.in_process import hosted_services, running_processor
from helpers.waiting import PATIENCE, wait_until
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow, wait_for_output

ONCE = Retry(max_attempts=1)
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def names(namespace):
    """Services know no namespace: a name of its own for each test."""
    return f"Hello-{namespace}"


def greeter(name: str):
    @service(name, version="2.1.0")
    class Greeter:
        """Says hello."""

        async def SayHello(self, request: HelloRequest) -> HelloResponse:
            return HelloResponse(message=f"Hello, {request.name}!")

        async def Plain(self, request):
            return {"got": request}

        async def _hidden(self, request): ...

        def not_a_coroutine(self): ...

    return Greeter


async def test_protobuf_both_ways(settings, store, names):
    @workflow
    async def handler(ctx, user):
        hello = await ctx.call(names, "SayHello", HelloRequest(name=user), HelloResponse)
        return hello.message

    async with hosted_services(settings, greeter(names)), running_processor(settings, handler):
        view = await run_to_end(store, handler, "User:user-001")
    assert view.output == "Hello, User:user-001!"
    [step] = view.journal
    assert (step.step_type, step.kind) == (f"{names}.SayHello", "call")
    assert (step.request, step.response) == ({"name": "User:user-001"}, {"message": "Hello, User:user-001!"})


async def test_json_both_ways_and_json_into_a_message(settings, store, names):
    @workflow
    async def handler(ctx, value):
        plain = await ctx.call(names, "Plain", value)
        nothing = await ctx.call(names, "Plain")
        as_json = await ctx.call(names, "SayHello", {"name": "Ada"})
        as_message = await ctx.call(names, "SayHello", {"name": "Bob"}, HelloResponse)
        return [plain, nothing, as_json, as_message.message]

    async with hosted_services(settings, greeter(names)), running_processor(settings, handler):
        view = await run_to_end(store, handler, [1, {"a": None}])
    assert view.output == [{"got": [1, {"a": None}]}, {"got": None}, {"message": "Hello, Ada!"}, "Hello, Bob!"]
    assert view.journal[3].response == {"message": "Hello, Bob!"}


async def ask(store, subject: str, data: bytes, headers: dict[str, str] | None = None):
    reply = await store.nats.request(subject, data, timeout=60, headers=headers)
    return reply.data, dict(reply.headers or {})


async def test_any_nats_client_can_call_by_content_type(settings, store, names):
    message = HelloRequest(name="Ada").SerializeToString()
    hello = HelloResponse(message="Hello, Ada!").SerializeToString()
    async with hosted_services(settings, greeter(names)):
        data, headers = await ask(store, f"{names}.SayHello", b'{"name":"Ada"}', JSON)
        assert (json.loads(data), headers["Content-Type"]) == ({"message": "Hello, Ada!"}, "application/json")
        upper = {"Content-Type": "Application/JSON; charset=utf-8"}
        assert json.loads((await ask(store, f"{names}.SayHello", b'{"name":"Ada"}', upper))[0])
        assert await ask(store, f"{names}.SayHello", message, PROTOBUF) == (hello, PROTOBUF)
        assert await ask(store, f"{names}.SayHello", message) == (hello, PROTOBUF)
        assert (await ask(store, f"{names}.Plain", b"[1]"))[0] == b'{"got":[1]}'


@pytest.mark.parametrize(
    ("method", "data", "headers", "words"),
    [
        ("SayHello", b"\xff\xff", PROTOBUF, "SayHello takes a hello.HelloRequest, and was sent something else."),
        ("SayHello", b"{", JSON, "not JSON"),
        ("SayHello", b'{"nope":1}', JSON, "is not the JSON of a hello.HelloRequest"),
        ("Plain", b"\x0a\x01a", PROTOBUF, "Plain takes JSON, and was sent a protobuf message."),
    ],
)
async def test_a_bad_request_is_answered_with_400(settings, store, names, method, data, headers, words):
    async with hosted_services(settings, greeter(names)):
        _, answered = await ask(store, f"{names}.{method}", data, headers)
    assert answered["Nats-Service-Error-Code"] == "400"
    assert words in answered["Nats-Service-Error"]


async def test_service_is_visible_to_nats_micro(settings, store, names):
    async with hosted_services(settings, greeter(names)):
        reply = await store.nats.request(f"$SRV.INFO.{names}", b"", timeout=60)
    info = json.loads(reply.data)
    assert (info["name"], info["version"], info["description"]) == (names, "2.1.0", "Says hello.")
    assert sorted(e["subject"] for e in info["endpoints"]) == [f"{names}.Plain", f"{names}.SayHello"]


def raising(name: str, error: Exception, runs: list):
    @service(name)
    class Raising:
        async def do(self, request):
            runs.append(request)
            raise error

    return Raising


@pytest.mark.parametrize(
    ("error", "attempts", "seen"),
    [
        (ValueError("bad luck"), 3, ("ValueError: bad luck", "ServiceError 500")),
        (TerminalError("sold out"), 1, ("sold out", "ServiceError 422")),
        (SystemExit("two\nlines, Grüße"), 3, ("SystemExit: two lines, Grüße", "ServiceError 500")),
        (asyncio.CancelledError("own"), 3, ("CancelledError: own", "ServiceError 500")),
        (
            BaseExceptionGroup("of", [KeyboardInterrupt("a"), ValueError("b")]),
            3,
            ("KeyboardInterrupt, ValueError: 2 errors: KeyboardInterrupt: a; ValueError: b", "ServiceError 500"),
        ),
    ],
    ids=["error", "terminal", "lines", "cancelled", "group"],
)
async def test_an_error_of_the_service_reaches_the_handler(settings, store, names, error, attempts, seen):
    runs: list = []

    @workflow
    async def handler(ctx):
        with pytest.raises(StepError) as caught:
            await ctx.call(names, "do", 1)
        return [caught.value.error, caught.value.error_type]

    async with hosted_services(settings, raising(names, error, runs)), running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert tuple(view.output) == seen
    assert (view.journal[0].attempts, len(runs)) == (attempts, attempts)


@pytest.mark.parametrize(("code", "attempts"), [("404", 1), ("499", 1), ("503", 2), ("4", 2), ("4000", 2), ("no", 2)])
async def test_a_foreign_service_error_of_4xx_is_not_tried_again(settings, store, names, code, attempts):
    """A service of nats-py's own, as anyone may write it."""

    async def respond(request) -> None:
        await request.respond_error(code, "went wrong")

    micro = await nats.micro.add_service(store.nats, name=names, version="1.0.0")
    await micro.add_endpoint(name="do", subject=f"{names}.do", handler=respond)

    @workflow
    async def handler(ctx):
        await ctx.call(names, "do", 1, retry=Retry(initial=0.01, max_attempts=2))

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    await micro.stop()
    [step] = view.journal
    assert (step.attempts, step.error, step.error_type) == (attempts, "went wrong", f"ServiceError {code}")


async def test_missing_service_is_awaited_and_shown(settings, store, names):
    @workflow
    async def handler(ctx):
        return await ctx.call(names, "Plain", 1)

    async with running_processor(settings, handler):
        invocation_id = await start_workflow(store, handler)
        view = await wait_until(lambda: tried(store, invocation_id, 3))
        wait = view.waiting_for
        assert (wait.kind, wait.name, wait.step_number) == ("retry", f"{names}.Plain", 0)
        assert (wait.error, view.status) == ("no service answers", "running")
        assert view.to_json()["waiting_for"]["until"]
        async with hosted_services(settings, greeter(names)):
            assert await wait_for_output(store, invocation_id) == {"got": 1}
        view = await query.get_workflow(store, invocation_id)
    assert view.journal[0].attempts >= 4
    assert view.waiting_for is None


async def tried(store, invocation_id: str, times: int):
    view = await query.get_workflow(store, invocation_id)
    return view if view.waiting_for and view.waiting_for.attempt >= times else None


async def test_unanswered_call_waits_until_its_retry_policy_ends(settings, store, names):
    """Somebody listens, and never answers."""
    silent = await store.nats.subscribe(f"{names}.>")

    @workflow
    async def patient(ctx):
        await ctx.call(names, "Plain", 1, timeout=0.1)

    @workflow
    async def impatient(ctx):
        await ctx.call(names, "Plain", 1, timeout=0.1, retry=Retry(initial=0.01, max_attempts=2))

    @workflow
    async def nobody(ctx):
        await ctx.call(f"{names}-absent", "Plain", 1, retry=ONCE)

    async with running_processor(settings, patient, impatient, nobody):
        waiting = await start_workflow(store, patient)
        view = await run_to_end(store, impatient)
        assert [(s.attempts, s.error, s.error_type) for s in view.journal] == [
            (2, "no answer within 0.1 s", "Unavailable")
        ]
        view = await run_to_end(store, nobody)
        assert [(s.attempts, s.error) for s in view.journal] == [(1, "no service answers")]
        view = await wait_until(lambda: tried(store, waiting, 2))
        assert view.waiting_for.error == "no answer within 0.1 s"
        await silent.unsubscribe()


async def test_requests_of_one_endpoint_run_side_by_side(settings, store, names):
    everyone = asyncio.Barrier(5)

    @service(names)
    class Meeting:
        async def join(self, request):
            async with asyncio.timeout(60):
                return await everyone.wait() is not None and request

    @workflow
    async def handler(ctx):
        return await ctx.gather(*(ctx.call(names, "join", number) for number in range(5)))

    async with hosted_services(settings, Meeting), running_processor(settings, handler):
        assert await run_workflow(store, handler) == [0, 1, 2, 3, 4]


async def test_two_hosts_of_a_service_share_its_requests(settings, store, names):
    async with hosted_services(settings, greeter(names)), hosted_services(settings, greeter(names)):
        replies = [await ask(store, f"{names}.Plain", b"1") for _ in range(20)]
        info = await store.nats.subscribe("answers")
        await store.nats.publish(f"$SRV.PING.{names}", b"", reply="answers")
        pings = [json.loads((await info.next_msg(PATIENCE)).data)["id"] for _ in range(2)]
    assert (len(set(pings)), len(replies)) == (2, 20)


async def test_unserializable_or_oversized_service_answer_is_an_error(settings, store, names):
    @service(names)
    class Odd:
        async def opaque(self, request):
            return {request}

        async def huge(self, request):
            return "x" * request

    limit = store.max_payload
    async with hosted_services(settings, Odd):
        _, headers = await ask(store, f"{names}.opaque", b"1")
        assert headers["Nats-Service-Error-Code"] == "500"
        assert f"response of {names}.opaque is a set that JSON cannot hold" in headers["Nats-Service-Error"]
        for size in (limit * 2, limit, limit - 20):
            _, headers = await ask(store, f"{names}.huge", str(size).encode())
            assert headers["Nats-Service-Error-Code"] == "500", size
        assert len((await ask(store, f"{names}.huge", b"1000"))[0]) == 1002


async def test_app_without_service_is_reported(settings):
    with pytest.raises(AppError, match="no public"):

        @service("Empty")
        class Empty:
            pass

    with pytest.raises(AppError, match="holds the character"):

        @service("a.b")
        class Dotted:
            async def do(self, request): ...

    @service("Broken")
    class Broken:
        def __init__(self):
            raise ValueError("no database")

        async def do(self, request): ...

    with pytest.raises(
        AppError, match=r"The service 'Broken' cannot be made: Broken\(\) raised ValueError: no database"
    ):
        async with hosted_services(settings, Broken):
            pass
