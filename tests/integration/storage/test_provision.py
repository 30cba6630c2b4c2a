"""The streams of a namespace: created once, never silently used with another configuration, never mixed."""

from __future__ import annotations

import asyncio

import pytest

from durablectl.embedded import EmbeddedServer
from durablectl.errors import ConfigurationError, NotProvisionedError, UnsupportedServerError
from durablectl.model.codec import decode_execution
from durablectl.model.records import Execution
from durablectl.query import doctor_checks
from durablectl.settings import Settings
from durablectl.storage.connection.store import _check_version, dotted, open_store, server_defect
from durablectl.storage.diagnosis.inspection import ServerInfo
from durablectl.storage.records import states
from durablectl.storage.streams.provision import provision, require_provisioned, stream_config
from durablectl.storage.subjects import Subjects
from helpers.in_process import provisioned_store


async def test_the_default_names_are_those_of_the_contract(tmp_path):
    with EmbeddedServer(tmp_path) as server:
        async with provisioned_store(Settings(url=server.url, timeout=30)) as store:
            listed = await store.requests.call(f"{store.api}.STREAM.NAMES")
            assert {"COMMANDS", "KV_EXECUTION_STATE", "EXECUTION_INDEX"} <= set(listed["streams"])
            commands = await stream_config(store, "COMMANDS")
            assert (commands["retention"], commands["allow_msg_schedules"]) == ("workqueue", True)
            assert "commands.>" in commands["subjects"]
            bucket = await store.nats.jetstream().key_value("EXECUTION_STATE")
            assert await states.create(store, Execution("a-1", "greet"))
            assert decode_execution((await bucket.get("a-1")).value, "").handler == "greet"


async def test_repeated_and_concurrent_provisioning_changes_nothing(settings):
    async with open_store(settings) as one, open_store(settings) as other:
        await asyncio.gather(*(provision(store) for store in [one, other] * 4))
        names = [one.subjects.commands_stream, one.subjects.state_stream, one.subjects.index_stream]
        before = [await stream_config(one, name) for name in names]
        assert all(before)
        await provision(one)
        assert [await stream_config(one, name) for name in names] == before


@pytest.mark.parametrize(
    ("stream", "setting", "value", "words"),
    [
        ("commands_stream", "retention", "limits", "retention is limits, wanted workqueue"),
        ("state_stream", "max_msgs_per_subject", 5, "max_msgs_per_subject is 5, wanted 1"),
        ("index_stream", "allow_direct", False, "allow_direct is False, wanted True"),
    ],
)
async def test_a_stream_with_another_configuration_is_named_with_the_setting(settings, stream, setting, value, words):
    async with open_store(settings) as store:
        name = getattr(store.subjects, stream)
        subjects = getattr(store.subjects, f"{stream}_subjects")
        wanted = {"name": name, "subjects": subjects, "max_msgs_per_subject": 1, "discard": "new", "allow_direct": True}
        await store.requests.call(f"{store.api}.STREAM.CREATE.{name}", {**wanted, setting: value})
        with pytest.raises(ConfigurationError) as caught:
            await provision(store)
        assert caught.value.message.startswith(f"The stream {name} exists with another configuration: ")
        assert words in caught.value.message
        assert (await stream_config(store, name)).get(setting) in {value, None}


async def test_different_or_impossible_replicas_are_reported(settings):
    async with open_store(settings) as store:
        with pytest.raises(ConfigurationError, match="replicas"):
            await provision(store, replicas=3)
        await provision(store)
        with pytest.raises(ConfigurationError, match="num_replicas is 1, wanted 3"):
            await provision(store, replicas=3)
        await provision(store, replicas=1)


async def test_a_stranger_that_holds_the_subjects_is_a_sentence(settings):
    async with open_store(settings) as store:
        subject = f"{store.subjects.command('x', '')}"
        name = f"STRANGER{settings.namespace}"
        await store.requests.call(f"{store.api}.STREAM.CREATE.{name}", {"name": name, "subjects": [subject]})
        with pytest.raises(ConfigurationError, match=f"{store.subjects.commands_stream} cannot be created") as caught:
            await provision(store)
        assert "subjects" in caught.value.message


async def test_readers_of_empty_server_get_an_error_and_create_nothing(settings):
    async with open_store(settings) as store:
        with pytest.raises(NotProvisionedError, match=settings.namespace) as caught:
            await require_provisioned(store)
        assert "durablectl run processor" in caught.value.hint
        assert await stream_config(store, store.subjects.state_stream) is None


async def test_a_server_without_jetstream_is_refused(tmp_path):
    with EmbeddedServer(tmp_path, jetstream=False) as server:
        async with open_store(Settings(url=server.url, timeout=30)) as store:
            for ask in (provision, require_provisioned):
                with pytest.raises(UnsupportedServerError, match="JetStream is not enabled") as caught:
                    await ask(store)
                assert caught.value.exit_code == 4


@pytest.mark.parametrize(("version", "refused"), [((2, 11, 9), True), ((2, 12, 0), False), ((3, 0, 0), False)])
def test_a_server_older_than_2_12_is_refused(version, refused):
    if not refused:
        assert _check_version(version, Settings()) is None
        return
    with pytest.raises(UnsupportedServerError, match=r"version 2\.11\.9; durablectl needs 2\.12 or newer"):
        _check_version(version, Settings())


@pytest.mark.parametrize(("version", "has_defect"), [((2, 12, 3), True), ((2, 12, 4), False), ((2, 15, 1), False)])
def test_server_that_can_deadlock_is_a_finding_of_doctor(version, has_defect):
    check = doctor_checks.connection(ServerInfo("nats://x", dotted(version), 0.001, server_defect(version)))
    assert check.severity == ("warning" if has_defect else "ok")
    defect = (
        "nats-server 2.12.3 has deadlocks after which JetStream answers nothing until it is restarted; "
        "they are mended in 2.12.4."
    )
    assert [*check.lines] == ([defect] if has_defect else [])


async def test_namespaces_do_not_see_each_other(nats_server, namespace):
    first, second = (Settings(url=nats_server.url, namespace=f"{namespace}{tail}", timeout=30) for tail in ("", "b"))
    async with provisioned_store(first) as one, provisioned_store(second) as two:
        assert await states.create(one, Execution("same-id", "greet", "pending"))
        assert await states.create(two, Execution("same-id", "greet", "completed"))
        assert (await states.load(one, "same-id")).execution.status == "pending"
        assert (await states.load(two, "same-id")).execution.status == "completed"


@pytest.mark.parametrize("names", [("", "a"), ("a", "a-b"), ("a", "a_b"), ("journal", "commands")])
def test_no_two_namespaces_share_a_stream_or_a_subject(names):
    one, two = map(Subjects, names)
    for kind in ("commands_stream", "state_stream", "index_stream", "processors_stream"):
        assert getattr(one, kind) != getattr(two, kind)
        for mine in getattr(one, kind.replace("_stream", "_stream_subjects"), one.processors_subjects):
            first = mine.split(".")
            for theirs in getattr(two, kind.replace("_stream", "_stream_subjects"), two.processors_subjects):
                second = theirs.split(".")
                assert any(
                    a != b and "*" not in (a, b) and ">" not in (a, b) for a, b in zip(first, second, strict=False)
                )
