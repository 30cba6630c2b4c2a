"""Processes that are forked ready to work, and that say how they ended."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, Self

from helpers.paths import APPS, TESTS


class Zygote:
    """The process that forks all others."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._exits: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(APPS)])}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "helpers.crash.zygote", stdin=pipe, stdout=pipe, env=environment
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        self._reader.cancel()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, code = line.split()
            self._exits[int(number)].set_result(int(code))

    def _tell(self, job: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")

    def fork(self, job: dict[str, Any]) -> Forked:
        number = next(self._numbers)
        self._exits[number] = asyncio.get_running_loop().create_future()
        self._tell({**job, "number": number})
        return Forked(self, number, self._exits[number])

    def kill(self, number: int) -> None:
        self._tell({"kill": number})


@dataclass
class Forked:
    zygote: Zygote
    number: int
    exit_code: asyncio.Future[int]

    async def kill(self) -> None:
        if not self.exit_code.done():
            self.zygote.kill(self.number)
        await self.exit_code
