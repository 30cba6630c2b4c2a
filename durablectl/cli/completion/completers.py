"""Completers for the parameters of commands: of fixed words, and of what the server has."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import typer

from durablectl.model.kinds import WaitingFor
from durablectl.model.status import Status
from durablectl.settings.contexts import known_contexts


def complete_from(words: Sequence[str]) -> Callable[[str], list[str]]:
    """A completer for a fixed set of words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


complete_status = complete_from([*Status, "active"])
complete_waiting_for = complete_from([*WaitingFor])


def complete_context(incomplete: str) -> list[str]:
    """The NATS CLI's contexts."""
    return complete_from(known_contexts(os.environ))(incomplete)


def _live(name: str) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    """A completer that asks the server, by its name in durablectl.cli.completion.candidates."""

    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        from durablectl.cli.completion import candidates

        found: list[tuple[str, str]] = candidates.ask(ctx, incomplete, getattr(candidates, name))
        return found

    return complete


complete_id = _live("ids")
complete_handler = _live("handlers")
complete_processor = _live("processors")
complete_namespace = _live("namespaces")
complete_schedule = _live("schedules")
complete_job = _live("jobs")
