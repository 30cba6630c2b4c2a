"""The JSON Schemas of docs/schemas, and a namespace with a workflow in every state."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from helpers.paths import APPS, ROOT
from helpers.sample_stack import PROGRAM, SampleStack
from helpers.waiting import block_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.embedded import EmbeddedServer

SCHEMAS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "docs/schemas").glob("*.json"))
}
DOCUMENT = (ROOT / "docs/json.md").read_text(encoding="utf-8")
# Without its $schema: that would bring in another validator than the one below.
_REGISTRY = Registry().with_resources(
    (f"{name}.json", DRAFT202012.create_resource({key: schema[key] for key in schema if key != "$schema"}))
    for name, schema in SCHEMAS.items()
)

STATES = {
    "done": ("whole", '{"amount": 5}', "completed"),
    "failed": ("failing", '{"amount": 1}', "failed"),
    "raised": ("raising", None, "failed"),
    "retrying": ("retrying", None, "running"),
    "asking": ("asking", None, "suspended"),
    "listening": ("listening", None, "suspended"),
    "sleeping": ("sleeping", None, "suspended"),
    "delegating": ("delegating", None, "suspended"),
    "busy": ("busy", None, "running"),
    "paused": ("sleeping", None, "suspended"),
    "cancelled": ("busy", None, "running"),
    "retried": ("failing", "7", "failed"),
    "alone": ("nobodys", '"x"', "pending"),
    "delayed": ("short", "1", "pending"),
}
"""Id: handler, input, and the status that it comes to at first."""


def _in_order(_: Any, required: list[str], instance: Any, __: Any) -> Iterator[ValidationError]:
    """Not only are all keys there: they come in the order of the schema."""
    if isinstance(instance, dict) and list(instance) != required:
        yield ValidationError(f"the keys are {list(instance)}, not {required}")


_Validator = extend(Draft202012Validator, {"required": _in_order})


def parsed(text: str) -> list[Any]:
    """All values of a text that holds one after the other."""
    decoder, values, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        values.append(value)
        rest = rest[end:].lstrip()
    return values


def check(name: str, text: str, output: str = "json") -> list[Any]:
    """The values of the text, which fit the schema; with jsonl each is on a line of its own."""
    values = parsed(text)
    if output == "jsonl":
        assert len(values) == len(text.splitlines())
    schema = SCHEMAS[name]
    is_line = output == "jsonl" and "line" in schema.get("$defs", {})
    reference = {"$ref": f"{name}.json#/$defs/line" if is_line else f"{name}.json"}
    validator = _Validator(reference, registry=_REGISTRY)
    for value in values:
        problems = [f"{error.json_path}: {error.message} {_reasons(error)}" for error in validator.iter_errors(value)]
        assert not problems, "\n".join(problems)
    return values


def _reasons(error: ValidationError) -> list[str]:
    return [f"{each.json_path}: {each.message}" for each in error.context or ()]


@contextlib.contextmanager
def every_state(server: EmbeddedServer) -> Iterator[SampleStack]:
    environment = {"NATS_URL": server.url, "DURABLECTL_NAMESPACE": f"j{secrets.token_hex(3)}"}
    stack = SampleStack(environment)
    command = [
        *PROGRAM,
        "run",
        "processor",
        str(APPS / "every_state_app.py"),
        "--log-level",
        "error",
        "--grace",
        "0",
    ]
    processor = subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL)
    try:
        block_until(lambda: stack("processors", "-o", "name").stdout, 60, 0.05)
        for name, (handler, given, _) in STATES.items():
            delay = ("--delay", "1h") if name == "delayed" else ()
            stack.ok("wf", "start", handler, "--id", name, *(("--input", given) if given else ()), *delay)
        for name, (handler, _, status) in STATES.items():
            block_until(lambda: _has_status(stack, name, handler, status), 60, 0.05)  # noqa: B023  # called at once
        stack.ok("wf", "pause", "paused", "--reason", "the bank is closed")
        stack.ok("wf", "cancel", "cancelled", "--wait", "--timeout", "60s")
        stack.ok("wf", "retry", "retried", "--from-step", "1")
        block_until(lambda: _has_status(stack, "retried", "failing", "failed"), 60, 0.05)
        yield stack
    finally:
        processor.terminate()
        processor.wait(60)


def _has_status(stack: SampleStack, name: str, handler: str, status: str) -> bool:
    """Where it stays: what runs holds step 1, or is tried again."""
    (view,) = parsed(stack.ok("wf", "get", name, "--json"))
    if status != "running":
        return view["status"] == status
    return view["waiting_for"] is not None if handler == "retrying" else view["current_step"] == 1
