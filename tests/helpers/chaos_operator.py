"""What operators do at random to voyages: one choice of operations, for the chaos tests and the soak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl import control
from durablectl.errors import InvalidStateError, NotFoundError, UsageError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from durablectl.storage.connection.store import Store


class Operator:
    """Steers by ``choices``; ``directory`` is where the effects lie, and what heals a workflow."""

    def __init__(self, store: Store, directory: Path, choices: random.Random) -> None:
        self._store = store
        self._directory = directory
        self._choices = choices

    async def act(self, target: str) -> str:
        """Do something to the workflow; what it was, and how that went."""
        operations: list[tuple[int, str, Callable[[str], Awaitable[Any]]]] = [
            (20, "pause", lambda i: control.pause(self._store, i, "chaos")),
            (20, "resume", lambda i: control.resume(self._store, i)),
            (4, "cancel", lambda i: control.cancel(self._store, i, "gently")),
            (2, "cancel --now", lambda i: control.cancel(self._store, i, "at once", now=True)),
            (10, "retry", self._heal_and_retry),
            (5, "retry --from-step", lambda i: control.retry(self._store, i, from_step=self._choices.randrange(4))),
            (25, "resolve", lambda i: control.resolve(self._store, f"{i}.approval", self._choices.random())),
            (4, "reject", lambda i: control.reject(self._store, f"{i}.approval", "no")),
        ]
        [(_, name, operation)] = self._choices.choices(operations, [weight for weight, _, _ in operations])
        try:
            done = await operation(target)
        except (InvalidStateError, UsageError, NotFoundError):
            return f"{name} refused"
        return name if getattr(done, "changed", True) else f"{name} unchanged"

    async def _heal_and_retry(self, invocation_id: str) -> Any:
        (self._directory / invocation_id).touch()
        return await control.retry(self._store, invocation_id)


def voyage_plan(choices: random.Random) -> dict[str, Any]:
    return {
        "step": choices.choice([0.0, 0.01, 0.1, 0.4]),
        "sleep": choices.choice([0.02, 0.5, 1.2, 2.5]),
        "race": choices.choice([0.05, 0.1, 1.5]),
        "broken": choices.random() < 0.25,
    }
