"""The list of crash points, generated from the source: every call of engine and steering that leads to a write."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import durablectl

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(durablectl.__file__).parent
PACKAGE = "durablectl."
HELD_BY = {
    "ownership": "engine.replay.ownership.Ownership",
    "journal_writer": "engine.replay.journal_writer.JournalWriter",
}
NO_WRITERS = (
    "storage.connection.requests.",
    "storage.connection.connect.",
    "storage.connection.crash_points.",
    "storage.streams.feed.",
    "storage.commands.pulls.PullRequests.",
)
"""What every message goes through; the consumers of readers; pulls, which ask for commands."""
_CHANGES = re.compile(r"\.(CREATE|UPDATE|DELETE|PURGE)\b")


class Point(NamedTuple):
    """``name`` is without the line, which changes with every edit: ``engine.worker.outcome.suspend>update_entry``."""

    function: str
    called: str
    first_line: int
    last_line: int

    @property
    def name(self) -> str:
        return f"{self.function}>{self.called}"

    @property
    def traced(self) -> str:
        """As the process that reaches it names it, where that is no request of an exchange."""
        return f"{self.function}:{self.first_line}>{self.called}"

    def is_reached_by(self, traced: str) -> bool:
        function, _, rest = traced.partition(":")
        line, _, called = rest.partition(">")
        is_here = self.first_line <= int(line or 0) <= self.last_line
        return is_here and (function, re.sub(r"\[\d+\]$", "", called)) == (self.function, self.called)


@dataclass
class Function:
    name: str
    module: str
    owner: str
    is_at_caller: bool
    """Declared so, itself or what it is part of: it writes for its callers."""
    calls: list[ast.Call] = field(default_factory=list)


@dataclass
class Module:
    """``names`` are what its imports call a function or module of ours."""

    name: str
    names: dict[str, str] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)


def sources() -> dict[str, str]:
    """By module name, without the package's."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for part in ("storage", "engine", "control")
        for path in sorted((ROOT / part).rglob("*.py"))
    }


def points(texts: dict[str, str]) -> list[Point]:
    modules = {name: _read(name, text) for name, text in texts.items()}
    writers = _writers(modules)
    return sorted(
        Point(function.name, _last(call.func), call.lineno, call.end_lineno or call.lineno)
        for module in modules.values()
        if module.name.startswith(("engine.", "control."))
        for function in module.functions
        if not function.is_at_caller
        for call in function.calls
        if _is_write(call) or _target(call, module, function, writers) in writers
    )


def _read(name: str, text: str) -> Module:
    module = Module(name)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            origin = (node.module or "").removeprefix(PACKAGE)
            module.names |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
    module.functions += _functions(tree, module.name, module.name, "", is_at_caller=False)
    return module


def _functions(node: ast.AST, module: str, prefix: str, owner: str, *, is_at_caller: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        declared = is_at_caller or any(
            _last(each) == "crash_at_caller" for each in getattr(child, "decorator_list", ())
        )
        if isinstance(child, ast.ClassDef):
            name = f"{prefix}.{child.name}"
            yield from _functions(child, module, name, name, is_at_caller=declared)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = f"{prefix}.{'<lambda>' if isinstance(child, ast.Lambda) else child.name}"
            yield Function(name, module, owner, declared, list(_own_calls(child)))
            yield from _functions(child, module, name, owner, is_at_caller=declared)
        else:
            yield from _functions(child, module, prefix, owner, is_at_caller=is_at_caller)


def _own_calls(node: ast.AST) -> Iterator[ast.Call]:
    """Not those of the functions inside."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _own_calls(child)


def _writers(modules: dict[str, Module]) -> set[str]:
    """Everything of storage, and of what writes for its callers, that writes or calls what does."""
    candidates = [
        (module, function)
        for module in modules.values()
        for function in module.functions
        if (function.is_at_caller or function.name.startswith("storage.")) and not function.name.startswith(NO_WRITERS)
    ]
    found: set[str] = set()
    while True:
        more = {
            function.name
            for module, function in candidates
            if any(_is_write(call) or _target(call, module, function, found) in found for call in function.calls)
        }
        if more <= found:
            return found
        found |= more


def _is_write(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    holder, called = _last(call.func.value), call.func.attr
    if called in {"publish", "exchange", "send_without_wait"}:
        return holder in {"requests", "_requests", "nats", "_nats"}
    return called == "call" and holder == "requests" and bool(_CHANGES.search(ast.unparse(call)))


def _target(call: ast.Call, module: Module, function: Function, writers: set[str]) -> str:
    """The full name of what is called, as far as one can tell; of a method of any object, a writer of that name."""
    called = call.func
    if isinstance(called, ast.Name):
        return module.names.get(called.id, f"{module.name}.{called.id}")
    if not isinstance(called, ast.Attribute):
        return ""
    holder = _last(called.value)
    if holder.lstrip("_") in HELD_BY:
        return f"{HELD_BY[holder.lstrip('_')]}.{called.attr}"
    if isinstance(called.value, ast.Name):
        if holder in module.names:
            return f"{module.names[holder]}.{called.attr}"
        if holder == "self":
            return f"{function.owner}.{called.attr}"
    # A method of a class of storage, whoever holds it.
    is_method = [
        name for name in writers if name.startswith("storage.") and name.split(".")[-2].lstrip("_")[:1].isupper()
    ]
    return next((name for name in is_method if name.rpartition(".")[2] == called.attr), "")


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
