"""The HTTP API of a processor, in a process of its own beside it: queries must not starve the execution of workflows.

The processor binds the port and starts the process. A pair of sockets joins the two: the first line that goes over it
tells the process what it is to do, secrets included; then it asks by a byte for the metrics of the processor, which
come with their length in front. End of file tells either side that the other is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from durablectl.errors import ConfigurationError
from durablectl.http.listener import bind, check_tls, url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from durablectl.http.server_options import HttpOptions

_log = logging.getLogger("durablectl.http")

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_GRACE_SECONDS = 3.0
_LENGTH = struct.Struct(">I")
_METRICS_REQUEST = b"?"


@contextlib.asynccontextmanager
async def run_sidecar(
    options: HttpOptions, module: str, task: Mapping[str, Any], metrics: Callable[[], bytes]
) -> AsyncIterator[str]:
    """Have the API served until the block ends; its URL, "" where the address cannot be had: that is logged only.

    ``module`` is what the process runs, and ``task`` what it is told, as JSON. ConfigurationError for TLS files.
    """
    check_tls(options)
    listening = _bind_or_warn(options)
    if listening is None:
        yield ""
        return
    with listening:
        supervision = asyncio.create_task(_SidecarSupervisor(listening, module, task, metrics).run())
        try:
            address = url(options, listening)
            _log.info("The HTTP API listens on %s.", address)
            yield address
        finally:
            supervision.cancel()
            await asyncio.gather(supervision, return_exceptions=True)


def _bind_or_warn(options: HttpOptions) -> socket.socket | None:
    if os.name != "posix":
        _log.warning("Beside a processor, the HTTP API needs a POSIX system: run `durablectl serve-api` instead.")
        return None
    try:
        return bind(options)
    except ConfigurationError as error:
        _log.warning("%s Workflows are executed without it. %s", error.message, error.hint)
        return None


class _SidecarSupervisor:
    """Starts the process, answers it, and starts it again when it has ended."""

    def __init__(
        self, listening: socket.socket, module: str, task: Mapping[str, Any], metrics: Callable[[], bytes]
    ) -> None:
        self._listening = listening
        self._module = module
        self._task = json.dumps(task).encode() + b"\n"
        self._metrics = metrics

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = loop.time()
            code = await self._run_once()
            if loop.time() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _log.warning("The process of the HTTP API ended (%s); it is started again in %g s.", code, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> int | None:
        """Its exit code; minus the number of the signal that killed it."""
        ours, theirs = socket.socketpair()
        with theirs:
            passed = (theirs.fileno(), self._listening.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing of the directory where the user happens to be
                "-m",
                self._module,
                *map(str, passed),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for the processor, which may take a while to end
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            with contextlib.suppress(OSError):
                writer.write(self._task)
                while await reader.read(1) == _METRICS_REQUEST:
                    text = self._metrics()
                    writer.write(_LENGTH.pack(len(text)) + text)
                    await writer.drain()
        finally:
            writer.close()
            await _wait_or_kill(process)
        return process.returncode


async def _wait_or_kill(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class SupervisorLink:
    """The process's end of the pair of sockets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[bytes]] = deque()

    @classmethod
    async def open(cls, descriptor: int) -> SupervisorLink:
        return cls(*await asyncio.open_connection(sock=socket.socket(fileno=descriptor)))

    async def receive_task(self) -> dict[str, Any] | None:
        """What is to be done; None when the processor is gone already."""
        line = await self._reader.readline()
        given: dict[str, Any] | None = json.loads(line) if line else None
        return given

    async def metrics(self) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._writer.write(_METRICS_REQUEST)
        return await answer

    async def serve_until_closed(self) -> None:
        """Hand out the answers until the processor is gone, however it went."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                text = await self._reader.readexactly(length)
                answer = self._waiting.popleft()
                if not answer.done():  # whoever asked may have hung up
                    answer.set_result(text)
