"""A user who lacks one permission: what it does is refused with the subject and what to grant, at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from durablectl import query
from durablectl.embedded import EmbeddedServer
from durablectl.errors import PermissionDeniedError
from durablectl.settings import Settings
from durablectl.storage.connection.permissions import Violation, pattern_for, permission_denied, violation_in
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.permission_probes import processor_probes
from durablectl.storage.streams.provision import stream_configurations
from helpers.in_process import running_processor
from helpers.operations import quick
from helpers.permission_server import configuration, travelling
from helpers.waiting import block_until, wait_until
from helpers.workflow_runs import start_workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOME = "durablectl.demo"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], EmbeddedServer]]:
    """Start a server with this text of the document's configuration left out."""
    servers = []

    def start(*without: str) -> EmbeddedServer:
        text = configuration("")
        for line in without:
            assert line in text
            text = text.replace(line, "")
        server = EmbeddedServer(tmp_path / "server", config=text)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def environment(server: EmbeddedServer, user: str) -> dict[str, str]:
    return {"NATS_URL": server.url, "NATS_USER": user, "NATS_PASSWORD": "change-me", "DURABLECTL_NAMESPACE": ""}


def as_user(server: EmbeddedServer, user: str) -> Settings:
    return Settings(url=server.url, user=user, password="change-me")  # noqa: S106  # the document's


async def test_step_names_the_permission_that_a_call_lacks(serve):
    server = serve('    "HelloService.*"\n')
    async with (
        running_processor(as_user(server, "processor"), travelling, quick),
        open_store(as_user(server, "client")) as store,
    ):
        await start_workflow(store, travelling, "Ada", id="t")

        async def is_retried() -> bool:
            view = await query.get_workflow(store, "t")
            return view.waiting_for is not None and view.waiting_for.kind == "retry"

        await wait_until(is_retried)
        waits = (await query.get_workflow(store, "t")).waiting_for
    assert waits.error == "the processor has no permission to publish to HelloService.SayHello (docs/permissions.md)"
    assert waits.reason_code == "permission_denied"


def test_service_that_may_not_subscribe_does_not_start(serve, cli):
    server = serve(', "HelloService.*"')
    done = cli("run", "service", HOME, env=environment(server, "service"))
    assert done.returncode == 4
    assert "Error: These credentials may not subscribe to HelloService.SayHello" in done.stderr
    assert 'Allow the NATS user to subscribe "HelloService.SayHello"' in done.stderr
    assert "Traceback" not in done.stderr


def test_service_hidden_from_discovery_serves_with_a_warning(serve, spawn):
    server = serve(', "$SRV.>"')
    process = spawn("run", "service", HOME, env=environment(server, "service"))
    block_until(lambda: "TicketService serves:" in process.err(), 60, 0.05, process.err)
    assert 'hidden from `nats micro`: Allow the NATS user to subscribe "$SRV.>"' in process.err()
    assert process.err().count("hidden") == 2  # once per service


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ('    "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.*"\n', 'publish "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.*"'),
        ('    "$JS.ACK.COMMANDS.>"\n', 'publish "$JS.ACK.COMMANDS.>"'),
        ('    "schedules.>"\n', 'publish "schedules.>"'),
        ('    "commands.>"\n', 'publish "commands.>"'),
        ('    "durable.>"\n', 'publish "durable.>"'),
        ('    "$KV.EXECUTION_STATE.>"\n', 'publish "$KV.EXECUTION_STATE.>"'),
        ('    "$JS.API.STREAM.PURGE.COMMANDS"\n', 'publish "$JS.API.STREAM.PURGE.COMMANDS"'),
        ('    "$JS.API.DIRECT.GET.KV_EXECUTION_STATE.>"\n', 'publish "$JS.API.DIRECT.GET.KV_EXECUTION_STATE.>"'),
        (', "durable.poke.*"', 'subscribe "durable.poke.*"'),
    ],
)
def test_processor_without_a_permission_does_not_start(serve, cli, missing, told):
    server = serve(missing)
    done = cli("run", "processor", HOME, env=environment(server, "processor"))
    assert done.returncode == 4, done.stderr
    assert re.search(r"Error: These credentials may not (publish|subscribe) to \S+", done.stderr), done.stderr
    assert f"Allow the NATS user to {told}" in done.stderr
    assert "Traceback" not in done.stderr


async def test_probes_of_a_processor_change_nothing(store):
    async def condition() -> list[tuple[str, dict]]:
        ours = [each["name"] for each in stream_configurations(store.subjects)]
        return [(name, (await store.requests.call(f"{store.api}.STREAM.INFO.{name}"))["state"]) for name in ours]

    before = await condition()
    assert len(before) == 4
    for probe in processor_probes(store):
        await store.nats.publish(probe.subject, probe.payload, headers=probe.headers)
    await store.flush()
    await store.flush()
    assert await condition() == before


@pytest.mark.parametrize(
    ("words", "subject", "pattern"),
    [
        ('publish to "$js.ack.commands_shop.h.1.2.3"', "$JS.ACK.COMMANDS_shop.h.1.2.3", "$JS.ACK.COMMANDS_shop.>"),
        (
            'publish to "$js.api.consumer.create.commands.handler-a.commands.a.>"',
            "$JS.API.CONSUMER.CREATE.COMMANDS.handler-a.commands.a.>",
            "$JS.API.CONSUMER.CREATE.COMMANDS.*.>",
        ),
        ('publish to "$kv.execution_state.order-1"', "$KV.EXECUTION_STATE.order-1", "$KV.EXECUTION_STATE.>"),
        ('publish to "_inbox.abc.1"', "_INBOX.abc.1", "_INBOX.>"),
        ('subscription to "$srv.ping"', "$SRV.PING", "$SRV.>"),
        ('subscription to "durable-shop.poke.host-1"', "durable-shop.poke.host-1", "durable-shop.poke.*"),
        ('publish to "durable-shop.poke.host-1"', "durable-shop.poke.host-1", "durable-shop.>"),
        ('subscription to "a.b" using queue "q"', "a.b", "a.b"),
    ],
)
def test_refusal_gives_subject_and_pattern_to_allow(words, subject, pattern):
    violation = violation_in(f"nats: permissions violation for {words}")
    assert (violation.subject, pattern_for(violation)) == (subject, pattern)


def test_many_refusals_are_one_sentence():
    error = permission_denied([Violation("publish", f"{name}.x") for name in "abcde"] + [Violation("subscribe", "s")])
    assert isinstance(error, PermissionDeniedError)
    assert error.message == (
        "These credentials may not publish to a.x, b.x, c.x and 2 more subjects and not subscribe to s."
    )
