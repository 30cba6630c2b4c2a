"""What the tests of breakdowns share: processors of the breakdown app, and an operator who only types commands."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from typing import TYPE_CHECKING, Any

from breakdown_app import BREAKDOWN
from durablectl.storage.records import leases
from helpers.paths import APPS
from helpers.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from durablectl.storage.connection.store import Store
    from helpers.spawned import Spawned, Spawner

APP = str(APPS / "breakdown_app.py")
LONG = 120.0
"""Seconds of one command on a busy machine."""


class Breakdown:
    """A namespace in which something breaks. ``switch`` leaves a file by which the app's code decides what it does."""

    def __init__(
        self,
        cli: Callable[..., subprocess.CompletedProcess[str]],
        spawn: Spawner,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._cli = cli
        self._spawn = spawn
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.environment = {BREAKDOWN: str(directory), **(environment or {})}
        """Of every process: the server, where it is one of the test's own."""

    def switch(self, name: str) -> None:
        (self.directory / name).touch()

    def processor(
        self,
        *options: str,
        app: str = APP,
        command: list[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Spawned:
        """Start one; ``command`` replaces the program."""
        words = ["run", "processor", app, "--grace", "1", *options]
        return self._spawn(*words, env={**self.environment, **(env or {})}, command=command)

    async def said(self, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """The exit code of a command, and what it has written; never a traceback."""
        environment = {**self.environment, **(env or {})}
        done = await asyncio.to_thread(self._cli, *args, env=environment, timeout=LONG)
        assert "Traceback" not in done.stderr, (args, done.stderr)
        assert "bug in durablectl" not in done.stderr, (args, done.stderr)
        return done.returncode, done.stdout, done.stderr

    async def running_processor(
        self,
        *options: str,
        app: str = APP,
        command: list[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Spawned:
        """A processor that takes commands."""
        process = self.processor(*options, app=app, command=command, env=env)
        await wait_until(lambda: "takes commands for" in process.err(), detail=process.err)
        return process

    async def run(self, *args: str, codes: tuple[int, ...] = (0,), env: Mapping[str, str] | None = None) -> str:
        """The output of a command that ends with one of these exit codes."""
        environment = {**self.environment, **(env or {})}
        done = await asyncio.to_thread(self._cli, *args, env=environment, timeout=LONG)
        assert done.returncode in codes, (args, done.returncode, done.stdout, done.stderr)
        return str(done.stdout)

    async def start(self, handler: str, *ids: str, input: Any = None) -> None:
        for each in ids:
            await self.run("wf", "start", handler, "--id", each, "--input", json.dumps(input))

    async def status(self, *options: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(await self.run("status", "--json", *options, codes=(0, 1), env=env))
        return report

    async def group(self, code: str, *options: str, env: Mapping[str, str] | None = None, **details: Any) -> Any:
        """The group of this code, as soon as status shows one with these details; ``count`` is that of the group."""
        last: dict[str, Any] = {}

        async def shown() -> dict[str, Any] | None:
            report = await self.status(*options, env=env)
            last.update(report)
            for group in report["groups"]:
                known = {**group["details"], **{name: group[name] for name in ("count", "severity")}}
                if group["code"] == code and all(known.get(name) == value for name, value in details.items()):
                    assert report["needs_person"] or group["severity"] == "notice"
                    return {**group, "report": report}
            return None

        return await wait_until(shown, PATIENCE, 0.2, lambda: f"no group {code} {details} in {last}")

    async def codes(self) -> set[str]:
        return {group["code"] for group in (await self.status())["groups"]}

    async def until_gone(self, code: str) -> None:
        """Until status shows no group of this code."""

        async def is_gone() -> bool:
            return code not in await self.codes()

        await wait_until(is_gone, PATIENCE, 0.2, lambda: f"{code} stays")

    async def diagnosis(self, *options: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(await self.run("doctor", "--json", *options, codes=(0, 1)))
        return report

    async def doctor_names(self, code: str, *options: str, is_notice: bool = False) -> None:
        """The diagnosis names the group, and is not healthy unless that ``is_notice``."""

        async def named() -> bool:
            diagnosis = await self.diagnosis(*options)
            (work,) = [check for check in diagnosis["checks"] if check["name"] == "work"]
            return (is_notice or not diagnosis["healthy"]) and code in {group["code"] for group in work["groups"]}

        await wait_until(named, PATIENCE, 0.2, lambda: f"doctor does not name {code}")

    async def doctor_finds(self, name: str, severity: str) -> dict[str, Any]:
        """The check of this name, as soon as it is so bad; with ``ok`` that trouble is over."""
        last: dict[str, Any] = {}

        async def found() -> dict[str, Any] | None:
            last.update(await self.diagnosis())
            checks = {check["name"]: check for check in last["checks"]}
            return checks[name] if checks.get(name, {}).get("severity") == severity else None

        check: dict[str, Any] = await wait_until(found, PATIENCE, 0.2, lambda: f"{name} is not {severity} in {last}")
        return check

    async def why(self, invocation_id: str, *options: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.run("wf", "why", invocation_id, "--json", *options))
        return answer

    async def follow(
        self, group: Mapping[str, Any], number: int = 0, codes: tuple[int, ...] = (0, 1), **words: str
    ) -> str:
        """Type the command that a group gives, with these words for those in capitals; many are agreed to."""
        program, *args = shlex.split(group["commands"][number]["command"])
        assert program == "durablectl"
        args = [words.get(word, word) for word in args]
        is_bulk = (
            args[0] == "wf" and args[1] != "why" and any(word.startswith("--") and word != "--data" for word in args)
        )
        return await self.run(*args, *(["--yes"] if is_bulk else []), codes=codes)

    async def ended(self, *ids: str, status: str = "completed") -> None:
        """Until these workflows have this status."""

        async def have_ended() -> bool:
            listed = [json.loads(await self.run("wf", "get", each, "--json")) for each in ids]
            return all(each["status"] == status for each in listed)

        await wait_until(have_ended, PATIENCE, 0.2)


async def seem_to_search(store: Store) -> None:
    """Be the longest-running processor, which alone searches for lost work: the others leave it to a command."""
    while True:
        await leases.renew(store, leases.Lease("searching", machine_time=time.time_ns() // 1000))
        await asyncio.sleep(leases.RENEW_SECONDS)
