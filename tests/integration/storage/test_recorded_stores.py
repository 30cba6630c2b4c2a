"""Stores that earlier versions left: today's commands show them as those did, and today's processor continues them.

helpers/recorded_store.py makes such a store.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from durablectl.embedded import EmbeddedServer
from helpers.paths import TESTS
from helpers.recorded_store import APP, HOME, NAMESPACE, RELEASE, unpack
from helpers.sample_stack import SampleStack
from helpers.waiting import PATIENCE, block_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)

STORES = sorted((TESTS / "data").glob("store-*.tar.xz"))
COMPUTED = {
    "wf why": {"verdict", "fact", "commands"},
    "wf errors": {"errors"},
    "wf stats": {"completed_per_minute", "completed_per_minute_last_hour"},
    "doctor": {"message", "hint", "url", "version"},
}
"""Keys whose values do not come from the store: sentences, which may be worded otherwise now, groups, which may be
formed by other rules, and the server's."""
SCHEDULED = datetime(2100, 1, 1, tzinfo=UTC)
"""Future times in the store are later than this; earlier ones depend on when the command ran."""


class Restored(SampleStack):
    """A recorded store on a server of its own."""

    def __init__(self, directory: Path, server: EmbeddedServer) -> None:
        environment = {"NATS_URL": server.url, "DURABLECTL_NAMESPACE": NAMESPACE}
        super().__init__({**environment, HOME: str(directory), RELEASE: "3"})

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json").stdout)

    def view(self, invocation_id: str) -> dict[str, Any]:
        return self.json("wf", "get", invocation_id, "--steps", ":")

    def statuses(self) -> dict[str, str]:
        listed = self.json("wf", "list", "--limit", "500")["workflows"]
        return {view["invocation_id"]: view["status"] for view in listed}


@pytest.fixture(params=STORES, ids=lambda path: path.name.split(".")[0])
def recorded(request, tmp_path):
    """What its version printed about a store, and the store on a server."""
    printed = unpack(request.param, tmp_path / "nats")
    with EmbeddedServer(tmp_path / "nats") as server:
        yield printed, Restored(tmp_path, server)


def differences(now: Any, then: Any, computed: set[str], asked_at: datetime, path: str = "") -> Iterator[str]:
    """Yield what differs from the earlier output; keys added since do not count."""
    if isinstance(then, dict) and isinstance(now, dict):
        # Of a step that has not ended the duration grows.
        relative = {"milliseconds"} if "milliseconds" in then and then["end"] is None else set()
        for key in then.keys() - computed - relative:
            if key in now:
                yield from differences(now[key], then[key], computed, asked_at, f"{path}.{key}")
            else:
                yield f"{path}.{key} is gone"
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, pair in enumerate(zip(now, then, strict=True)):
            yield from differences(*pair, computed, asked_at, f"{path}[{number}]")
    elif now != then and not (is_relative(then, asked_at) and is_relative(now, asked_at)):
        yield f"{path} is {now!r}, was {then!r}"


def is_relative(value: Any, asked_at: datetime) -> bool:
    """Tell whether it is a time that depends on when the command ran."""
    with contextlib.suppress(TypeError, ValueError):
        return asked_at <= datetime.fromisoformat(value) < SCHEDULED
    return False


def test_commands_print_what_the_recording_version_printed(recorded):
    printed, store = recorded
    found = []
    for command, then in printed.answers:
        computed = next((keys for name, keys in COMPUTED.items() if " ".join(command).startswith(name)), set())
        now = store.json(*command)
        if command[0] == "doctor":
            known = {check["name"] for check in then["checks"]}
            now["checks"] = [check for check in now["checks"] if check["name"] in known]
        found += [f"{' '.join(command)}: {each}" for each in differences(now, then, computed, printed.printed_at)]
    assert not found, "\n".join(found)
    (index,) = (check for check in store.json("doctor")["checks"] if check["name"] == "index")
    assert index["severity"] == "ok"


def is_sound(store) -> bool:
    """Whether the diagnosis finds only work that needs a person: the recorded store holds such."""
    return {check["name"] for check in store.json("doctor")["checks"] if check["severity"] != "ok"} <= {"work"}


def test_a_changed_value_and_a_missing_key_are_differences():
    def found(now: Any, then: Any) -> list[str]:
        return list(differences(now, then, {"sentence"}, datetime(2026, 1, 1, tzinfo=UTC)))

    assert found({"a": 1, "new": 2, "sentence": "x"}, {"a": 1, "sentence": "y"}) == []
    assert found({"at": "2027-01-01T00:00:00Z"}, {"at": "2026-01-01T00:00:00Z"}) == []
    assert found({"at": "2027-01-01T00:00:00Z"}, {"at": "2025-12-31T00:00:00Z"})
    assert found({"a": [1, 2]}, {"a": [1, 3]}) == [".a[1] is 2, was 3"]
    assert found({"a": [1]}, {"a": [1, 3]})
    assert found({}, {"a": None}) == [".a is gone"]


