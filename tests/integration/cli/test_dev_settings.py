"""How `durablectl dev` is set up, what it says then, and what it says when it cannot start."""

from __future__ import annotations

import json
import os
import re
import sys

import pexpect
import pytest

from helpers.dev_stack import starter


@pytest.fixture
def start(spawn, cli, tmp_path):
    return starter(spawn, cli, tmp_path)


@pytest.fixture
def dev(start):
    return start()


def test_an_app_of_ones_own(start, tmp_path):
    (tmp_path / "shop.py").write_text(
        "from durablectl import service, workflow\n"
        "@service('Prices')\n"
        "class Prices:\n"
        "    async def Of(self, article: str) -> int:\n"
        "        return len(article)\n"
        "@workflow\n"
        "async def order(ctx, article):\n"
        "    return await ctx.call('Prices', 'Of', article)\n"
    )
    dev = start("--app", "shop.py", "--app", "durablectl.demo:hello_workflow", "--max-concurrent", "7")
    assert (dev.about["app"], dev.about["app_source"]) == (
        ["shop.py", "durablectl.demo:hello_workflow"],
        "the command line",
    )
    assert (dev.about["workflows"], dev.about["services"]) == (["hello_workflow", "order"], ["Prices"])
    assert dev.json("processors")["processors"][0]["slots"] == dev.about["slots"] == 7
    assert dev.json("wf", "start", "order", "--input", '"tea"', "--wait")["output"] == 3


def test_the_app_of_the_environment_and_of_pyproject(start, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.durablectl]\napp = "durablectl.demo:slow_workflow"\n')
    dev = start()
    assert (dev.about["workflows"], dev.about["app_source"]) == (["slow_workflow"], "pyproject.toml")
    assert dev.stop() == 0
    dev = start(env={"DURABLECTL_APP": "durablectl.demo:greet_many"})
    assert (dev.about["workflows"], dev.about["app_source"]) == (["greet_many"], "DURABLECTL_APP")


@pytest.mark.parametrize(
    ("args", "env"),
    [((), {"DURABLECTL_NAMESPACE": "blue"}), (("--namespace", "blue"), {"DURABLECTL_NAMESPACE": "red"})],
)
def test_a_namespace(start, args, env):
    dev = start(*args, env=env)
    assert dev.about["namespace"] == "blue"
    assert dev.json("wf", "start", "hello_workflow", "--input", '"Ada"', "--wait")["output"] == "Hello, Ada!"
    assert dev.run("wf", "list", env={"DURABLECTL_NAMESPACE": ""}).returncode == 3


def test_sync_always_reaches_the_server(start):
    dev = start("--sync", "always")
    assert "sync_interval: always" in (dev.directory / "nats-server.conf").read_text()
    assert dev.json("wf", "start", "hello_workflow", "--input", '"Ada"', "--wait")["status"] == "completed"


def test_dev_in_a_pipe_prints_url_and_commands_to_try(spawn, tmp_path, port):
    process = spawn("dev", "--nats-port", str(port), env={"NATS_URL": "", "DURABLECTL_NAMESPACE": "blue"})
    process.wait_for_output("wf watch")
    rows = [line.split("\t") for line in process.out().splitlines()]
    assert {len(row) for row in rows} == {2}
    texts = dict(row for row in rows if row[0] != "try")
    assert re.fullmatch(rf"2\.\d+\.\d+ at nats://127\.0\.0\.1:{port}", texts["nats-server"])
    assert texts["data"] == ".durablectl, kept for the next time"
    assert texts["namespace"] == "blue"
    assert (
        texts["workflows"]
        == "add_ticket_to_cart, async_workflow, flaky_workflow, greet_many, hello_workflow, slow_workflow"
    )
    assert "the sample; name your own with --app" in texts["app"]
    tries = [row[1] for row in rows if row[0] == "try"]
    assert tries[0] == f"export NATS_URL=nats://127.0.0.1:{port}"
    assert all(command.startswith("durablectl wf ") for command in tries[1:])
    assert (tmp_path / ".durablectl" / "jetstream").is_dir()
    process.interrupt()
    assert process.wait(60) == 0
    assert "Stopping." in process.err()
    assert "\x1b" not in process.out() + process.err()


def test_on_a_terminal(tmp_path):
    child = pexpect.spawn(
        sys.executable,
        ["-m", "durablectl", "dev", "--nats-port", "0"],
        cwd=str(tmp_path),
        dimensions=(30, 80),
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "LANG": "C.UTF-8"},
    )
    child.expect(r"✓.*nats-server.* at nats://127\.0\.0\.1:\d+")
    child.expect(r"Ctrl-C stops it\.")
    child.sendintr()
    child.expect("Stopping")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize(
    ("env", "note"),
    [
        ({"NATS_URL": "nats://elsewhere:4222"}, r"connect to nats://elsewhere:4222 \(environment NATS_URL\), not to"),
        ({"NATS_URL": "localhost,127.0.0.1:1"}, r"connect to nats://localhost, nats://127\.0\.0\.1:1 \(env"),
        ({"NATS_CONTEXT": "nowhere"}, r"Other commands cannot connect as it is: The NATS context 'nowhere'"),
    ],
)
def test_settings_that_point_other_commands_elsewhere(start, env, note):
    dev = start(env=env)
    assert re.search(note, json.loads(dev.process.err().splitlines()[0])["warning"]["message"])


def test_environment_that_names_the_dev_server_gives_no_warning(start, port):
    dev = start("--nats-port", str(port), env={"NATS_URL": f"localhost:{port}"})
    assert dev.url == f"nats://127.0.0.1:{port}"
    assert "warning" not in dev.process.err()


def test_a_port_that_is_taken(cli, nats_server):
    done = cli("dev", "--nats-port", str(nats_server.port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: Port {nats_server.port} on 127.0.0.1 is already taken.\n"
        "Choose another with --nats-port, or stop the process that listens there.\n"
    )


def test_a_directory_that_another_one_uses(dev):
    done = dev.run("dev", "--data-dir", str(dev.directory), "--nats-port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: The data directory {dev.directory} is in use by another running server.\n")
    assert dev.json("wf", "list")["total"] == 0, "the first one goes on"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--sync", "sometimes"], 2, "The sync interval 'sometimes' is neither 'always' nor a duration"),
        (["--namespace", "a.b"], 2, "The namespace 'a.b' holds the character '.'"),
        (["--app", "no_such_app"], 1, "There is no module 'no_such_app'."),
        (["--app", "broken.py"], 1, "The app .*broken.py failed to import: SyntaxError"),
        (["--nats-port", "70000"], 2, "Invalid value for '--nats-port'"),
        (["--max-concurrent", "0"], 2, "Invalid value for '--max-concurrent'"),
        (["--data-dir", "broken.py"], 1, "The nats-server could not be started in broken.py"),
    ],
)
def test_bad_input_starts_nothing(cli, tmp_path, args, code, message):
    (tmp_path / "broken.py").write_text("def (:\n")
    done = cli("dev", "--nats-port", "0", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.match(f"Error: {message}", done.stderr)
    assert "durablectl/" not in done.stderr, "no frame of ours"
    assert not (tmp_path / ".durablectl").exists()
