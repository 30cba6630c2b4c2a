"""Going through one case: a process dies at one point, another takes over, and the end is judged."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from durablectl.errors import DurableError
from durablectl.settings import Settings
from durablectl.storage.connection.crash_points import EXIT_CODE
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.provision import is_provisioned, provision, stream_configurations
from helpers.crash.case import QUIET_SECONDS, SECONDS, Case, Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from helpers.crash.forking import Forked, Zygote


async def run_case(
    zygote: Zygote, url: str, directory: Path, scenario: Scenario, crash_at: str
) -> tuple[bool, list[str]]:
    """Whether the process died, and what is not as it should be."""
    settings = Settings(url=url, namespace=f"c{secrets.token_hex(4)}", timeout=30)
    async with open_store(settings) as store:
        if not scenario.is_bare:
            await provision(store)
        case = Case(scenario, crash_at, store, settings, zygote, directory)
        forked: list[Forked] = []
        try:
            async with asyncio.timeout(SECONDS + QUIET_SECONDS):
                problems = await _live(case, forked)
        except (TimeoutError, AssertionError, DurableError) as error:
            problems = [f"{type(error).__name__}: {error}", *await case.problems()]
        for each in forked:
            await each.kill()
        for stream in stream_configurations(store.subjects):
            with contextlib.suppress(DurableError):
                await store.requests.call(f"{store.api}.STREAM.DELETE.{stream['name']}")
        return case.died, [f"{scenario.name} at {crash_at}: {problem}" for problem in problems]


async def _live(case: Case, forked: list[Forked]) -> list[str]:
    scenario, crash_at = case.scenario, case.crash_at
    if scenario.operation is not None:
        if scenario.has_processor:
            forked.append(case.processor())
        if scenario.prepare is not None:
            await scenario.prepare(case)
        operation = await scenario.operation(case)
        doomed = case.fork("client", operation=operation, crash_at=crash_at)
        code = await doomed.exit_code
        if code not in {0, EXIT_CODE}:
            return [f"the client ended with {code}: {case.log.read_text()[-500:]}"]
        case.died = code == EXIT_CODE
        if case.died:
            await _remember(case)
            await case.do(operation[0], *operation[1], **operation[2])
        if not scenario.has_processor:
            forked.append(case.processor())
        await scenario.drive(case)
        return await case.wait_for_problems_to_end()
    if scenario.prepare is not None:
        await scenario.prepare(case)
    doomed = case.processor(crash_at=crash_at, stop_after=scenario.stop_after)
    forked.append(doomed)
    driving = asyncio.create_task(_drive(case))
    awaited: list[asyncio.Future[Any]] = [doomed.exit_code] if scenario.stop_after else [driving, doomed.exit_code]
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    if driving.done() and not scenario.stop_after:
        return driving.result()
    case.died = doomed.exit_code.result() == EXIT_CODE
    await _remember(case)
    forked.append(case.processor())
    problems = await driving
    # Its patience may have been for the one that is gone.
    return await case.wait_for_problems_to_end() if problems else []


async def _remember(case: Case) -> None:
    if await is_provisioned(case.store):
        await case.remember()


async def _drive(case: Case) -> list[str]:
    await case.scenario.drive(case)
    return await case.wait_for_problems_to_end()
