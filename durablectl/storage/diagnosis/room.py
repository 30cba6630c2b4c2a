"""Whether the server stores what is written: a full file store silences every lease, as if all processors had died."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import DurableError, PermissionDeniedError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.storage.connection.rejections import NoAnswerError, StorageFullError, WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED
from durablectl.storage.records.leases import EXPIRED_MICROSECONDS
from durablectl.storage.streams.direct_get import get_message
from durablectl.storage.streams.stored_messages import stored_message
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.inspection import StreamCondition

_NEARLY = 0.99
"""A limit that is reached so far refuses most records."""


class FullStore(NamedTuple):
    """What has no room, in a phrase. ``silent`` is how many processors cannot store their leases, 0 for none known.

    ``since`` is when the last lease was stored (microseconds), 0 where leases still are. ``needs_restart`` says that
    nats-server itself has stopped writing after an error of its disk, and begins again only when it is restarted.
    """

    what: str
    silent: int = 0
    since: int = 0
    needs_restart: bool = False

    @property
    def sentence(self) -> str:
        """The whole finding, without a full stop."""
        return f"The file store {'takes no writes' if self.needs_restart else 'is full'}: {self.what}"


async def find_full_store(
    store: Store, conditions: Sequence[StreamCondition], *, has_live_processors: bool
) -> FullStore | None:
    """What is full, by the limits of streams and account; where all leases are silent, by a write that changes nothing.

    A processor follows the leases by a consumer, also while it cannot store its own: that tells it from one that died.
    """
    leases = next((each for each in conditions if each.kind is StreamKind.PROCESSORS), None)
    silent = leases.consumers if leases is not None and not has_live_processors else 0
    since = leases.last_write_us if leases is not None and silent else 0
    if leases is not None and _has_stopped(leases):
        what = f"after an error of its disk, nats-server writes nothing more to {leases.name}"
        return FullStore(what, silent, leases.last_write_us, needs_restart=True)
    limit = _full_stream(conditions) or await _full_account(store)
    if limit:
        return FullStore(limit, silent, since)
    if not silent:
        return None
    return await _refused_write(store, silent, since)


def _has_stopped(leases: StreamCondition) -> bool:
    """Whether it holds what should have expired. Since nats-server 2.14 an error of the disk ends all its writes."""
    return bool(leases.messages) and SYSTEM_CLOCK.now() - leases.last_write_us > EXPIRED_MICROSECONDS


def _full_stream(conditions: Sequence[StreamCondition]) -> str:
    for each in conditions:
        drops = each.config.get("discard", "old") == "old" and each.kind is not StreamKind.STATES
        if each.most_bytes and each.stored_bytes >= _NEARLY * each.most_bytes and not drops:
            return f"the stream {each.name} holds {each.stored_bytes:,} of {each.most_bytes:,} bytes"
    return ""


async def _full_account(store: Store) -> str:
    try:
        info = await store.requests.call(f"{store.api}.INFO")
    except DurableError:
        return ""
    most, used = int(info.get("limits", {}).get("max_storage", -1)), int(info.get("storage", 0))
    return f"the account holds {used:,} of {most:,} bytes" if most > 0 and used >= _NEARLY * most else ""


async def _refused_write(store: Store, silent: int, since: int) -> FullStore | None:
    """Write the marker of the commands over itself; what the server says if it refuses."""
    subjects = store.subjects
    try:
        found = await get_message(store, subjects.commands_stream, {"last_by_subj": subjects.commands_marker})
        if found is None:
            return None
        marker = stored_message(found)
        headers = {EXPECTED: str(marker.sequence), "Nats-Rollup": "sub"}
        await store.requests.publish(subjects.commands_marker, marker.data, headers)
    except StorageFullError as error:
        return FullStore(error.message.partition(": ")[2].rstrip(".") or error.message, silent, since)
    except (PermissionDeniedError, WrongSequenceError):
        return None
    except NoAnswerError:
        return FullStore("it answers no write, as after an error of its disk", silent, since, needs_restart=True)
    except DurableError:
        return None
    return None
