"""A nats-server that has no room, or is not there: status, doctor and why say so, and what makes it work again."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.errors import DurableError
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers.breakdowns import Breakdown
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAD = "x" * 2_000
PAGE = b"x" * 4_096


def environment_of(server: EmbeddedServer, timeout: str = "30s") -> dict[str, str]:
    return {"NATS_URL": server.url, "DURABLECTL_NAMESPACE": "", "NATS_TIMEOUT": timeout}


@pytest.fixture
def serve(cli, spawn, tmp_path):
    """A breakdown on a server of its own."""

    def made(server: EmbeddedServer, timeout: str = "30s") -> Breakdown:
        return Breakdown(cli, spawn, tmp_path / "breakdown", environment_of(server, timeout))

    return made


async def test_killed_server_is_reported_and_work_continues_once_it_is_back(serve, tmp_path):
    """As the kernel does where memory is short; nobody has started it again."""
    with EmbeddedServer(tmp_path / "nats") as server:
        broken = serve(server)
        process = await broken.running_processor()
        await broken.start("send", "send-1")
        await broken.start("deliver", "parcel-1")
        await broken.group("waiting_for_person", handler="deliver")
        server.kill()
        for command in (("status",), ("doctor",), ("wf", "why", "send-1"), ("wf", "list"), ("processors",)):
            code, out, err = await broken.said(*command)
            assert (code, out) == (4, ""), (command, out, err)
            assert f"No NATS server answers at {server.url}." in err, (command, err)
            assert "check it, and whether the server runs" in " ".join(err.split()), (command, err)
        await wait_until(lambda: "The connection to the NATS server was lost; reconnecting." in process.err())
        broken.switch("shipped")
        server.start()
        await broken.ended("send-1")
        await broken.run("wf", "signal", "parcel-1", "delivered", "--data", "1")
        await broken.ended("parcel-1")
        assert process.poll() is None, process.err()
        await broken.doctor_finds("work", "ok")
        assert not (await broken.status())["needs_person"]


async def test_full_file_store_is_named_and_emptied_by_the_command(serve, tmp_path):
    """It holds more than max_file_store allows, so that not even a lease can be stored."""
    directory = tmp_path / "nats"
    server = EmbeddedServer(directory)
    with server:
        broken = serve(server)
        await broken.running_processor()
        kept = [f"kept-{number}" for number in range(100)]
        async with open_store(Settings(url=server.url, timeout=30)) as store:
            for each in kept:
                await control.start(store, control.StartRequest("keep", PAD, each))
        await broken.start("deliver", "parcel-1")
        await broken.group("waiting_for_person", handler="deliver")
        await broken.ended(kept[-1])
    limited = f'jetstream {{store_dir: "{directory}", max_file_store: 300KB}}'
    with EmbeddedServer(directory, port=server.port, jetstream=False, config=limited):
        group = await broken.group("store_full", severity="error", needs_restart=False, silent_processors=1)
        assert "insufficient resources" in group["summary"]
        room = await broken.doctor_finds("room", "error")
        assert room["message"].startswith("The file store is full")
        assert "max_file_store" in room["hint"]
        why = await broken.why("parcel-1")
        assert "The file store is full" in why["verdict"]
        assert why["commands"][0]["command"] == "durablectl wf delete --status completed"
        code, _, err = await broken.said("wf", "signal", "parcel-1", "delivered", "--data", "1")
        assert (code, "or raise its max_file_store" in " ".join(err.split())) == (1, True), err
        assert group["commands"][0]["command"] == "durablectl wf delete --status completed"
        await broken.follow(group)
        await broken.until_gone("store_full")
        await broken.doctor_finds("room", "ok")
        await broken.run("wf", "signal", "parcel-1", "delivered", "--data", "1")
        await broken.ended("parcel-1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(file: Path) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(descriptor, PAGE):
            pass
    except OSError:
        os.close(descriptor)


async def test_disk_that_others_fill_is_named_with_the_restart_it_needs(serve, small_disk, tmp_path):
    """nats-server writes nothing more to a stream that has met an error of the disk, until it is restarted."""
    with EmbeddedServer(small_disk / "nats", log_file=tmp_path / "nats.log") as server:
        broken = serve(server, timeout="5s")
        process = await broken.running_processor()
        await broken.start("deliver", "parcel-1")
        await broken.start("send", "send-1")
        await broken.group("waiting_for_person", handler="deliver")
        foreign = small_disk / "foreign"
        fill(foreign)
        await fill_last_pages(server)
        broken.switch("shipped")
        group = await broken.group("store_full", severity="error", needs_restart=True)
        assert "takes no writes: after an error of its disk" in group["summary"]
        assert group["commands"][0]["command"] == "systemctl restart nats-server"
        assert not {"no_processor", "processor_lost", "processor_gone"} & await broken.codes()
        room = await broken.doctor_finds("room", "error")
        assert (room["needs_restart"], room["silent_processors"]) == (True, 1)
        assert "then restart nats-server" in room["hint"]
        assert "takes no writes" in (await broken.why("parcel-1"))["verdict"]
        assert "restart nats-server" in (await broken.said("processors"))[2]
        foreign.unlink()
        assert (await broken.group("store_full"))["details"]["needs_restart"]
        server.restart()
        await broken.until_gone("store_full")
        await broken.ended("send-1")
        await broken.run("wf", "signal", "parcel-1", "delivered", "--data", "1")
        await broken.ended("parcel-1")
        assert process.poll() is None, process.err()
        await broken.doctor_finds("room", "ok")


async def fill_last_pages(server: EmbeddedServer) -> None:
    """What was allotted to files already takes some more writes: use that up, where the leases are, too."""
    async with open_store(Settings(url=server.url, timeout=2)) as store:
        for subject in (store.subjects.processor("filler"), store.subjects.state("filler")):
            try:
                while True:
                    await store.requests.publish(subject, PAD.encode())
            except DurableError:
                continue