ANSWERS = {
    "waits-awakeable.approval": "yes",
    "waits-race.first": "first",
    "waits-limited.answer": 42,
    "waits-long.go": None,
    "waits-bulky.go": None,
    "running-gather.third": 3,
    "keyed-3.approval": [],
    "paused-operator.approval": "late",
}
RESUMED = ["paused-crashes", "paused-mismatch", "paused-operator", "paused-step", "paused-sleep", "paused-pending"]
RETRIED = ["failed-step", "failed-attempts", "failed-step-timeout", "failed-raised", "failed-retried", "kept-failed"]
CANCELLED = ["waits-sleep", "waits-retry", "cancelled-retried", "pending-delayed", "launched-later"]
CANCELLED_AFTER_RESUME = ["paused-sleep", "paused-pending"]
ENDS = {
    "running-step": "after",
    "running-gather": ["done", "held", 3],
    "running-retry": "flaky",
    "paused-step": "after",
    "paused-crashes": "deadly",
    "paused-mismatch": "charge",
    "paused-operator": "late",
    "overdue": "rested",
    "answered": "yes",
    "signalled": [0, 1],
    "pending-start": "left alone",
    "pending-unregistered": {"a": 1},
    "waits-awakeable": "yes",
    "waits-signal": ["the first of two", "the second"],
    "waits-child": ["child"],
    "waits-race": [1, "first"],
    "waits-limited": 42,
    "waits-long": 1100,
    "waits-bulky": 600_000,
    "keyed-3": [],
    "retried-later": "refused",
    "failed-step": "refused",
    "failed-attempts": "refused",
    "failed-step-timeout": "stalled",
    "failed-raised": "such shop",
    "failed-retried": "refused",
    "kept-failed": "refused",
}
"""Outputs of what completes in the end."""


def children(store: Restored, parent_id: str) -> list[str]:
    return [view["invocation_id"] for view in store.json("wf", "list", "--parent", parent_id)["workflows"]]


def recorded_steps(views: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return invocation and name of each step that has a result."""
    return {
        (view["invocation_id"], entry["step_type"])
        for view in views
        for entry in view["journal"]
        if entry["kind"] in {"step", "compensation"} and not entry["error"]
    }


def test_every_workflow_continues_without_repeating_recorded_steps(recorded, spawn, tmp_path):
    _, store = recorded
    before = store.statuses()
    recorded_before = recorded_steps(map(store.view, before))
    (tmp_path / "gate").touch()
    for kind in ("processor", "service"):
        spawn("run", kind, str(APP), env={**os.environ, **store.environment})
    block_until(lambda: store.ok("processors", "-o", "name"))

    store.ok("wf", "resume", *RESUMED)
    store.ok("wf", "retry", *RETRIED)
    for awakeable, answer in ANSWERS.items():
        store.ok("wf", "resolve", awakeable, "--data", json.dumps(answer))
    for child in [*children(store, "waits-child"), *children(store, "cancelled-launching")]:
        if before[child] == "suspended":
            store.ok("wf", "resolve", f"{child}.approval", "--data", '"child"')
    store.ok("wf", "signal", "waits-signal", "note", "--data", '"the second"')
    store.ok("wf", "cancel", *CANCELLED, *CANCELLED_AFTER_RESUME)
    block_until(lambda: store.json("wf", "list", "--status", "active", "--count")["total"] == 0, 240)

    after = store.statuses()
    ends = {name: store.view(name) for name in ENDS}
    assert {name: (view["status"], view["output"]) for name, view in ends.items()} == {
        name: ("completed", output) for name, output in ENDS.items()
    }
    assert {after[name] for name in (*CANCELLED, *CANCELLED_AFTER_RESUME, "running-compensation")} == {"cancelled"}
    assert (after["rejected"], store.view("rejected")["error"]) == ("failed", "Step 1 'awakeable:approval' failed: no")
    ended = {"completed", "failed", "cancelled"}
    untouched = {name for name, status in before.items() if status in ended} - {*RETRIED}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}

    effects = Counter(tuple(line.split(" ", 1)) for line in (tmp_path / "effects").read_text().splitlines())
    assert not effects.keys() & recorded_before
    assert set(effects.values()) == {1}
    assert recorded_steps(ends.values()) - recorded_before <= effects.keys()
    block_until(lambda: is_sound(store), PATIENCE, 0.1, lambda: store("doctor").stdout)


def test_schedules_and_ended_workflows_can_be_changed(recorded, spawn, tmp_path):
    _, store = recorded
    (tmp_path / "gate").touch()
    spawn("run", "processor", str(APP), env={**os.environ, **store.environment})
    block_until(lambda: store.ok("processors", "-o", "name"))
    triggered = store.ok("schedule", "trigger", "rarely").strip()
    store.ok("schedule", "resume", "halted")
    assert store.json("schedule", "get", "halted")["next_at"]
    block_until(lambda: store.view(triggered)["status"] == "completed")
    restarted = store.json("wf", "retry", "failed-step", "--restart")["invocation_id"]
    block_until(lambda: store.view(restarted)["status"] == "completed")
    store.ok("wf", "delete", "--handler", "bulky", "--status", "completed", "--yes")
    store.ok("wf", "delete", "done-everything", "cancelled-operator", "kept-failed")
    gone = {"done-bulky", "kept-bulky", "done-everything", "cancelled-operator", "kept-failed"}
    assert not gone & store.statuses().keys()
    block_until(lambda: is_sound(store), PATIENCE, 0.1, lambda: store("doctor").stdout)
