"""How to ask about workflows from Python: `python -m durablectl.demo.query`.

It starts a nats-server of its own, runs the sample workflows, and asks about them with ``durablectl.Client``. Each
question stands beside the command line that asks the same, and the request of the HTTP API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from durablectl.client import Client
from durablectl.embedded import EmbeddedServer
from durablectl.engine.app import App
from durablectl.engine.hosting import hosted
from durablectl.engine.processor import Processor, ProcessorOptions
from durablectl.errors import DurableError, WorkflowFailedError
from durablectl.settings import Settings
from durablectl.storage.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from durablectl.query import WorkflowView

_NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald")
_PAGE = 3
_TIMEOUT_SECONDS = 30.0


async def ask(client: Client) -> None:
    """Run sample workflows, and print what the queries say about them."""
    ids = [await client.start("hello_workflow", name, id=name.lower()) for name in _NAMES]
    await client.start("greet_many", list(_NAMES), id="greetings", partition_key="team-7")
    await client.start("flaky_workflow", "flaky", id="unlucky")
    await client.start("slow_workflow", "report", id="report", delay=3600)
    for invocation_id in [*ids, "greetings", "unlucky"]:
        with contextlib.suppress(WorkflowFailedError):
            await client.result(invocation_id, timeout=_TIMEOUT_SECONDS)

    _question("One workflow, with its journal", "wf get ada", "/api/workflows/ada")
    view = await client.get_workflow("ada")
    print(f"{view.invocation_id}: {view.handler}, {view.status}, output {view.output!r}")
    for step in view.journal or ():
        print(f"  step {step.step_number} {step.step_type}: {step.request} -> {step.response}")

    _question("The newest, and how many there are", "wf list --limit 5", "/api/workflows?limit=5")
    page = await client.list_workflows(limit=5)
    _rows(page.workflows)
    print(f"{len(page.workflows)} of {page.total}")

    _question("Those that failed, and why", "wf list --status failed", "/api/workflows?status=failed")
    for view in (await client.list_workflows(status="failed")).workflows:
        print(f"{view.invocation_id}: {view.error}")

    _question("Those that have not ended", "wf list --status active", "/api/workflows/active")
    _rows((await client.list_workflows(status="active")).workflows)

    _question(
        "By handler and time of the last change",
        "wf list --handler hello_workflow --since 1h",
        "/api/workflows?handler=hello_workflow&since=1h",
    )
    found = await client.list_workflows(handler="hello_workflow", since=timedelta(hours=1))
    print(f"{found.total} in the last hour")

    _question("By partition key", "wf list --partition-key team-7", "/api/workflows?partition_key=team-7")
    _rows((await client.list_workflows(partition_key="team-7")).workflows)

    await _page_through(client)

    _question("Only how many", "wf list --status completed --count", "/api/workflows?status=completed&limit=1")
    print(await client.count_workflows(status="completed"))

    _question("Counts of all kinds", "wf stats", "/api/workflows/stats")
    stats = await client.get_workflow_stats()
    for what, counts in (("by status", stats.by_status), ("by handler", stats.by_handler)):
        print(f"{what}: {', '.join(f'{number} {name}' for name, number in counts.items())}")
    print(f"total: {stats.total}")


async def _page_through(client: Client) -> None:
    """Page by page: what does not change meanwhile comes once, whatever the rest does."""
    _question(
        f"All, {_PAGE} at a time",
        f"wf list --limit {_PAGE}",
        f"/api/workflows?limit={_PAGE}",
        note="then again with --cursor, and the next_cursor of the answer",
    )
    cursor, pages = "", 0
    while True:
        page = await client.list_workflows(limit=_PAGE, cursor=cursor)
        pages += 1
        print(f"page {pages}: {', '.join(view.invocation_id for view in page.workflows)}")
        cursor = page.next_cursor
        if not cursor:
            return


def _question(what: str, command: str, path: str, note: str = "") -> None:
    print(f"\n# {what}\n$ durablectl {command}\n$ curl '127.0.0.1:8080{path}'   # the HTTP API")
    if note:
        print(f"# {note}")


def _rows(views: Iterable[WorkflowView]) -> None:
    for view in views:
        print(f"{view.invocation_id:<10} {view.handler:<16} {view.status}")


@contextlib.asynccontextmanager
async def processing(settings: Settings) -> AsyncIterator[None]:
    """The sample app, services and workflows, in this process."""
    from durablectl.demo import services, workflows

    app = App()
    app.add([*vars(services).values(), *vars(workflows).values()])
    stop, ready = asyncio.Event(), asyncio.Event()
    async with (
        open_store(settings) as store,
        hosted(store, app.services.values(), grace=1),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(Processor(store, app, ProcessorOptions(grace=1)).run(stop, ready))
        await ready.wait()
        try:
            yield
        finally:
            stop.set()


async def main() -> None:
    """Raises ConfigurationError where no nats-server can be started."""
    # What fails here is meant to, and told below.
    logging.getLogger("durablectl").addHandler(logging.NullHandler())
    with (
        tempfile.TemporaryDirectory(prefix="durablectl-query-") as directory,
        EmbeddedServer(Path(directory)) as server,
    ):
        async with processing(Settings(url=server.url)), Client(url=server.url, namespace="") as client:
            await ask(client)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except DurableError as error:
        sys.exit(f"{error.message} {error.hint}".strip())
