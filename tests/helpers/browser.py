"""Headless Chromium, driven by the DevTools protocol over a pair of pipes: nothing to install but the browser."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from helpers.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "about:blank",
)
_MIDDLE = """(async () => {
  const find = () => [...document.querySelectorAll(%s)].find((each) => each.checkVisibility());
  find()?.scrollIntoView({ block: "center" });
  const middle = () => {
    const { x, y, width, height } = find()?.getBoundingClientRect() ?? {};
    return [x + width / 2, y + height / 2];
  };
  const before = middle();
  await new Promise((done) => setTimeout(done, 60));
  const [x, y] = middle();
  const isThere = x === before[0] && y === before[1] && find().contains(document.elementFromPoint(x, y));
  return isThere ? [x, y] : null;
})()"""
_LARGEST_MESSAGE = 64 * 1024 * 1024
DESKTOP, PHONE, NARROW = (1440, 900), (390, 844), (320, 640)


def chromium() -> str:
    """Its path; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return found or pytest.skip("no chromium is installed (Debian: apt-get install chromium)")


class Page:
    """One tab. ``problems`` are the errors its console has shown; a test expects none."""

    def __init__(self, reader: asyncio.StreamReader, writer: int, base: str) -> None:
        self.base = base
        self.problems: list[str] = []
        self.requested: list[str] = []
        self.password = ""
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session = ""
        self._sent: set[asyncio.Task[Any]] = set()

    async def listen(self) -> None:
        while True:
            message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
            if answer := self._answers.pop(message.get("id", 0), None):
                answer.set_result(message)
            else:
                self._note(message.get("method", ""), message.get("params", {}))

    async def attach(self) -> None:
        targets = (await self.send("Target.getTargets"))["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answering = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        await asyncio.to_thread(os.write, self._writer, json.dumps(message).encode() + b"\0")
        answer = await asyncio.wait_for(answering, PATIENCE)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Fetch.authRequired":
            response = {"response": "ProvideCredentials", "username": "any", "password": self.password}
            self._later("Fetch.continueWithAuth", requestId=params["requestId"], authChallengeResponse=response)
        elif method == "Fetch.requestPaused":
            self._later("Fetch.continueRequest", requestId=params["requestId"])

    def _later(self, method: str, **params: Any) -> None:
        task = asyncio.create_task(self.send(method, **params))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)

    async def answer_prompts(self, password: str) -> None:
        """Type this where the browser asks for a password."""
        self.password = password
        await self.send("Fetch.enable", handleAuthRequests=True)

    async def go(self, place: str) -> None:
        await self.send("Page.navigate", url=f"{self.base}{place}")

    async def look(self, size: tuple[int, int], *, dark: bool = False) -> None:
        width, height = size
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[theme])

    async def value(self, expression: str) -> Any:
        answer = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def text(self, selector: str) -> str:
        """What is to be read there, of all that the selector finds; empty where there is nothing."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].filter((e) => e.checkVisibility())"
        return await self.value(f"{found}.map((e) => e.innerText).join('\\n')")

    async def shows(self, words: str, selector: str = "body", timeout: float = PATIENCE) -> None:
        async def there() -> bool:
            return words in await self.text(selector)

        try:
            await wait_until(there, timeout)
        except AssertionError:
            raise AssertionError(f"{words!r} is not in {await self.text(selector)!r}; {self.problems}") from None

    async def press(self, selector: str) -> None:
        """Click in the middle of the first that is seen, once it stands still, as a mouse does."""
        x, y = await wait_until(functools.partial(self.value, _MIDDLE % json.dumps(selector)))
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def type(self, text: str) -> None:
        await self.send("Input.insertText", text=text)

    async def key(self, name: str) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name], **text
            )

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return await self.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    async def screenshot(self, path: Path) -> None:
        data = (await self.send("Page.captureScreenshot", format="png"))["data"]
        await asyncio.to_thread(path.write_bytes, base64.b64decode(data))


@contextlib.asynccontextmanager
async def browsing(base: str, directory: Path) -> AsyncIterator[Page]:
    """A new browser with an empty profile, at desktop size; ``base`` is put before the places it goes to."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    arguments = [chromium(), *_FLAGS, f"--user-data-dir={directory / 'profile'}"]
    # Chromium reads its file 3 and writes its file 4.
    script = f'exec 3<&{command_read} 4>&{answer_write}; exec "$@"'
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        "bash",
        *arguments,
        pass_fds=(command_read, answer_write),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    reader = asyncio.StreamReader(limit=_LARGEST_MESSAGE)
    pipe = os.fdopen(answer_read, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    page = Page(reader, command_write, base)
    listening = asyncio.create_task(page.listen())
    try:
        await page.attach()
        await page.look(DESKTOP)
        yield page
    finally:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await page.send("Browser.close")
        await process.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        os.close(command_write)
        transport.close()
