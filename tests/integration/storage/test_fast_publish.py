"""Writing messages past nats-py's ``publish``, and taking replies past its queues."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest

from durablectl.errors import StorageError
from durablectl.storage.connection.fast_publish import FastPublish
from durablectl.storage.connection.inline_dispatch import InlineDispatch
from helpers.waiting import wait_until

HEADERS = [
    None,
    {},
    {"Nats-Msg-Id": "a"},
    {"Nats-Expected-Last-Subject-Sequence": "12", "Nats-Expected-Last-Subject-Sequence-Subject": "a.b"},
    {"Reason": "größer als ∞"},
    {"Reason": "two\nlines"},
    {"Reason": "a\r\nInjected: header"},
    {"Reason": "  spaces around  "},
]


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("payload", [b"", b"payload", "ü".encode() * 100])
async def test_fast_publish_arrives_as_with_nats_py(store, namespace, headers, payload):
    arrived: list[tuple[bytes, str, dict[str, str] | None]] = []
    dispatch = InlineDispatch(lambda message: arrived.append((message.data, message.reply, message.headers)))
    await store.nats.subscribe(f"{namespace}.here", future=dispatch)
    await FastPublish(store.nats).publish(f"{namespace}.here", payload, "reply.to", headers)
    await store.nats.publish(f"{namespace}.here", payload, reply="reply.to", headers=headers)
    await wait_until(lambda: len(arrived) == 2)
    assert arrived[0] == arrived[1]


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB evil 0", "a\tb"])
async def test_fast_publish_refuses_what_is_no_subject(store, subject):
    with pytest.raises(nats.errors.BadSubjectError):
        await FastPublish(store.nats).publish(subject, b"", "reply.to", None)
    with pytest.raises(StorageError):
        await store.requests.send(subject, b"")
    assert store.nats.is_connected


async def test_fast_publish_uses_a_publish_that_was_replaced(store, monkeypatch):
    sent: list[str] = []

    async def publish(subject, *_, **__):
        sent.append(subject)

    monkeypatch.setattr(store.nats, "publish", publish)
    await FastPublish(store.nats).publish("a", b"", "reply.to", None)
    assert sent == ["a"]


async def test_fast_publish_without_its_internals_uses_nats_py(store, namespace, monkeypatch):
    monkeypatch.setattr("durablectl.storage.connection.fast_publish._INTERNALS", ("_gone",))
    arrived: list[bytes] = []
    await store.nats.subscribe(f"{namespace}.here", future=InlineDispatch(lambda message: arrived.append(message.data)))
    await FastPublish(store.nats).publish(f"{namespace}.here", b"slow", "reply.to", None)
    await wait_until(lambda: arrived == [b"slow"])


async def test_large_messages_are_flushed_when_the_buffer_is_full(store, namespace):
    arrived = 0

    def count(_: object) -> None:
        nonlocal arrived
        arrived += 1

    await store.nats.subscribe(f"{namespace}.here", future=InlineDispatch(count))
    fast = FastPublish(store.nats)
    for _ in range(20):
        await fast.publish(f"{namespace}.here", b"x" * 500_000, "reply.to", None)
    await wait_until(lambda: arrived == 20)


async def test_an_exception_while_dispatching_leaves_the_connection_reading(store, namespace, caplog):
    arrived: list[bytes] = []

    def take(message) -> None:
        arrived.append(message.data)
        if message.data == b"bad":
            raise ValueError("no")

    await store.nats.subscribe(f"{namespace}.here", future=InlineDispatch(take))
    for data in (b"bad", b"good"):
        await store.nats.publish(f"{namespace}.here", data)
    await wait_until(lambda: len(arrived) == 2)
    assert "was not processed" in caplog.text


async def test_publish_after_the_connection_was_closed_is_refused(store):
    fast = FastPublish(store.nats)
    await store.nats.close()
    with pytest.raises(nats.errors.ConnectionClosedError):
        await fast.publish("a", b"", "reply.to", None)
    await asyncio.sleep(0)
