"""Whether the credentials of a processor allow what it will do: asked before it takes work."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import nats.errors

from durablectl.storage.connection.permissions import permission_denied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.storage.connection.store import Store

_PROBE = "durablectl-probe"


class Probe(NamedTuple):
    """A message that nothing takes, for the sake of the server's complaint."""

    subject: str
    payload: bytes = b""
    headers: dict[str, str] | None = None


async def require_permissions(store: Store, publishes: Iterable[Probe], subscribes: Iterable[str]) -> None:
    """PermissionDeniedError unless the credentials may publish and subscribe to all of these.

    The probes change nothing: they carry a condition that no stream meets, or a request that the API refuses.
    """
    with store.requests.record_violations() as violations:
        for probe in publishes:
            with contextlib.suppress(nats.errors.Error):
                await store.nats.publish(probe.subject, probe.payload, headers=probe.headers)
        for subject in subscribes:
            subscription = await store.nats.subscribe(subject)
            await subscription.unsubscribe()
        await store.flush()
    if violations:
        raise permission_denied(violations)


def processor_probes(store: Store) -> list[Probe]:
    """What a processor publishes, a probe for each of its permissions."""
    subjects, api = store.subjects, store.api
    states, index, commands, processors = (
        subjects.state_stream,
        subjects.index_stream,
        subjects.commands_stream,
        subjects.processors_stream,
    )
    nothing = f'{{"filter":"{_PROBE}","seq":1}}'.encode()
    unmet = {"Nats-Expected-Stream": _PROBE}
    return [
        *(Probe(f"{api}.DIRECT.GET.{stream}", b"?") for stream in (states, index, commands, processors)),
        *(Probe(f"{api}.DIRECT.GET.{stream}.{_PROBE}") for stream in (states, processors)),
        Probe(f"{api}.CONSUMER.INFO.{commands}.{_PROBE}"),
        Probe(f"{api}.CONSUMER.CREATE.{commands}.{_PROBE}.{_PROBE}", b"?"),
        *(Probe(f"{api}.CONSUMER.CREATE.{stream}.{_PROBE}", b"?") for stream in (index, processors)),
        *(Probe(f"{api}.CONSUMER.DELETE.{stream}.{_PROBE}") for stream in (index, processors)),
        Probe(f"{api}.CONSUMER.MSG.NEXT.{commands}.{_PROBE}"),
        *(Probe(f"{api}.STREAM.PURGE.{stream}", nothing) for stream in (states, index, commands, processors)),
        Probe(f"$JS.ACK.{commands}.{_PROBE}.1.0.0.0.0"),
        Probe(subjects.state(_PROBE), b"", unmet),
        Probe(subjects.processor(_PROBE), b"", unmet),
        Probe(subjects.command(_PROBE, ""), b"", unmet),
        Probe(subjects.timer(_PROBE, _PROBE), b"", unmet),
        Probe(subjects.journal(_PROBE, 0), b"", unmet),
        Probe(subjects.type(_PROBE), b"", unmet),
        Probe(subjects.handler(_PROBE), b"", unmet),
        Probe(subjects.rejected(0), b"", unmet),
        Probe(subjects.schedule(_PROBE), b"", unmet),
        Probe(subjects.index("pending", 0, _PROBE, "", _PROBE), b"", unmet),
        Probe(subjects.notifications(_PROBE)),
    ]
