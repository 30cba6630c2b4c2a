"""The consumers of COMMANDS, which hand the commands of each handler to its processors: what keeps them from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl.model.clock import NANOSECONDS
from durablectl.storage.commands.command_queue import UNROUTED, consumer_info, consumer_name, ensure_consumer

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


async def find_consumer_faults(store: Store, handler: str) -> list[str]:
    """What keeps the commands of a handler from its processors, as phrases; none for a consumer that a processor makes.

    A processor makes one that does not exist, within seconds.
    """
    name = UNROUTED if handler == UNROUTED else consumer_name(handler)
    info = await consumer_info(store, name)
    return [] if info is None else [f"its consumer {name} {fault}" for fault in _faults(info)]


def _faults(info: dict[str, Any]) -> list[str]:
    config, faults = info["config"], []
    if info.get("paused"):
        faults.append(f"is paused until {config.get('pause_until', 'somebody resumes it')}")
    most = int(config.get("max_ack_pending", -1))
    if most > 0:
        faults.append(f"hands out at most {most:,} at a time (max_ack_pending)")
    deliveries = int(config.get("max_deliver", -1))
    if deliveries > 0:
        faults.append(f"gives up a command after {deliveries:,} deliveries (max_deliver)")
    return faults


async def repair_consumer(store: Store, handler: str) -> None:
    """Resume it, and give it the configuration that processors need; its --ack-wait stays.

    Raises PermissionDeniedError.
    """
    name = UNROUTED if handler == UNROUTED else consumer_name(handler)
    info = await consumer_info(store, name)
    if info is None:
        return
    if info.get("paused"):
        await store.requests.call(f"{store.api}.CONSUMER.PAUSE.{store.subjects.commands_stream}.{name}", {})
    config = info["config"]
    await ensure_consumer(store, name, config["filter_subject"], config["ack_wait"] / NANOSECONDS)
