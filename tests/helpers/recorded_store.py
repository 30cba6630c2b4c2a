"""Recorded stores: a namespace with workflows in every state, as one version of durablectl left it.

A recorded store is an archive. It holds the JetStream directory of a stopped nats-server, and ``printed.json``: what
the CLI of that version printed about the namespace. Run this in the directory ``tests``, with a Python that has the
version to record installed; it takes some minutes:

    python -m helpers.recorded_store data/store-COMMIT.tar.xz

It uses nothing of durablectl but the command line, the SDK and ``EmbeddedServer``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from durablectl.embedded import EmbeddedServer
from helpers.waiting import block_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = Path(__file__).parent.parent / "apps" / "recorded_store_app.py"
HOME = "RECORDED_STORE_HOME"
RELEASE = "RECORDED_STORE_RELEASE"
NAMESPACE = "rec"
PRINTED = "printed.json"
FOREVER = "36500d"

STATUSES = ("pending", "running", "suspended", "paused", "completed", "failed", "cancelled")
_MAX_PROCESSORS = 8
_SECONDS = 60.0
"""Time to reach a state, on a busy machine too."""
_NAP_SECONDS = 5.0
"""Sleep of the workflow whose timer comes due while no processor runs."""


class Recording:
    """Command line and processes of the installed durablectl on one server."""

    def __init__(self, directory: Path, url: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "DURABLECTL_"))}
        self.environment = {
            **own,
            "NATS_URL": url,
            "DURABLECTL_NAMESPACE": NAMESPACE,
            "DURABLECTL_HTTP_PORT": "0",
            HOME: str(directory),
        }
        self._directory = directory
        # The store holds tracebacks: they name the app by its copy.
        shutil.copy(APP, directory)

    def run(self, *args: str, codes: tuple[int, ...] = (0,)) -> str:
        command = [sys.executable, "-m", "durablectl", *args]
        done = subprocess.run(
            command, env=self.environment, cwd=self._directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode in codes, f"{args} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def json(self, *args: str, codes: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self.run(*args, "--json", codes=codes))

    def start(self, invocation_id: str, handler: str, given: Any = None, *options: str) -> None:
        value = () if given is None else ("--input", json.dumps(given))
        self.run("wf", "start", handler, "--id", invocation_id, *value, *options)

    def get(self, invocation_id: str) -> dict[str, Any]:
        view: dict[str, Any] = self.json("wf", "get", invocation_id)
        return view

    def reaches(self, status: str, *ids: str, holds: Callable[[dict[str, Any]], Any] = bool) -> None:
        for invocation_id in ids:
            _until(lambda: self._is(status, invocation_id, holds), f"{invocation_id} is to be {status}")  # noqa: B023

    def _is(self, status: str, invocation_id: str, holds: Callable[[dict[str, Any]], Any]) -> bool:
        view = self.get(invocation_id)
        return view["status"] == status and bool(holds(view))

    def children(self, parent_id: str) -> list[str]:
        return [each["invocation_id"] for each in self.json("wf", "list", "--parent", parent_id)["workflows"]]

    @contextlib.contextmanager
    def process(self, kind: str, *options: str, release: str = "1") -> Iterator[subprocess.Popen[bytes]]:
        """Run a processor or service, and kill it with -9 at the end if it still runs."""
        command = [sys.executable, "-m", "durablectl", "run", kind, APP.name, "--log-level", "error", *options]
        environment = {**self.environment, RELEASE: release}
        process = subprocess.Popen(command, env=environment, cwd=self._directory, stdin=subprocess.DEVNULL)
        try:
            if kind == "processor":
                _until(lambda: process.poll() is not None or f"-{process.pid}-" in self.run("processors", "-o", "name"))
            yield process
        finally:
            process.kill()
            process.wait()


def _until(condition: Callable[[], Any], detail: str = "") -> None:
    block_until(condition, _SECONDS, 0.1, lambda: detail)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def _crash(record: Recording) -> None:
    """Pause a workflow by five processors that die on it."""
    record.start("paused-crashes", "crashing")
    for _ in range(_MAX_PROCESSORS):
        with record.process("processor", "--grace", "0") as process:
            _until(lambda: process.poll() is not None or record.get("paused-crashes")["status"] == "paused")
            if process.poll() is None:
                return
    raise AssertionError("it was not paused")


def _expire(record: Recording) -> None:
    """End workflows under a retention of a hundred years."""
    with record.process("processor", "--retention", FOREVER) as process:
        record.start("kept-completed", "quick", 1)
        record.start("kept-failed", "failing", "step")
        record.start("kept-bulky", "bulky", given=False)
        record.reaches("completed", "kept-completed", "kept-bulky", holds=lambda view: view["expires_at"])
        record.reaches("failed", "kept-failed", holds=lambda view: view["expires_at"])
        _stop(process)


_AT_ONCE: dict[str, tuple[tuple[str, Any], ...]] = {
    "completed": (
        ("done-everything", ("everything", {"item": "lamp", "amount": 5})),
        ("done-nothing", ("nothing", None)),
        ("done-protobuf", ("shipping", "chair")),
        ("done-packed", ("packing", {"item": "table", "amount": "7"})),
        ("done-bulky", ("bulky", False)),
        ("deleted", ("quick", 1)),
    ),
    "failed": (
        ("failed-step", ("failing", "step")),
        ("failed-attempts", ("failing", "attempts")),
        ("failed-step-timeout", ("failing", "stall")),
        ("failed-awakeable-timeout", ("failing", "silence")),
        ("failed-raised", ("failing", "such shop")),
        ("failed-time-limit", ("hurrying", None)),
        ("failed-child", ("relying", "step")),
        ("failed-retried", ("failing", "step")),
        ("failed-restarted", ("failing", "raised")),
        ("retried-later", ("failing", "attempts")),
        ("restarted-later", ("failing", "step")),
    ),
    "suspended": (
        ("done-approved", ("approving", None)),
        ("failed-rejected", ("approving", None)),
        ("done-listened", ("listening", None)),
        ("cancelled-operator", ("undoing", "well")),
        ("cancelled-now", ("undoing", "well")),
        ("cancelled-broken", ("undoing", "broken")),
        ("cancelled-parent", ("delegating", "cancelled")),
        ("cancelled-launching", ("launching", None)),
        ("cancelled-retried", ("undoing", "well")),
        ("running-compensation", ("undoing", "held")),
        ("paused-operator", ("approving", None)),
        ("paused-sleep", ("sleeping", None)),
        ("waits-sleep", ("sleeping", None)),
        ("waits-awakeable", ("approving", None)),
        ("waits-signal", ("listening", None)),
        ("waits-child", ("delegating", "waiting")),
        ("waits-race", ("racing", None)),
        ("waits-limited", ("limited", None)),
        ("waits-long", ("long", None)),
        ("waits-bulky", ("bulky", True)),
        ("answered", ("approving", None)),
        ("rejected", ("approving", None)),
        ("signalled", ("listening", None)),
    ),
}
"""Per status that is reached first: id, handler and input."""


def _live(record: Recording) -> None:
    """Reach every state that needs a live processor; then kill it with steps in flight."""
    with record.process("service"), record.process("processor", "--grace", "0"):
        for started in _AT_ONCE.values():
            for invocation_id, (handler, given) in started:
                record.start(invocation_id, handler, given)
        for number in range(4):
            key = ("--partition-key", f"p{number % 2}")
            record.start(f"keyed-{number}", *(("quick", number) if number < 3 else ("approving", None)), *key)
        record.start("paused-pending", "quick", 1, "--delay", FOREVER)
        record.start("cancelled-pending", "quick", 1, "--delay", FOREVER)
        record.start("pending-delayed", "quick", 1, "--delay", FOREVER)
        record.start("pending-unregistered", "unregistered", {"a": 1})
        for status, started in _AT_ONCE.items():
            record.reaches(status, *(invocation_id for invocation_id, _ in started))
        _until(lambda: record.children("waits-child") and record.children("cancelled-parent"))
        record.start("waits-retry", "retrying")
        record.reaches("suspended", "waits-retry")
        _steer(record)
        _leave_in_flight(record)


def _steer(record: Recording) -> None:
    record.run("wf", "delete", "deleted", "--yes")
    record.run("wf", "resolve", "done-approved.approval", "--data", '{"by": "Ada"}')
    record.run("wf", "reject", "failed-rejected.approval", "--error", "not like this")
    for name in ("unread", "note", "note"):
        record.run("wf", "signal", "done-listened", name, "--data", '{"n": [1, null]}')
    record.run("wf", "signal", "waits-awakeable", "unread", "--data", '"nothing reads this"')
    record.run("wf", "signal", "waits-signal", "note", "--data", '"the first of two"')
    record.run("wf", "cancel", "cancelled-operator", "--reason", "ordered by mistake", "--wait")
    record.run("wf", "cancel", "cancelled-now", "--now")
    for name in ("cancelled-broken", "cancelled-parent", "cancelled-launching", "cancelled-pending"):
        record.run("wf", "cancel", name, "--wait")
    record.run("wf", "cancel", "cancelled-retried", "--wait")
    record.run("wf", "retry", "cancelled-retried")
    record.run("wf", "pause", "paused-operator", "--reason", "the bank is closed")
    record.run("wf", "pause", "paused-sleep", "paused-pending")
    record.run("wf", "retry", "failed-retried", "--from-step", "1")
    record.run("wf", "retry", "failed-restarted", "--restart")
    record.run("schedule", "create", "leap", "quick", "--cron", "0 0 29 2 *", "--tz", "Europe/Berlin", "-i", "29")
    record.run("schedule", "create", "rarely", "quick", "--every", FOREVER, "--overlap", "allow")
    record.run("schedule", "create", "halted", "approving", "--every", FOREVER, "--partition-key", "p1")
    record.run("schedule", "pause", "halted")
    triggered = record.run("schedule", "trigger", "rarely").strip()
    record.reaches("completed", "done-approved", "done-listened", triggered, *(f"keyed-{n}" for n in range(3)))
    record.reaches("failed", "failed-rejected")
    record.reaches("failed", "failed-retried", holds=lambda view: view["attempt"] > 1)
    record.reaches("suspended", "cancelled-retried", "waits-signal", "keyed-3")
    _until(lambda: all(record.get(each)["status"] == "cancelled" for each in record.children("cancelled-parent")))


def _leave_in_flight(record: Recording) -> None:
    record.start("running-step", "holding")
    record.start("running-gather", "gathering")
    record.start("running-retry", "retrying", 2)
    record.start("paused-step", "holding")
    record.run("wf", "cancel", "running-compensation", "--reason", "too late")
    for name in ("running-step", "paused-step"):
        record.reaches("running", name, holds=lambda view: view["current_step_type"] == "held")
    record.run("wf", "pause", "paused-step", "--reason", "in the middle of a step")
    record.reaches("running", "running-gather", holds=lambda view: len(view["journal"]) > 1)
    record.reaches("running", "running-retry", holds=lambda view: view["waiting_for"])
    record.reaches("running", "running-compensation", holds=lambda view: view["current_step_type"] == "refund")
    record.start("overdue", "sleeping", _NAP_SECONDS)
    record.reaches("suspended", "overdue")


def _leave_alone(record: Recording) -> None:
    """Act as clients do while no processor runs, and let a timer come due meanwhile."""
    time.sleep(_NAP_SECONDS)
    record.start("pending-start", "quick", "left alone")
    record.run("wf", "resolve", "answered.approval", "--data", '"yes"')
    record.run("wf", "reject", "rejected.approval", "--error", "no")
    for number in range(2):
        record.run("wf", "signal", "signalled", "note", "--data", str(number))
    record.run("wf", "retry", "retried-later")
    record.run("wf", "retry", "restarted-later", "--restart")


def make(record: Recording) -> None:
    """Bring the namespace into all its states, and leave no process of durablectl."""
    _crash(record)
    _expire(record)
    _mismatch(record)
    _live(record)
    _leave_alone(record)


def _mismatch(record: Recording) -> None:
    """Pause a workflow whose code in release 2 of the app differs from what release 1 recorded."""
    with record.process("processor", "--grace", "0") as process:
        record.start("paused-mismatch", "reordered")
        record.reaches("suspended", "paused-mismatch")
        _stop(process)
    with record.process("processor", "--grace", "0", release="2") as process:
        record.run("wf", "resolve", "paused-mismatch.go", "--data", "1")
        record.reaches("paused", "paused-mismatch")
        _stop(process)


def questions(record: Recording) -> Iterator[tuple[str, ...]]:
    """Yield the commands whose output as JSON is kept."""
    everything = record.json("wf", "list", "--limit", "500")["workflows"]
    yield from (("wf", "list", "--limit", "500", *more) for more in ((), ("--oldest-first",), ("--scan",)))
    yield from (("wf", "list", "--status", each) for each in (*STATUSES, "active"))
    yield from (("wf", "list", "--handler", each) for each in sorted({view["handler"] for view in everything}))
    yield ("wf", "list", "--partition-key", "p1")
    yield ("wf", "list", "--parent", "done-everything")
    yield ("wf", "list", "--error", "CLOSED")
    yield ("wf", "list", "--since", "2020-01-01", "--until", "2200-01-01", "--status", "failed")
    yield ("wf", "list", "--count")
    first = ("wf", "list", "--limit", "7")
    yield first
    yield (*first, "--cursor", record.json(*first)["next_cursor"])
    yield from (("wf", "stats"), ("wf", "errors"), ("schedule", "list"), ("processors",), ("doctor",))
    yield from (("schedule", "get", name) for name in ("leap", "rarely", "halted"))
    yield ("wf", "get", "waits-long", "--steps", ":")
    yield ("wf", "diff", "failed-step", "failed-retried", "--full")
    for invocation_id in sorted(view["invocation_id"] for view in everything):
        yield ("wf", "get", invocation_id, "--history")
        yield ("wf", "why", invocation_id)
        yield ("wf", "timeline", invocation_id)


def write(path: Path, directory: Path) -> None:
    """Make the store in an existing directory, print it, and write both to the archive."""
    data = directory / "nats"
    with EmbeddedServer(data) as server:
        make(Recording(directory, server.url))
    whole = directory / "store.tar"
    with tarfile.open(whole, "w") as archive:
        archive.add(data / "jetstream", "jetstream")
    with EmbeddedServer(data) as server:
        record, printed_at = Recording(directory, server.url), datetime.now(UTC)
        answers = [[list(each), record.json(*each, codes=(0, 1))] for each in questions(record)]
    printed = {"version": record.run("--version").strip(), "printed_at": printed_at.isoformat(), "answers": answers}
    (directory / PRINTED).write_text(json.dumps(printed, indent=1), encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:xz") as archive:
        archive.add(directory / PRINTED, PRINTED)
        with tarfile.open(whole) as made:
            for member in made:
                archive.addfile(member, made.extractfile(member) if member.isfile() else None)


@dataclass(frozen=True)
class Printed:
    """Output of the version that made a store."""

    printed_at: datetime
    answers: list[tuple[tuple[str, ...], Any]]

    def answer(self, *command: str) -> Any:
        return next(output for each, output in self.answers if each == command)


def unpack(path: Path, directory: Path) -> Printed:
    """Make ``directory`` the data directory of a server with the store."""
    with tarfile.open(path) as archive:
        archive.extractall(directory, filter="data")
    printed = json.loads((directory / PRINTED).read_text(encoding="utf-8"))
    answers = [(tuple(command), output) for command, output in printed["answers"]]
    return Printed(datetime.fromisoformat(printed["printed_at"]), answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    with tempfile.TemporaryDirectory() as directory:
        write(parser.parse_args().archive.absolute(), Path(directory))


if __name__ == "__main__":
    main()
