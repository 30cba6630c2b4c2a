"""Every operation in every status, by CLI and SDK: result, exit code, and the status that it leads to."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import pytest_asyncio

from durablectl import Client, DurableError, query
from durablectl.errors import NotFoundError
from durablectl.settings import Settings
from helpers import operations
from helpers.index_listing import index_groups
from helpers.waiting import wait_until
from helpers.workflow_runs import wait_for_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.embedded import EmbeddedServer
    from durablectl.query import WorkflowView
    from helpers.operations import OperatorCli

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATUSES = ("pending", "running", "suspended", "paused", "completed", "failed", "cancelled")

# "-" is refused with exit code 7 and changes nothing; "=" succeeds and changes nothing; anything else is the status
# that the workflow comes to, "gone" that it is deleted, "new ..." the status of another that was started for it.
TABLE = """
                  pending    running    suspended  paused     completed  failed         cancelled
pause             paused     paused     paused     =          -          -              -
resume            =          =          =          suspended  -          -              -
cancel            cancelled  cancelled  cancelled  cancelled  -          -              =
cancel --now      cancelled  cancelled  cancelled  cancelled  -          -              =
retry             -          -          -          -          -          completed      suspended
retry --from-step -          -          -          -          -          completed      suspended
retry --restart   -          -          -          -          new        new            new
delete            -          -          -          -          gone       gone           gone
signal            pending    running    suspended  paused     -          -              -
resolve           pending    running    completed  paused     -          -              -
reject            pending    running    failed     paused     -          -              -
"""
RESTARTED = {"completed": "completed", "failed": "completed", "cancelled": "suspended"}
OPERATIONS = [line[:17].strip() for line in TABLE.splitlines()[2:]]


def expectations() -> dict[tuple[str, str], str]:
    rows = {line[:17].strip(): line[17:].split() for line in TABLE.splitlines()[2:]}
    assert all(len(cells) == len(STATUSES) for cells in rows.values())
    return {(name, status): cell for name, cells in rows.items() for status, cell in zip(STATUSES, cells, strict=True)}


class Answer(NamedTuple):
    code: int
    message: str
    invocation_id: str = ""
    changed: bool = False
    status: str = ""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def desk(nats_server: EmbeddedServer) -> AsyncIterator[OperatorCli]:
    settings = Settings(url=nats_server.url, namespace=f"t{secrets.token_hex(3)}", timeout=30)
    async with operations.operator_cli(settings) as opened:
        yield opened


async def by_cli(desk: OperatorCli, operation: str, invocation_id: str) -> Answer:
    verb, *flag = operation.split()
    arguments = {
        "retry --from-step": [invocation_id, *flag, "0"],
        "signal": [invocation_id, "hint", "--data", "1"],
        "resolve": [f"{invocation_id}.approval", "--data", '"yes"'],
        "reject": [f"{invocation_id}.approval", "--error", "no"],
    }.get(operation, [invocation_id, *flag])
    result = await desk.cli("wf", verb, *arguments, "--json")
    if result.exit_code:
        assert result.stdout == ""
        return Answer(result.exit_code, json.loads(result.stderr)["error"]["message"])
    assert result.stderr == ""
    told = json.loads(result.stdout)
    return Answer(0, told["message"], told["invocation_id"], told["changed"], told["status"])


async def by_sdk(desk: OperatorCli, operation: str, invocation_id: str) -> Answer:
    async with Client(url=desk.settings.url, namespace=desk.settings.namespace) as client:
        calls: dict[str, Any] = {
            "pause": lambda: client.pause(invocation_id),
            "resume": lambda: client.resume(invocation_id),
            "cancel": lambda: client.cancel(invocation_id),
            "cancel --now": lambda: client.cancel(invocation_id, now=True),
            "retry": lambda: client.retry(invocation_id),
            "retry --from-step": lambda: client.retry(invocation_id, from_step=0),
            "retry --restart": lambda: client.retry(invocation_id, restart=True),
            "delete": lambda: client.delete(invocation_id),
            "signal": lambda: client.signal(invocation_id, "hint", 1),
            "resolve": lambda: client.resolve(f"{invocation_id}.approval", "yes"),
            "reject": lambda: client.reject(f"{invocation_id}.approval", "no"),
        }
        try:
            result = await calls[operation]()
        except DurableError as error:
            return Answer(error.exit_code, error.message)
        return Answer(0, result.message, result.invocation_id, result.changed, result.status)


@pytest.mark.parametrize("face", [by_cli, by_sdk])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_operation(desk: OperatorCli, operation: str, status: str, face: Any):
    expected = expectations()[operation, status]
    invocation_id = await desk.start_in_status(status)
    before = await query.get_workflow(desk.store, invocation_id)
    assert before.status == status
    operations.healed.add(invocation_id)

    answer = await face(desk, operation, invocation_id)

    assert answer.code == (7 if expected == "-" else 0), answer
    if expected in {"-", "="}:
        assert not answer.changed
        assert status in answer.message
        assert (await query.get_workflow(desk.store, invocation_id)).revision == before.revision
    elif expected == "gone":
        assert (answer.status, answer.changed) == ("deleted", True)
        with pytest.raises(NotFoundError):
            await query.get_workflow(desk.store, invocation_id)
        assert await index_groups(desk.store, invocation_id) == []
        return
    elif expected == "new":
        assert answer.changed
        assert answer.invocation_id != invocation_id
        await wait_for_status(desk.store, answer.invocation_id, RESTARTED[status])
        links = await query.get_workflow(desk.store, answer.invocation_id)
        assert links.restarted_from == invocation_id
        after = await query.get_workflow(desk.store, invocation_id)
        assert (after.status, after.restarted_as) == (status, answer.invocation_id)
    else:
        assert (answer.changed, answer.invocation_id) == (True, invocation_id)
        await wait_for_status(desk.store, invocation_id, expected)
    operations.release(invocation_id)
    await settled(desk, await query.get_workflow(desk.store, invocation_id))


async def settled(desk: OperatorCli, view: WorkflowView) -> None:
    """A step in flight ends, and leads nowhere that the operation forbids; one index entry says where it stands."""
    if view.handler == "busy":
        end = {"running": "completed"}.get(view.status, view.status)
        view = await wait_for_status(desk.store, view.invocation_id, end)
        if end == "paused":
            await wait_until(lambda: is_let_go(desk, view.invocation_id))
        if end == "cancelled":
            assert all(step.error_type == "Cancelled" for step in view.journal)
        else:
            assert f"held {view.invocation_id}" in operations.effects

    async def is_entered() -> bool:
        now = await query.get_workflow(desk.store, view.invocation_id)
        return await index_groups(desk.store, view.invocation_id) == [now.status]

    await wait_until(is_entered)


async def is_let_go(desk: OperatorCli, invocation_id: str) -> bool:
    view = await query.get_workflow(desk.store, invocation_id)
    assert view.status == "paused"
    return not view.owner and [step.response for step in view.journal] == [invocation_id]
