"""A nats-server that enforces the permissions of docs/permissions.md, and workflows on it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from durablectl import Context, control, workflow
from durablectl.cli.main import app
from durablectl.demo import HelloService
from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.provision import stream_config
from durablectl.storage.subjects import RECURRENCE
from helpers.in_process import hosted_services, running_processor
from helpers.operations import ALL, UNSERVED_HANDLER, asking, busy, paying, quick, release
from helpers.paths import ROOT
from helpers.stored_records import list_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_outcome, wait_for_status

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from durablectl.storage.connection.store import Store

DOCUMENT = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
PASSWORD = "change-me"  # noqa: S105  # the document's


@workflow
async def travelling(ctx: Context, user: Any) -> Any:
    """Sleeps, calls a service, awaits a child."""
    await ctx.sleep(1.1)
    hello = await ctx.call("HelloService", "SayHello", HelloRequest(name=user), HelloResponse)
    return f"{hello.message} {await ctx.invoke(quick, user)}"


def configuration(namespace: str) -> str:
    """The document's, with its table of names applied for another namespace than the default one."""
    (text,) = re.findall(r"^```nats\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    names = re.findall(r"^\| `([\w.]+)` \| `([\w.-]*shop[\w.-]*)` \|$", DOCUMENT, re.MULTILINE)
    assert len(names) == 9
    for old, new in names if namespace else ():
        before = '"' if old.endswith(".") else ""
        text = text.replace(before + old, before + new.replace("shop", namespace))
    return text


@dataclass
class Site:
    """A server that enforces the document, in one namespace."""

    server: EmbeddedServer
    namespace: str
    log: Path
    awakeable: str = ""

    def settings(self, user: str) -> Settings:
        return Settings(url=self.server.url, namespace=self.namespace, user=user, password=PASSWORD, timeout=30)

    def environment(self, user: str) -> dict[str, str]:
        return {
            "NATS_URL": self.server.url,
            "NATS_USER": user,
            "NATS_PASSWORD": PASSWORD,
            "DURABLECTL_NAMESPACE": self.namespace,
        }

    def cli(self, user: str, line: str) -> Result:
        runner = CliRunner(env=self.environment(user))
        return runner.invoke(app, line.format(awakeable=self.awakeable).split())

    def refused(self) -> list[str]:
        """What nats-server has refused so far, a line each."""
        return re.findall(r".* Violation .*", self.log.read_text(encoding="utf-8"))

    def condition(self) -> dict[str, tuple[int, int]]:
        """Of each stream the last sequence, and how many consumers there are."""

        async def look() -> dict[str, tuple[int, int]]:
            async with open_store(self.settings("admin")) as store:
                await wait_until(lambda: self._is_still(store))
                listed = await store.requests.call(f"{store.api}.STREAM.LIST")
            return {
                stream["config"]["name"]: (stream["state"]["last_seq"], stream["state"]["consumer_count"])
                for stream in listed["streams"] or ()
            }

        return asyncio.run(look())

    async def _is_still(self, store: Store) -> bool:
        """Whether no timer is set that may still fire."""
        if await stream_config(store, store.subjects.commands_stream) is None:
            return True
        timers = await list_subjects(store, store.subjects.commands_stream, store.subjects.timer("*", "*"))
        return not [timer for timer in timers if f".{RECURRENCE}." not in timer]


def serve(directory: Path, namespace: str) -> Site:
    log = directory / "log"
    server = EmbeddedServer(directory, config=configuration(namespace), log_file=log)
    return Site(server, namespace, log)


async def prepare(site: Site) -> None:
    """A workflow in each status, by users of the document's; then no processor is there any more."""
    settings = site.settings("processor")
    async with (
        hosted_services(site.settings("service"), HelloService),
        running_processor(settings, *ALL, travelling, retention=3600.0, runs_jobs=True),
        open_store(site.settings("client")) as store,
    ):
        await start_workflow(store, travelling, "Ada", id="travelled")
        await run_to_end(store, quick, "k", id="done")
        await run_to_end(store, paying, "k", id="failed")
        await start_workflow(store, UNSERVED_HANDLER, id="alone")
        await start_workflow(store, busy, site.namespace, id="paused")
        await wait_for_status(store, "paused", "running")
        await control.pause(store, "paused")
        release(site.namespace)
        await start_workflow(store, asking, "k", id="waiting")
        waiting = await wait_for_status(store, "waiting", "suspended")
        assert waiting.waiting_for is not None
        site.awakeable = waiting.waiting_for.awaited_id
        assert (await wait_for_outcome(store, "travelled")).output().startswith("Hello, Ada!")
        await wait_for_outcome(store, await control.start_job(store, "resume", ["done", "nowhere"]))
    result = await asyncio.to_thread(site.cli, "client", "schedule create yearly quick --every 365d")
    assert result.exit_code == 0, result.stderr
