"""What a handler sees of a failed step: type, message and details, the same on every replay."""

from __future__ import annotations

import pytest

from durablectl import Retry, StepError, TerminalError, UsageError, control, workflow
from durablectl.errors import InvalidStateError
from helpers.in_process import running_processor
from helpers.workflow_runs import (
    run_over_suspension,
    run_to_end,
    run_workflow,
    start_workflow,
    wait_for_outcome,
    wait_for_status,
    wait_until_waiting_for,
)

ONCE = Retry(max_attempts=1)


class CardDeclinedError(Exception):
    def __init__(self, details):
        super().__init__("declined")
        self.details = details


class SecretiveError(Exception):
    @property
    def details(self):
        raise RuntimeError


async def pay(kind):
    details = {
        "tuple": {"code": 51, 7: ("a", None)},
        "set": {1, 2},
        "nan": float("nan"),
        "large": "x" * 9000,
        "surrogate": chr(0xD800),
        "none": None,
        "zero": 0,
    }
    if kind == "value error":
        raise ValueError("declined")
    if kind == "terminal":
        raise TerminalError("declined")
    if kind == "property":
        raise SecretiveError
    raise CardDeclinedError(details[kind])


def seen_of(error: StepError):
    return [error.error_type, error.error, error.details, error.attempts, str(error), repr(error.__cause__)]


DECLINED = f"{__name__}.CardDeclinedError"


@pytest.mark.parametrize(
    ("kind", "error_type", "details"),
    [
        ("tuple", DECLINED, {"code": 51, "7": ["a", None]}),
        ("zero", DECLINED, 0),
        ("set", DECLINED, None),
        ("nan", DECLINED, None),
        ("large", DECLINED, None),
        ("surrogate", DECLINED, None),
        ("none", DECLINED, None),
        ("property", f"{__name__}.SecretiveError", None),
        ("terminal", "durablectl.errors.TerminalError", None),
        ("value error", "ValueError", None),
    ],
)
async def test_step_error_is_the_same_on_every_run(settings, store, kind, error_type, details):
    seen = []

    @workflow
    async def handler(ctx):
        with pytest.raises(StepError) as caught:
            await ctx.step(pay, kind, retry=ONCE)
        seen.append(seen_of(caught.value))
        await ctx.signal("go")

    async with running_processor(settings, handler):
        view = await run_over_suspension(store, handler)
    assert (view.status, view.attempt, len(seen)) == ("completed", 2, 2)
    assert seen[0] == seen[1]
    assert seen[0][0] == error_type
    assert seen[0][2] == details
    assert view.journal[0].error_type == error_type.rpartition(".")[2]


@workflow
async def buyer(_):
    raise CardDeclinedError({"code": 51})


async def test_error_of_a_child_carries_its_type_and_details(settings, store):
    seen = []

    @workflow
    async def parent(ctx):
        with pytest.raises(StepError) as caught:
            await ctx.invoke(buyer)
        seen.append(seen_of(caught.value))
        await ctx.signal("go")

    async with running_processor(settings, parent, buyer):
        invocation_id = await start_workflow(store, parent)
        await wait_until_waiting_for(store, invocation_id, "signal:go")
        await control.signal(store, invocation_id, "go")
        await wait_for_outcome(store, invocation_id)
    assert len(seen) >= 2
    assert seen[0] == seen[1]
    assert seen[0][:3] == [DECLINED, "declined", {"code": 51}]


@workflow
async def holds(ctx, _):
    return await ctx.signal("go")


@workflow
async def sender(ctx, given):
    try:
        return await ctx.send(given[0], given[1], id="taken", partition_key=given[2])
    except StepError as error:
        return [error.error_type, error.attempts, error.error]


async def test_send_of_the_same_start_to_a_taken_id_is_that_start(settings, store):
    async with running_processor(settings, sender, holds):
        first = await run_workflow(store, sender, ["holds", {"a": 1}, "p"])
        await wait_for_status(store, "taken", "suspended")
        assert first == "taken"
        assert await run_workflow(store, sender, ["holds", {"a": 1}, "p"]) == "taken"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (["holds", {"a": 2}, "p"], "another input"),
        (["buyer", {"a": 1}, "p"], "another handler"),
        (["holds", {"a": 1}, "q"], "another partition key"),
        (["sender", None, ""], "another handler and another input and another partition key"),
    ],
)
async def test_send_of_another_start_to_a_taken_id_is_a_conflict_at_once(settings, store, other, what):
    async with running_processor(settings, sender, holds):
        await run_workflow(store, sender, ["holds", {"a": 1}, "p"])
        await wait_for_status(store, "taken", "suspended")
        output = await run_workflow(store, sender, other)
    sentence = f"A workflow with the id taken exists already, with {what} (suspended)."
    assert output == ["durablectl.errors.AlreadyExistsError", 1, sentence]


