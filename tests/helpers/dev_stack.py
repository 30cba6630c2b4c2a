"""A running `durablectl dev`, for the tests of it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from helpers.waiting import block_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from helpers.spawned import Spawned, Spawner

    Completed = subprocess.CompletedProcess[str]
    Cli = Callable[..., Completed]


class Dev:
    """A `durablectl dev` with its data in ``directory``, and commands against it."""

    def __init__(self, process: Spawned, cli: Cli, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self._cli = cli
        block_until(self._is_up, 60, 0.02, process.err)
        self.about = json.loads(process.out())
        self.url = self.about["nats_url"]

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.process.err()
        return self.process.out().endswith("}\n")

    def run(self, *args: str, **options: Any) -> Completed:
        env = {"NATS_URL": self.url, "DURABLECTL_NAMESPACE": self.about["namespace"] or "", **options.pop("env", {})}
        return self._cli(*args, env=env, **options)

    def json(self, *args: str) -> Any:
        done = self.run(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def get(self, invocation_id: str) -> dict[str, Any]:
        return self.json("wf", "get", invocation_id)

    def wait_for_workflow(
        self, invocation_id: str, condition: Callable[[dict[str, Any]], bool], timeout: float = 60
    ) -> dict[str, Any]:
        """Return the workflow once the condition is true of it."""
        seen: list[dict[str, Any]] = []

        def is_met() -> bool:
            seen.append(self.get(invocation_id))
            return condition(seen[-1])

        block_until(is_met, timeout, detail=lambda: seen[-1])
        return seen[-1]

    def stop(self, number: signal.Signals = signal.SIGINT, within: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(within)


def starter(spawn: Spawner, cli: Cli, tmp_path: Path) -> Callable[..., Dev]:
    """Starts one on a free port, unless said otherwise, and without the NATS_URL of the tests' own server."""

    def start(*args: str, env: Mapping[str, str] | None = None, directory: Path = tmp_path / "data") -> Dev:
        arguments = ["--data-dir", str(directory), "--nats-port", "0", "--json", *args]
        clean = {"NATS_URL": "", "DURABLECTL_NAMESPACE": "", **(env or {})}
        return Dev(spawn("dev", *arguments, env=clean), cli, directory)

    return start
