"""Finding the workflow that an operation is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import NotFoundError, StaleRevisionError
from durablectl.model.names import validate_name
from durablectl.model.validation import check_execution
from durablectl.storage.records.consistent_reads import load_known
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import Stored


async def load(store: Store, invocation_id: str, if_revision: int = 0) -> Stored:
    """Raises InvalidNameError, NotFoundError, NotProvisionedError; StaleRevisionError when ``if_revision`` is past.

    UnreadableError for a record that is damaged, or has a status that this version does not know.
    """
    validate_name("invocation id", invocation_id)
    stored = await load_known(store, invocation_id)
    if stored is None:
        await require_provisioned(store)
        raise NotFoundError(
            f"There is no workflow {invocation_id}.", hint="List them with `durablectl wf list`, or check --namespace."
        )
    check_execution(stored.execution)
    if if_revision not in {0, stored.revision}:
        raise StaleRevisionError(
            f"The workflow {invocation_id} is at revision {stored.revision}, not {if_revision} any more.",
            hint="Look at it again.",
        )
    return stored
