"""Recording changes in the audit trail before they are made."""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from durablectl.errors import DurableError, PermissionDeniedError
from durablectl.model.audit import AuditRecord, current_actor
from durablectl.storage.records import audit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from durablectl.storage.connection.store import Store

P = ParamSpec("P")
T = TypeVar("T")


class _Change:
    """A change that is about to be made; recorded once, however often the writing is tried."""

    def __init__(self, store: Store, action: str, name: str, reason: str, details: Mapping[str, Any]) -> None:
        self._store = store
        self._action = action
        self._name = name
        self._reason = reason
        self._details = dict(details)
        self.is_recorded = False
        self._handler = ""
        self._denied: PermissionDeniedError | None = None

    async def record(self, handler: str, name: str, details: Mapping[str, Any]) -> None:
        if not self.is_recorded:
            self.is_recorded = True
            self._handler, self._name = handler, name or self._name
            self._details |= details
            await self._write("")

    async def refuse(self, error: DurableError) -> None:
        if self._denied is None and self.is_recorded:
            await self._write(error.code)

    def warn(self) -> None:
        """Say that the change was made and could not be recorded."""
        if self._denied is not None:
            audit.warn(self._store, self._denied)

    async def _write(self, refused: str) -> None:
        is_workflow = "." not in self._action
        record = AuditRecord(
            self._action,
            current_actor(),
            nats_user=self._store.settings.audit_name,
            invocation_id=self._name if is_workflow else "",
            handler=self._handler,
            target="" if is_workflow else self._name,
            reason=self._reason,
            refused=refused,
            details={key: value for key, value in self._details.items() if _is_given(value)},
        )
        try:
            await audit.write(self._store, record)
        except PermissionDeniedError as error:
            self._denied = error  # said once the change is made, which the same credentials may not allow either


def _is_given(value: object) -> bool:
    """Whether a parameter says something: step 0 does."""
    return value is not None and value is not False and value != ""


_CHANGE: ContextVar[_Change | None] = ContextVar("_CHANGE", default=None)


def audited(
    action: str, name: str, *details: str
) -> Callable[[Callable[Concatenate[Store, P], Awaitable[T]]], Callable[Concatenate[Store, P], Coroutine[Any, Any, T]]]:
    """Record what the decorated operation changes, once it calls ``record_change``.

    ``name`` is the parameter that names the workflow or, of an action with a dot such as "schedule.pause", the target;
    ``details`` are parameters to keep. An error behind ``record_change`` is recorded, too. Of operations that call one
    another the outermost is recorded.
    """

    def decorate(
        operation: Callable[Concatenate[Store, P], Awaitable[T]],
    ) -> Callable[Concatenate[Store, P], Coroutine[Any, Any, T]]:
        signature = inspect.signature(operation)

        @functools.wraps(operation)
        async def recorded(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if _CHANGE.get() is not None:
                return await operation(store, *args, **kwargs)
            bound = signature.bind(store, *args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            change = _Change(
                store,
                action,
                str(given.get(name, "")),
                str(given.get("reason", "")),
                {each: given[each] for each in details},
            )
            token = _CHANGE.set(change)
            try:
                made = await operation(store, *args, **kwargs)
            except DurableError as error:
                await change.refuse(error)
                raise
            finally:
                _CHANGE.reset(token)
            change.warn()
            return made

        return recorded

    return decorate


async def record_change(handler: str = "", name: str = "", **details: Any) -> None:
    """Record the change that follows, with the handler that it is about; ``name`` where no parameter has it."""
    change = _CHANGE.get()
    if change is not None:
        await change.record(handler, name, details)
