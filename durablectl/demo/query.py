"""What the SDK can ask, on workflows of the sample app: ``python -m durablectl.demo.query``. Read ``tour`` first.

It starts a nats-server, services and a processor, and leaves nothing behind. With NATS_URL set it uses that server, in
a namespace of its own that it removes at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shlex
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from durablectl import Client, DurableError, NotFoundError, WorkflowFailedError
from durablectl.demo.services import HelloService
from durablectl.demo.workflows import async_workflow, flaky_workflow, greet_many, hello_workflow
from durablectl.embedded import EmbeddedServer
from durablectl.engine.sdk.app_loader import App
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.engine.worker.service_host import hosted
from durablectl.settings import Settings, resolve
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.provision import audit_configuration, stream_configurations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from durablectl.query import WorkflowPage

API = "http://127.0.0.1:8080/api/workflows"
_LIMIT_SECONDS = 30.0
_INTERRUPTED = 130


async def tour(client: Client) -> None:
    """Start workflows, and ask in every way there is."""
    await _start(client)
    await _get(client)
    await _list(client)
    await _page(client)
    await _count(client)


async def _start(client: Client) -> None:
    _title("Start workflows, like this one, and wait for them")
    _equal(
        'await client.start("hello_workflow", "Ada")',
        ["start", "hello_workflow", "--input", '"Ada"'],
        f"{API}/hello_workflow/invoke --json '\"Ada\"'",
    )
    started = [await client.start(hello_workflow, name, id=f"hello-{name.lower()}") for name in ("Ada", "Grace")]
    started.append(await client.start(async_workflow, "user-001", id="user-1", partition_key="user-001"))
    started.append(await client.start(greet_many, ["Ada", "Grace"], id="team"))
    started.append(await client.start(flaky_workflow, "flaky", id="order"))
    for invocation_id in started:
        try:
            _row(invocation_id, json.dumps(await client.result(invocation_id, timeout=_LIMIT_SECONDS)))
        except WorkflowFailedError as error:
            _row(invocation_id, error.message)
    _row(await client.start(hello_workflow, "Barbara", id="later", delay=timedelta(hours=1)), "starts in an hour")


async def _get(client: Client) -> None:
    _title("Get one, with its steps")
    _equal('await client.get_workflow("user-1")', ["get", "user-1"], f"{API}/user-1")
    workflow = await client.get_workflow("user-1")
    _row(workflow.invocation_id, workflow.handler, workflow.status)
    for step in workflow.journal or ():
        _row(f"step {step.step_number}", step.step_type, f"{json.dumps(step.request)} -> {json.dumps(step.response)}")

    _title("Of a long journal, only the last step")
    _equal('await client.get_workflow("user-1", steps=(-1, None))', ["get", "user-1", "--steps", "-1:"])
    workflow = await client.get_workflow("user-1", steps=(-1, None))
    for step in workflow.journal or ():
        _row(f"step {step.step_number}", step.step_type, f"one of {workflow.journal_length} steps")


async def _list(client: Client) -> None:
    _title("List all, those first whose status changed last")
    _equal("await client.list_workflows()", ["list"], API)
    _rows(await client.list_workflows())

    _title("Those that failed or were cancelled")
    _listing('status=["failed", "cancelled"]', status=["failed", "cancelled"])
    _rows(await client.list_workflows(status=["failed", "cancelled"]))

    _title("Those that have not ended")
    _listing('status="active"', f"{API}/active", status=["active"])
    _rows(await client.list_workflows(status="active"))

    _title("Those of a handler that changed in the last five minutes")
    _listing('handler="hello_workflow", since=timedelta(minutes=5)', handler=["hello_workflow"], since=["5m"])
    _rows(await client.list_workflows(handler="hello_workflow", since=timedelta(minutes=5)))

    _title("Those with a partition key")
    _listing('partition_key="user-001"', partition_key=["user-001"])
    _rows(await client.list_workflows(partition_key="user-001"))


async def _page(client: Client) -> None:
    _title("A page, and the next one behind its cursor")
    _listing("limit=4", limit=["4"])
    page = await client.list_workflows(limit=4)
    _rows(page)
    _listing("limit=4, cursor=page.next_cursor", limit=["4"], cursor=[page.next_cursor])
    _rows(await client.list_workflows(limit=4, cursor=page.next_cursor))


async def _count(client: Client) -> None:
    _title("Count those that have completed")
    address = _address(status=["completed"], limit=["1"])
    _equal(
        'await client.count_workflows(status="completed")',
        ["list", "--status", "completed", "--count"],
        f"{address} | jq .total",
    )
    _row(str(await client.count_workflows(status="completed")))

    _title("Statistics")
    _equal("await client.get_workflow_stats()", ["stats"], f"{API}/stats")
    stats = await client.get_workflow_stats()
    _row("all", str(stats.total))
    for status, number in stats.by_status.items():
        _row(status, str(number))
    for handler, statuses in stats.statuses_of.items():
        _row(handler, ", ".join(f"{number} {status}" for status, number in statuses.items()))


def _listing(arguments: str, address: str = "", **filters: Sequence[str]) -> None:
    flags = [word for name, values in filters.items() for each in values for word in (_flag(name), each)]
    _equal(f"await client.list_workflows({arguments})", ["list", *flags], address or _address(**filters))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _address(**parameters: Sequence[str]) -> str:
    return f"'{API}?{urlencode(parameters, doseq=True)}'"


def _equal(python: str, command: Sequence[str], http: str = "") -> None:
    """The call, and what asks the same: a line of the CLI, and one of curl where the HTTP API can ask it."""
    _say(f"  Python    {python}")
    _say(f"  CLI       durablectl wf {shlex.join(command)}")
    if http:
        _say(f"  HTTP API  curl -s {http}")


def _rows(page: WorkflowPage) -> None:
    for view in page.workflows:
        end = json.dumps(view.output) if view.status == "completed" else view.error
        _row(view.invocation_id, view.handler, view.status, end)
    _row(f"{len(page.workflows)} of {page.total}")


def _row(*cells: str) -> None:
    widths = (15, 21, 9)
    padded = [f"{cell:{width}} " for cell, width in zip(cells[:-1], widths, strict=False)]
    _say(f"    {''.join(padded)}{cells[-1]}".rstrip())


def _title(text: str) -> None:
    _say(f"\n{text}")


def _say(line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on: what was started is still removed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.asynccontextmanager
async def _stack() -> AsyncIterator[Settings]:
    """By which a client finds the server; services and a processor work there."""
    if os.environ.get("NATS_URL"):
        async with _working(replace(resolve({}), namespace=f"demo-{secrets.token_hex(3)}")) as settings:
            yield settings
        return
    directory = tempfile.TemporaryDirectory(prefix="durablectl-demo-", ignore_cleanup_errors=True)
    with directory as path, EmbeddedServer(Path(path)) as server:
        async with _working(Settings(url=server.url, namespace="demo")) as settings:
            yield settings


@contextlib.asynccontextmanager
async def _working(settings: Settings) -> AsyncIterator[Settings]:
    app = App()
    app.add([HelloService, hello_workflow, async_workflow, greet_many, flaky_workflow])
    stop, ready = asyncio.Event(), asyncio.Event()
    async with open_store(settings) as store, hosted(store, app.services.values()):
        processor = asyncio.create_task(Processor(store, app, ProcessorOptions(grace=0.2)).run(stop, ready))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait([processor, waiting], return_when=asyncio.FIRST_COMPLETED)
            if processor.done():
                processor.result()
            yield settings
        finally:
            waiting.cancel()
            stop.set()
            await asyncio.wait([processor])
            for stream in [*stream_configurations(store.subjects), audit_configuration(store.subjects)]:
                with contextlib.suppress(NotFoundError):
                    await store.requests.call(f"{store.api}.STREAM.DELETE.{stream['name']}")


async def _run() -> None:
    async with _stack() as settings, Client(url=settings.url, namespace=settings.namespace) as client:
        _say(f"On {settings.display_url}, in the namespace {settings.namespace}, which is gone at the end.")
        await tour(client)


def main() -> int:
    """The exit code: that of the error, 0 without one."""
    logging.getLogger("durablectl").addHandler(logging.NullHandler())  # what is logged is shown by the tour
    try:
        asyncio.run(_run())
    except DurableError as error:
        sys.stderr.write(f"Error: {error.message}\n{error.hint}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
