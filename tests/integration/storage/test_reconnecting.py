"""A connection that the server ends for a reason comes back, with the credentials that its files hold by then."""

from __future__ import annotations

import logging
import os
import signal

import pytest

from durablectl import control
from durablectl.errors import ConnectionFailedError, PayloadTooLargeError
from durablectl.model.status import Status
from durablectl.query import get_workflow
from durablectl.settings import Settings, resolve
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.provision import provision
from helpers.authenticated_servers import serving, write_context
from helpers.credential_authority import Key, Operator, credentials
from helpers.paths import APPS
from helpers.waiting import wait_until

OLD, NEW = "old-password", "new-password"


def admitting(password):
    return f'authorization {{ users: [{{ user: ada, password: "{password}" }}] }}'


def reconfigure(server, config):
    """Have the server use other credentials from now on; those who came with the old ones are thrown out."""
    server._config = config
    (server._store_dir / "nats-server.conf").write_text(server._config_text())
    os.kill(server.pid, signal.SIGHUP)


async def answers(store):
    try:
        await store.requests.call(f"{store.api}.INFO")
    except ConnectionFailedError:
        return False
    return True


async def has_lost(store):
    return not store.is_connected


async def test_password_changed_and_put_back_ends_no_connection(tmp_path, caplog):
    with serving(tmp_path, admitting(OLD)) as server:
        async with open_store(Settings(url=server.url, user="ada", password=OLD, timeout=30)) as store:
            reconfigure(server, admitting(NEW))
            await wait_until(lambda: has_lost(store))
            await wait_until(lambda: "refuses the credentials" in caplog.text)
            reconfigure(server, admitting(OLD))
            await wait_until(lambda: answers(store))
            assert caplog.text.count("refuses the credentials") == 1
            assert OLD not in caplog.text


async def test_new_password_in_the_context_is_used_to_reconnect(tmp_path):
    with serving(tmp_path, admitting(OLD)) as server:
        context = {"url": server.url, "user": "ada", "password": OLD}
        write_context("mine", context)
        async with open_store(resolve({"context": "mine", "timeout": "30s"})) as store:
            write_context("mine", context | {"password": NEW})
            reconfigure(server, admitting(NEW))
            await wait_until(lambda: store.reconnects)
            await wait_until(lambda: answers(store))


async def test_new_nkey_in_its_file_is_used_to_reconnect(tmp_path):
    keys = [Key.make(), Key.make()]
    file = tmp_path / "user.nk"
    file.write_text(keys[0].seed)
    configs = [f"authorization {{ users: [{{ nkey: {key.public} }}] }}" for key in keys]
    with serving(tmp_path, configs[0]) as server:
        async with open_store(Settings(url=server.url, nkey=str(file), timeout=30)) as store:
            file.write_text(keys[1].seed)
            reconfigure(server, configs[1])
            await wait_until(lambda: store.reconnects)
            await wait_until(lambda: answers(store))


@pytest.mark.parametrize("is_renewed", ["before it runs out", "after"])
async def test_credentials_that_run_out_are_read_again_from_their_file(tmp_path, caplog, is_renewed):
    operator = Operator()
    file = tmp_path / "user.creds"
    file.write_text(credentials(*operator.user(lasts=3)))
    with serving(tmp_path, operator.config) as server:
        async with open_store(Settings(url=server.url, creds=str(file), timeout=30)) as store:
            if is_renewed == "after":
                await wait_until(lambda: f"The JWT of the credentials file {file} has expired" in caplog.text)
            file.write_text(credentials(*operator.user()))
            await wait_until(lambda: store.reconnects)
            await wait_until(lambda: answers(store))


async def test_message_over_the_limit_of_the_user_is_refused(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    operator = Operator()
    file = tmp_path / "user.creds"
    file.write_text(credentials(*operator.user(payload=100_000)))
    with serving(tmp_path, operator.config) as server:
        async with open_store(Settings(url=server.url, creds=str(file), timeout=30)) as store:
            await provision(store)
            for _ in range(2):
                with pytest.raises(PayloadTooLargeError, match="200,00"):
                    await store.requests.publish(f"{store.subjects.commands_marker}.x", bytes(200_000))
                await wait_until(lambda: answers(store))
            assert store.reconnects == 1
            assert store.max_payload < 200_010


async def test_a_processor_survives_a_change_of_its_password(tmp_path, spawn):
    with serving(tmp_path, admitting(OLD)) as server:
        write_context("mine", {"url": server.url, "user": "ada", "password": OLD})
        env = {"NATS_URL": "", "DURABLECTL_NAMESPACE": "", "NATS_CONTEXT": "mine"}
        process = spawn("run", "processor", str(APPS / "lost_streams_app.py"), env=env)
        async with open_store(Settings(url=server.url, user="ada", password=OLD, timeout=30)) as store:
            await wait_until(lambda: "takes commands for" in process.err(), detail=process.err)
            write_context("mine", {"url": server.url, "user": "ada", "password": NEW})
            reconfigure(server, admitting(NEW))
            await wait_until(lambda: has_lost(store))
        async with open_store(Settings(url=server.url, user="ada", password=NEW, timeout=30)) as store:
            await control.start(store, control.StartRequest("quick", None, "after"))
            await wait_until(lambda: has_completed(store, "after"), detail=process.err)


async def has_completed(store, invocation_id):
    return (await get_workflow(store, invocation_id)).status == Status.COMPLETED
