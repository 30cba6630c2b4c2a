"""Consumers of commands that somebody paused or limited with the NATS tools."""

from __future__ import annotations

import pytest

from durablectl.storage.commands.command_queue import consumer_info, consumer_name

HANDLER = "deliver"


async def pause(store):
    name = consumer_name(HANDLER)
    subject = f"{store.api}.CONSUMER.PAUSE.{store.subjects.commands_stream}.{name}"
    await store.requests.call(subject, {"pause_until": "2126-01-01T00:00:00Z"})


async def set_limits(store):
    info = await consumer_info(store, consumer_name(HANDLER))
    config = {**info["config"], "max_ack_pending": 1, "max_deliver": 1}
    subject = f"{store.api}.CONSUMER.CREATE.{info['stream_name']}.{info['name']}.{config['filter_subject']}"
    await store.requests.call(subject, {"stream_name": info["stream_name"], "config": config})


async def test_paused_consumer_is_named_and_resumed_by_the_command(broken, store):
    await broken.running_processor()
    await pause(store)
    await broken.start(HANDLER, "parcel-1", "parcel-2")
    group = await broken.group("not_called", count=2, handler=HANDLER)
    assert "its consumer handler-deliver is paused until 2126-01-01T00:00:00Z" in group["summary"]
    await broken.doctor_names("not_called")
    code, said, _ = await broken.said("wf", "why", "parcel-1")
    assert code == 0
    assert "as its consumer handler-deliver is paused until" in said
    assert "durablectl doctor --repair --streams" in said
    await broken.follow(group)
    await broken.ended("parcel-1", "parcel-2", status="suspended")
    await broken.until_gone("not_called")


@pytest.mark.parametrize("by", ["doctor", "a processor that starts"])
async def test_limited_consumer_hands_out_everything_once_repaired(broken, store, by):
    process = await broken.running_processor()
    await set_limits(store)
    if by == "doctor":
        said = await broken.run("doctor", "--repair", "--streams")
        assert "hands out at most 1 at a time (max_ack_pending)" in said
    else:
        process.terminate()
        second = await broken.running_processor()
        for limit in ("max_ack_pending", "max_deliver"):
            assert f"The consumer of handler deliver was changed: {limit} from 1 to no limit." in second.err()
    config = (await consumer_info(store, consumer_name(HANDLER)))["config"]
    assert (config["max_ack_pending"], config["max_deliver"]) == (-1, -1)
