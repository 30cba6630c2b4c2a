"""A running `durablectl dev`, for the tests of it."""

from __future__ import annotations

import json
import signal
import time


class Dev:
    """A `durablectl dev` with its data in ``directory``, and commands against it."""

    def __init__(self, process, cli, directory):
        self.process = process
        self.directory = directory
        self._cli = cli
        deadline = time.monotonic() + 60
        while not process.out().endswith("}\n"):
            assert process.poll() is None, process.err()
            assert time.monotonic() < deadline, process.err()
            time.sleep(0.02)
        self.about = json.loads(process.out())
        self.url = self.about["nats_url"]

    def run(self, *args, **options):
        env = {"NATS_URL": self.url, "DURABLECTL_NAMESPACE": self.about["namespace"] or "", **options.pop("env", {})}
        return self._cli(*args, env=env, **options)

    def json(self, *args):
        done = self.run(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def get(self, invocation_id):
        return self.json("wf", "get", invocation_id)

    def until(self, invocation_id, condition, within=60):
        deadline = time.monotonic() + within
        while not condition(workflow := self.get(invocation_id)):
            assert time.monotonic() < deadline, workflow
        return workflow

    def stop(self, number=signal.SIGINT, within=60):
        self.process.send_signal(number)
        return self.process.wait(within)


def starter(spawn, cli, tmp_path):
    """Starts one on a free port, unless said otherwise, and without the NATS_URL of the tests' own server."""

    def start(*args, env=(), directory=tmp_path / "data"):
        arguments = ["--data-dir", str(directory), "--nats-port", "0", "--json", *args]
        clean = {"NATS_URL": "", "DURABLECTL_NAMESPACE": "", **dict(env)}
        return Dev(spawn("dev", *arguments, env=clean), cli, directory)

    return start
