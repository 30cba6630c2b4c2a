"""Nobody answers for a stream: that is told from a stream that is not there."""

from __future__ import annotations

import pytest

from durablectl.errors import ConnectionFailedError, NotProvisionedError
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


async def test_stream_is_not_reported_missing_during_server_restart(settings):
    async with provisioned_store(settings) as store:
        # What nats-server does on its way down, and before it has recovered a stream: nobody takes direct gets.
        stream = store.subjects.state_stream
        info = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}")
        await store.requests.call(f"{store.api}.STREAM.UPDATE.{stream}", {**info["config"], "allow_direct": False})
        for read in reads(store):
            with pytest.raises(ConnectionFailedError, match="it is starting or stopping"):
                await read()
