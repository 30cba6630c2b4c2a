"""Nobody answers for a stream: that is told from a stream that is not there."""

from __future__ import annotations

import pytest

from durablectl.errors import ConfigurationError, ConnectionFailedError, NotProvisionedError
from durablectl.storage.connection.rejections import stream_of
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import states
from durablectl.storage.streams import direct_get
from durablectl.storage.streams.direct_get import get_message
from helpers.in_process import provisioned_store


def reads(store):
    stream, subject = store.subjects.state_stream, store.subjects.state("a")
    return [
        lambda: states.load(store, "a"),
        lambda: states.load_many(store, ["a", "b"]),
        lambda: direct_get.count(store, stream, subject),
        lambda: direct_get.first_since(store, stream, subject, 1),
        lambda: get_message(store, stream, {"last_by_subj": subject}),
    ]


async def test_each_read_reports_missing_streams(settings):
    async with open_store(settings) as store:
        for read in reads(store):
            with pytest.raises(NotProvisionedError, match="holds no workflows yet"):
                await read()


async def test_stream_is_not_reported_missing_during_server_restart(settings, monkeypatch):
    async with provisioned_store(settings) as store:
        # What nats-server does on its way down, and before it has recovered a stream: it answers no direct get.
        send, send_many = store.requests.send, store.requests.send_many

        def away(subject):
            return subject.replace("DIRECT.GET.", "DIRECT.GET.AWAY_")

        monkeypatch.setattr(store.requests, "send", lambda subject, *rest: send(away(subject), *rest))
        monkeypatch.setattr(store.requests, "send_many", lambda subject, *rest: send_many(away(subject), *rest))
        for read in reads(store):
            with pytest.raises(ConnectionFailedError, match="it is starting or stopping"):
                await read()


async def test_stream_without_direct_access_is_named_with_the_command(settings):
    async with provisioned_store(settings) as store:
        stream = store.subjects.state_stream
        info = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}")
        await store.requests.call(f"{store.api}.STREAM.UPDATE.{stream}", {**info["config"], "allow_direct": False})
        for read in reads(store):
            with pytest.raises(
                ConfigurationError, match=f"{stream} cannot be read: its direct access is off"
            ) as caught:
                await read()
            assert "doctor --repair --streams" in caught.value.hint


@pytest.mark.parametrize(
    ("subject", "stream"),
    [
        ("$JS.API.DIRECT.GET.KV_EXECUTION_STATE.$KV.EXECUTION_STATE.GET", "KV_EXECUTION_STATE"),
        ("$JS.hub.API.STREAM.MSG.DELETE.EXECUTION_INDEX", "EXECUTION_INDEX"),
        ("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.handler-STREAM", "COMMANDS"),
        ("$JS.API.CONSUMER.CREATE.COMMANDS_shop.handler-a.commands-shop.a.>", "COMMANDS_shop"),
        ("$KV.EXECUTION_STATE_shop.w1", "KV_EXECUTION_STATE_shop"),
        ("commands-shop.pay.~", "COMMANDS_shop"),
        ("schedules.w1.wake-1", "COMMANDS"),
        ("durable.index.running.pay", "EXECUTION_INDEX"),
        ("durable-a-b.journal.w1.3", "KV_EXECUTION_STATE_a-b"),
        ("COMMANDS", "COMMANDS"),
    ],
)
def test_stream_behind_each_subject_is_known(subject, stream):
    assert stream_of(subject) == stream
