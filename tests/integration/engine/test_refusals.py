"""What cannot be a step: values that nothing holds, steps inside steps, steps awaited twice, names of no line."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from durablectl import control, workflow
from durablectl.demo._proto.hello_pb2 import HelloRequest
from durablectl.errors import AppError, UsageError, WorkflowFailedError
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.workflow_runs import run_to_end, run_workflow, wait_for_output


class Opaque:
    pass


async def test_unserializable_value_error_names_step_and_type(settings, store):
    runs = itertools.count()

    async def make():
        next(runs)
        return Opaque()

    async def take(_value): ...

    @workflow
    async def result(ctx):
        await ctx.step(make)

    @workflow
    async def argument(ctx):
        await ctx.step(take, Opaque())

    async with running_processor(settings, result, argument):
        with pytest.raises(WorkflowFailedError, match=r"result of step 0 'make' is a Opaque that JSON cannot hold"):
            await run_workflow(store, result)
        with pytest.raises(WorkflowFailedError, match=r"argument of step 0 'take' is a Opaque that JSON cannot hold"):
            await run_workflow(store, argument)
    assert next(runs) == 1, "a second attempt cannot mend it"


async def test_messages_as_arguments_and_results(settings, store):
    async def shout(request: HelloRequest) -> HelloRequest:
        return HelloRequest(name=request.name.upper())

    async def join(first: HelloRequest, second: str) -> str:
        return first.name + second

    @workflow
    async def handler(ctx):
        loud = await ctx.step(shout, HelloRequest(name="ada"))
        return await ctx.step(join, loud, "!")

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.output == "ADA!"
    assert [(s.request, s.response) for s in view.journal] == [
        ({"name": "ada"}, {"name": "ADA"}),
        ([{"name": "ADA"}, "!"], "ADA!"),
    ]


async def test_a_step_inside_a_step_is_refused(settings, store):
    async def inner():
        return 1

    @workflow
    async def handler(ctx):
        async def outer():
            return await ctx.step(inner)

        await ctx.step(outer)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert (view.status, len(view.journal), view.journal[0].attempts) == ("failed", 1, 1)
    assert "'inner' was asked of the context outside of its handler: inside a step" in view.error


async def test_a_step_awaited_twice_is_refused(settings, store):
    async def inner():
        return 1

    @workflow
    async def handler(ctx):
        step = ctx.step(inner)
        assert await step == 1
        with pytest.raises(UsageError, match="'inner' was awaited twice"):
            await step
        with pytest.raises(UsageError, match="was awaited twice"):
            await ctx.gather(step)
        return await ctx.step(inner)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert (view.output, [s.step_number for s in view.journal]) == (1, [0, 1])


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 257, "\x1b[31m"])
async def test_a_step_name_that_no_line_can_show_is_refused(settings, store, name):
    @workflow
    async def handler(ctx):
        await ctx.step(asyncio.sleep, 0, name=name)

    async with running_processor(settings, handler):
        view = await run_to_end(store, handler)
    assert view.status == "failed"
    assert "must be 1 to 256 printable characters" in view.error
    assert view.journal == []


async def test_an_input_that_the_workflow_does_not_take_is_a_sentence(settings, store):
    @workflow
    async def none(_ctx): ...

    @workflow
    async def message(_ctx, request: HelloRequest):
        return request.name

    @workflow
    async def optional(_ctx, value="default"):
        return value

    async with running_processor(settings, none, message, optional):
        view = await run_to_end(store, none, 5)
        assert view.error == "The workflow 'none' takes no input, and was started with one."
        view = await run_to_end(store, message, {"nme": "typo"})
        assert (view.status, view.error_type) == ("failed", "InvalidValueError")
        assert "is not the JSON of a hello.HelloRequest" in view.error
        assert await run_workflow(store, optional) == "default"
        assert await run_workflow(store, optional, 0) == 0


async def test_the_longest_and_oddest_names_that_are_allowed_work(settings, store):
    name = "=-_" + "h" * 125

    @workflow(name=name)
    async def handler(_ctx, value):
        return value

    async with running_processor(settings, handler):
        request = control.StartRequest(name, 1, "i" * 125 + "-=_", "p" * 125 + "=-_")
        invocation_id = await control.start(store, request)
        assert await wait_for_output(store, invocation_id) == 1
        await wait_for_index_group(store, invocation_id, "completed")


@pytest.mark.parametrize(
    ("define", "words"),
    [
        (lambda: workflow(lambda _ctx: None), "is not a coroutine"),
        (lambda: workflow(name="a.b")(asyncio.sleep), "holds the character '.'"),
        (lambda: workflow(name="")(asyncio.sleep), "is empty"),
        (lambda: workflow(no_context), "takes 0 parameters"),
        (lambda: workflow(too_many), "takes 3 parameters"),
    ],
)
def test_invalid_workflow_is_refused_at_definition(define, words):
    with pytest.raises(AppError) as caught:
        define()
    assert words in caught.value.message


async def no_context(): ...


async def too_many(_ctx, _first, _second): ...
