"""Cold start: seconds of `durablectl wf list` and `--help` as whole processes, beside importing what they stand on.

The processes take turns, bytecode is compiled beforehand, and the medians are compared. ``--imports`` also prints the
modules whose import costs `wf list` most.

Run: ``python -m bench.queries.cold_start [--rounds 25] [--imports 20]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench._harness import table
from durablectl.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WORKFLOWS = 20
_BASELINE = ("-c", "import nats, typer, rich.table")
_COMMANDS = {("wf", "list"): ["ratio <= 1.25"], ("--help",): []}


async def fill(url: str) -> None:
    """Workflows that wait for a processor."""
    from bench._harness.support import start_many, store
    from durablectl.storage.streams.provision import provision

    async with store(url, "") as opened:
        await provision(opened)
        await start_many(opened, "async_workflow", _WORKFLOWS, "user-001")


def environment(url: str, bytecode: Path) -> dict[str, str]:
    """Without the user's settings, and with bytecode kept in a place of its own, for all processes alike."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "DURABLECTL_"))}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**own, "NATS_URL": url, "PYTHONPYCACHEPREFIX": str(bytecode)}


def seconds(args: Sequence[str], env: Mapping[str, str]) -> float:
    """One process, to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *args], env=env, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def medians(commands: Sequence[Sequence[str]], env: Mapping[str, str], rounds: int) -> list[float]:
    """Of each command; the first turn only fills the caches."""
    turns = [[seconds(command, env) for command in commands] for _ in range(rounds + 1)]
    return [statistics.median(column) for column in zip(*turns[1:], strict=True)]


def imports(args: Sequence[str], env: Mapping[str, str], number: int) -> list[str]:
    """The modules that cost most by themselves, as ``python -X importtime`` tells: microseconds and name."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *args], env=env, capture_output=True, text=True, check=True
    )
    costs: list[tuple[int, str]] = []
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|") if line.count("|") == 2 else ("", "", "")
        if own.strip().isdigit():
            costs.append((int(own), name.strip()))
    total = sum(own for own, _ in costs)
    costliest = sorted(costs, reverse=True)[:number]
    return [f"{total:8,} us  {len(costs)} modules", *(f"{own:8,} us  {name}" for own, name in costliest)]


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer(Path(directory, "nats")) as server:
        asyncio.run(fill(server.url))
        env = environment(server.url, Path(directory, "bytecode"))
        processes = [_BASELINE, *(("-m", "durablectl", *command) for command in _COMMANDS)]
        baseline, *others = medians(processes, env, options.rounds)
        for (command, bars), spent in zip(_COMMANDS.items(), others, strict=True):
            title = f"cold start of durablectl {' '.join(command)}"
            yield table.compared(title, spent, "s", f"python -c '{_BASELINE[1]}'", baseline, *bars)
        if options.imports:
            table.say("\n".join(imports(("-m", "durablectl", "wf", "list"), env, options.imports)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--imports", type=int, default=0, metavar="N", help="print the N costliest imports of wf list")
    table.run(parser, rows)


if __name__ == "__main__":
    main()