async def test_taken_id_of_a_child_is_a_conflict_at_once(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.engine.operations.child.child_id", lambda *_: "taken")

    @workflow
    async def invoker(ctx, how):
        try:
            await (ctx.invoke(holds, 1) if how == "invoke" else ctx.spawn(holds, 1))
        except StepError as error:
            return [error.error_type, error.error]

    async with running_processor(settings, invoker, holds):
        await start_workflow(store, holds, 1, id="taken")
        await wait_for_status(store, "taken", "suspended")
        for how in ("invoke", "spawn"):
            view = await run_to_end(store, invoker, how)
            sentence = "A workflow with the id taken exists already (suspended)."
            assert view.output == ["durablectl.errors.AlreadyExistsError", sentence]
            assert list(view.children) == []


async def test_step_that_is_refused_by_the_client_keeps_its_attempts(settings, store):
    """Another attempt may meet another state."""

    async def resume():
        await control.resume(store, "nothing-there")

    @workflow
    async def handler(ctx):
        with pytest.raises(StepError) as caught:
            await ctx.step(resume, retry=Retry(initial=0.01, max_attempts=2))
        return caught.value.attempts

    async with running_processor(settings, handler):
        assert await run_workflow(store, handler) == 2
    assert not issubclass(InvalidStateError, TerminalError)


async def test_request_over_the_maximum_payload_fails_at_the_first_attempt(settings, store):
    @workflow
    async def handler(ctx, how):
        large = "x" * (store.max_payload + 1)
        try:
            await (ctx.invoke(holds, large) if how == "invoke" else ctx.send(holds, large))
        except StepError as error:
            return [error.error_type, error.attempts <= 1]

    async with running_processor(settings, handler, holds):
        for how in ("invoke", "send"):
            output = await run_workflow(store, handler, how)
            assert output == ["durablectl.errors.PayloadTooLargeError", True]


class StopNowError(BaseException):
    """No Exception: what catches those lets it pass."""


class UnprintableError(BaseException):
    """Its own code fails wherever the engine looks at it."""

    def __str__(self):
        raise StopNowError

    @property
    def details(self):
        raise StopNowError


class EmptyStepError(StepError):
    def __init__(self):
        pass


class Stubborn(dict):
    def items(self):
        raise StopNowError


async def unprintable():
    raise UnprintableError


@pytest.mark.parametrize("where", ["step", "handler", "compensation", "output", "group", "empty step error"])
async def test_exception_whose_own_code_fails_ends_the_workflow(settings, store, caplog, where):
    @workflow
    async def fails(ctx):
        match where:
            case "step":
                await ctx.step(unprintable, retry=ONCE)
            case "handler":
                await unprintable()
            case "group":
                raise BaseExceptionGroup("", [UnprintableError(), UnprintableError()])
            case "empty step error":
                raise EmptyStepError
            case "output":
                return Stubborn(a=1)
        ctx.defer(unprintable)
        raise ValueError("no")

    async with running_processor(settings, fails):
        view = await run_to_end(store, fails)
    expected = {
        "step": "Step 0 'unprintable' failed at its first attempt: UnprintableError",
        "handler": "UnprintableError",
        "compensation": "no",
        "output": "StopNowError",
        "group": "2 errors: UnprintableError: UnprintableError; UnprintableError: UnprintableError",
        "empty step error": "EmptyStepError",
    }
    assert (view.status, view.error, view.attempt) == ("failed", expected[where], 1)
    assert "A bug in durablectl" not in caplog.text


async def test_context_of_another_workflow_is_refused(settings, store):
    kept = []

    @workflow
    async def gives(ctx):
        kept.append(ctx)

    @workflow
    async def takes(_ctx):
        await kept[0].step(pay, "tuple")

    async with running_processor(settings, gives, takes):
        await run_to_end(store, gives)
        view = await run_to_end(store, takes)
    assert "'pay' was asked of the context outside of its handler" in view.error
    with pytest.raises(UsageError, match="outside of its handler"):
        await kept[0].step(pay, "tuple")
