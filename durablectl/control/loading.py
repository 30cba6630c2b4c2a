"""Finding the workflow that an operation is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import NotFoundError
from durablectl.model.names import validate_name
from durablectl.storage import states
from durablectl.storage.provision import require_provisioned

if TYPE_CHECKING:
    from durablectl.storage.states import Stored
    from durablectl.storage.store import Store


async def load(store: Store, invocation_id: str) -> Stored:
    """Raises InvalidNameError, NotFoundError, NotProvisionedError."""
    validate_name("invocation id", invocation_id)
    stored = await states.load(store, invocation_id)
    if stored is None:
        await require_provisioned(store)
        raise NotFoundError(
            f"There is no workflow {invocation_id}.", hint="List them with `durablectl wf list`, or check --namespace."
        )
    return stored
