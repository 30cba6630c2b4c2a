"""The workflows that the tests of the dashboard look at, and the dashboard in a browser."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from durablectl import Context, Retry, TerminalError, workflow
from helpers.browser import Page, browsing
from helpers.http_api import http_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from durablectl.settings import Settings

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@workflow
async def greeting(ctx: Context, name: str) -> str:
    return await ctx.step(echo, name)


@workflow
async def refused(ctx: Context, name: str) -> str:
    return await ctx.step(refuse, name)


@workflow
async def approval(ctx: Context, name: str) -> str:
    await ctx.step(echo, name, name="prepare")
    return await ctx.awakeable("approved", timeout=timedelta(days=7))


@workflow
async def delivery(ctx: Context, name: str) -> str:
    await ctx.sleep(timedelta(milliseconds=50))
    return await ctx.step(lose, name, name="notify", retry=Retry(initial=60, max_attempts=9))


@workflow
async def family(ctx: Context, name: str) -> str:
    return await ctx.invoke(approval, name)


@workflow
async def lengthy(ctx: Context, steps: int) -> None:
    for number in range(steps):
        await ctx.step(echo, "x", name=f"step-{number}")


async def echo(name: str) -> str:
    return name


def refuse(name: str) -> str:
    raise TerminalError(f"refused {name} {HOSTILE}")


def lose(_: str) -> str:
    raise ConnectionError("no service answers")


HANDLERS = (greeting, refused, approval, delivery, family, lengthy)


@contextlib.asynccontextmanager
async def dashboard(settings: Settings, directory: Path, **options: Any) -> AsyncIterator[Page]:
    """``options`` are those of HttpOptions; the browser keeps its profile under ``directory``."""
    async with http_api(settings, **options) as api, browsing(api.url, directory) as page:
        yield page


async def location(page: Page) -> str:
    """What stands behind the ``#``."""
    return await page.value("location.hash")
