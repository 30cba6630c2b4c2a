"""One workflow with its journal, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import NotFoundError, NotProvisionedError
from durablectl.model.incoming import unclaimed_messages
from durablectl.model.names import validate_name
from durablectl.model.status import is_terminal
from durablectl.query.processors import with_processor
from durablectl.query.view_builder import payloads, workflow_view
from durablectl.query.views import WorkflowView
from durablectl.storage.records import journal, states
from durablectl.storage.records.consistent_reads import load_confirmed
from durablectl.storage.records.message_types import load_schemas
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from durablectl.model.incoming import Unclaimed
    from durablectl.model.records import Execution
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState


async def get_workflow(
    store: Store, invocation_id: str, *, steps: tuple[int | None, int | None] | None = None
) -> WorkflowView:
    """With its whole journal, or ``steps`` of it: from one number up to before another, negative from the end.

    Then ``children`` are those of these steps.

    Raises NotFoundError; NotProvisionedError on a server that holds no workflows.
    """
    validate_name("invocation id", invocation_id)
    stored, part = await _read(store, invocation_id, steps or (None, None))
    unclaimed = await _unclaimed(store, stored.execution, part)
    types = {payload.type_name for payload in payloads(stored.execution, part.entries)}
    types |= {each.data.type_name for each in unclaimed}
    view = workflow_view(stored.execution, stored.revision, await load_schemas(store, types), part, unclaimed)
    return await with_processor(store, view)


async def get_children(store: Store, view: WorkflowView) -> list[WorkflowView]:
    """Those that ``view`` names, read at once; what is not there any more is left out.

    A journal they have only if it has become part of the record, as most do that have ended.
    """
    stored = await states.load_many(store, view.children)
    found = [stored[child] for child in view.children if child in stored]
    types = {payload.type_name for each in found for payload in payloads(each.execution, ())}
    schemas = await load_schemas(store, types)
    return [workflow_view(each.execution, each.revision, schemas, _inline_journal(each.execution)) for each in found]


def _inline_journal(execution: Execution) -> journal.JournalRange | None:
    entries = execution.journal
    return journal.JournalRange(entries, 0, len(entries)) if entries else None


async def _unclaimed(store: Store, execution: Execution, part: journal.JournalRange) -> list[Unclaimed]:
    """Reads what ``part`` leaves out of the journal only where something came in that it does not account for."""
    found = unclaimed_messages(execution, part.entries)
    if not found or len(part.entries) >= part.length:
        return found
    return unclaimed_messages(execution, await journal.load_journal(store, execution))


async def _read(
    store: Store, invocation_id: str, steps: tuple[int | None, int | None]
) -> tuple[StoredState, journal.JournalRange]:
    while True:
        try:
            stored = await load_confirmed(store, invocation_id)
        except NotProvisionedError:
            await require_provisioned(store)
            raise
        if stored is None:
            await require_provisioned(store)
            raise not_found(invocation_id)
        execution = stored.execution
        part = await journal.load_range(store, execution, *steps)
        if is_terminal(execution.status) and not execution.journal_length:
            return stored, part
        again = await load_confirmed(store, invocation_id)
        # The end of a workflow folds its journal away: what was read before and after must be of one piece.
        if again is not None and is_terminal(again.execution.status) == is_terminal(execution.status):
            return again, part


def not_found(invocation_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no workflow {invocation_id}.", hint="List them with `durablectl wf list`, or check --namespace."
    )
