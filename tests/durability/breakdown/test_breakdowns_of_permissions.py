"""Credentials that lack a permission: of the CLI, a processor, a service. Each is named, and granted as it is named."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from durablectl.embedded import EmbeddedServer
from helpers.breakdowns import APP, Breakdown
from helpers.permission_server import PASSWORD, configuration
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MISSING = re.compile(
    r"Error: These credentials may not (?:publish|subscribe) to \S+\.\n"
    r"Allow the NATS user to (publish|subscribe) \"(\S+)\"; docs/permissions.md lists what each command needs\.\n"
)


class Guarded:
    """A server with the users of docs/permissions.md, whose permissions can be taken and granted while it runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.text = configuration("")
        self.server = EmbeddedServer(directory, config=self.text, log_file=directory.with_suffix(".log"))

    def environment(self, user: str) -> dict[str, str]:
        return {"NATS_URL": self.server.url, "DURABLECTL_NAMESPACE": "", "NATS_USER": user, "NATS_PASSWORD": PASSWORD}

    async def take(self, user: str, pattern: str) -> None:
        """Without this line, or word, of the user's permissions."""
        await self._change(user, lambda own: re.sub(rf',?\s*"{re.escape(pattern)}"', "", own, count=1))

    async def grant(self, user: str, action: str, pattern: str) -> None:
        await self._change(user, lambda own: own.replace(f"{action} = [", f'{action} = ["{pattern}", ', 1))

    async def _change(self, user: str, change) -> None:
        own = re.search(rf"^{user} = \{{.*?^\}}", self.text, re.DOTALL | re.MULTILINE)[0]
        changed = change(own)
        assert changed != own
        self.text = self.text.replace(own, changed)
        if self.server.pid is None:
            return
        file = self._directory / "nats-server.conf"
        head = file.read_text(encoding="utf-8").partition("reader = {")[0]
        file.write_text(head + self.text, encoding="utf-8")
        log = self._directory.with_suffix(".log")
        reloads = log.read_text(encoding="utf-8").count("Reloaded server configuration")
        os.kill(self.server.pid, signal.SIGHUP)
        await wait_until(lambda: log.read_text(encoding="utf-8").count("Reloaded server configuration") > reloads)


@pytest.fixture
def guarded(tmp_path) -> Iterator[Guarded]:
    made = Guarded(tmp_path / "nats")
    with made.server:
        yield made


@pytest.fixture
def broken(cli, spawn, tmp_path, guarded):
    """Its processors and commands have the permissions of their kind."""
    return Breakdown(cli, spawn, tmp_path / "breakdown", guarded.environment("client"))


async def test_command_without_permission_names_each_that_is_to_be_granted(broken, guarded):
    await broken.running_processor(env=guarded.environment("processor"))
    await broken.start("deliver", "parcel-1")
    reader = guarded.environment("reader")
    granted = []
    for command in ("status", "doctor", "wf why parcel-1", "wf signal parcel-1 delivered --data 1"):
        while True:
            code, out, err = await broken.said(*command.split(), env=reader)
            missing = MISSING.fullmatch(err)
            if missing is None:
                break
            assert (code, out) == (4, ""), (command, out, err)
            await guarded.grant("reader", *missing.groups())
            granted.append(missing[2])
        assert code in {0, 1}, (command, err)
    assert len(granted) == len(set(granted)) > 3
    assert "$JS.API.STREAM.INFO.COMMANDS" in granted
    await broken.ended("parcel-1")


async def test_processor_without_permission_does_not_start_and_names_it(broken, guarded):
    await broken.running_processor(env=guarded.environment("processor"))  # it creates the streams
    await broken.start("send", "send-1")
    await guarded.take("processor", "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.*")
    code, out, err = await broken.said("run", "processor", APP, env=guarded.environment("processor"))
    missing = MISSING.fullmatch(err)
    assert (code, out) == (4, ""), err
    assert missing is not None, err
    assert missing.groups() == ("publish", "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.*")
    await guarded.grant("processor", *missing.groups())
    await broken.running_processor(env=guarded.environment("processor"))
    broken.switch("shipped")
    await broken.ended("send-1")


async def test_processor_that_may_not_call_a_service_retries_until_it_may(broken, guarded, spawn):
    await guarded.take("processor", "HelloService.*")
    await broken.running_processor(env=guarded.environment("processor"))
    spawn("run", "service", "durablectl.demo", env=guarded.environment("service"))
    await broken.start("call", "call-1", input="you")
    denied = "the processor has no permission to publish to HelloService.SayHello"
    group = await broken.group("retrying", count=1, handler="call", reason_code="permission_denied")
    assert denied in group["summary"]
    await broken.doctor_names("retrying")
    why = await broken.why("call-1")
    assert why["cause"] == "retrying"
    assert denied in why["verdict"]
    assert why["commands"][0]["command"] == "durablectl wf retry-now call-1"
    await guarded.grant("processor", "publish", "HelloService.*")
    await broken.follow(group, 1, codes=(0, 6))  # wf retry-now, unless it has just been tried by itself
    await broken.ended("call-1")
    await broken.until_gone("retrying")


async def test_service_without_permission_does_not_start_and_names_it(broken, guarded, spawn):
    await guarded.take("service", "HelloService.*")
    await broken.running_processor(env=guarded.environment("processor"))
    await broken.start("call", "call-1", input="you")
    service = guarded.environment("service")
    code, out, err = await broken.said("run", "service", "durablectl.demo", env=service)
    missing = MISSING.fullmatch(err)
    assert (code, out) == (4, ""), err
    assert missing is not None, err
    assert missing.groups() == ("subscribe", "HelloService.SayHello")
    group = await broken.group("retrying", count=1, handler="call", reason_code="no_service")
    assert group["commands"][0]["command"] == "durablectl run service APP"
    assert (await broken.why("call-1"))["commands"][0]["command"] == "durablectl run service APP"
    await broken.doctor_names("retrying")
    await guarded.grant("service", *missing.groups())
    process = spawn("run", "service", "durablectl.demo", env=service)
    await wait_until(lambda: "HelloService serves" in process.err(), detail=process.err)
    await broken.said("wf", "retry-now", "call-1")  # unless it has just been tried by itself
    await broken.ended("call-1")
