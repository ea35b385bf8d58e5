"""The images as they ship: built and started by docker-compose.yml, hardened as it says there, stopped under load.

Not part of `make test`, which must run where there is no Docker engine. `make test-containers` runs it.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = "heed-check"
READY_SECONDS = 180
STOP_SECONDS = 10

pytestmark = pytest.mark.containers


def run(*command: str, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Container:
    """The running service: its name in docker-compose.yml, its id, and where it answers."""

    service: str
    id: str
    url: str

    def facts(self) -> dict[str, Any]:
        """Return the output of `docker inspect`."""
        (facts,) = json.loads(run("docker", "inspect", self.id))
        return dict(facts)

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell line inside, as the user that the service runs as."""
        return subprocess.run(["docker", "exec", self.id, "sh", "-c", script], capture_output=True, text=True)


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """How to call Compose here, as the engine's plugin or as the older program."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    return [*(["docker", "compose"] if plugin else ["docker-compose"]), "--project-name", PROJECT]


@pytest.fixture(scope="module", params=["heed", "heed-onnx"])
def container(request: pytest.FixtureRequest, compose: list[str]) -> Iterator[Container]:
    """The service, healthy, on bundles of a volume that did not exist before."""
    port, service = free_port(), request.param
    run(*compose, "down", "--volumes", COMPOSE_PROFILES="onnx")
    try:
        run(*compose, "up", "--build", "--detach", service, HEED_PORT=str(port))
        started = Container(service, run(*compose, "ps", "--quiet", service), f"http://127.0.0.1:{port}")
        began = time.monotonic()
        while started.facts()["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() - began < READY_SECONDS, run("docker", "logs", started.id)
            time.sleep(0.2)
        yield started
    finally:
        run(*compose, "down", "--volumes", COMPOSE_PROFILES="onnx")


def test_answers_a_prediction(container: Container) -> None:
    answer = httpx.post(f"{container.url}/predict", json={"text": "I did not like it."}, timeout=30)
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"]["name"] == "default"
    (prediction,) = body["predictions"]
    assert sum(token["weight"] for token in prediction["tokens"]) == pytest.approx(1, abs=1e-4)


def test_serves_the_page_and_the_docs(container: Container) -> None:
    for route in ("/", "/page/main.js", "/docs", "/openapi.json", "/metrics", "/models"):
        assert httpx.get(container.url + route, timeout=30).status_code == 200, route


def test_runs_as_nobody_special(container: Container) -> None:
    assert container.sh("id -u").stdout.strip() == "10001"
    assert container.sh("grep CapEff /proc/1/status").stdout.split() == ["CapEff:", "0000000000000000"]
    assert container.sh("grep NoNewPrivs /proc/1/status").stdout.split() == ["NoNewPrivs:", "1"]


def test_writes_nowhere_but_tmp(container: Container) -> None:
    assert container.facts()["HostConfig"]["ReadonlyRootfs"] is True
    for folder in ("/", "/app", "/app/models/saved", "/opt/heed", "/var/tmp"):
        assert "Read-only file system" in container.sh(f"touch {folder}/probe").stderr, folder
    assert container.sh("touch /tmp/probe").returncode == 0


def test_listens_on_this_machine_alone(container: Container) -> None:
    (binding,) = container.facts()["HostConfig"]["PortBindings"]["8000/tcp"]
    assert binding["HostIp"] == "127.0.0.1"


def test_holds_nothing_but_what_it_serves_with(container: Container) -> None:
    assert container.sh("ls /app").stdout.split() == ["models", "service"]
    for program in ("gcc", "strip", "/opt/heed/bin/pip"):
        assert container.sh(f"command -v {program}").returncode != 0, program
    packages = container.sh("ls /opt/heed/lib/python3.11/site-packages").stdout.split()
    engines = {"tensorflow", "keras", "h5py"}, {"onnxruntime"}
    needed, spared = engines if container.service == "heed" else engines[::-1]
    assert needed <= set(packages)
    assert not ({"pip", "pytest", "scipy", "sklearn", "matplotlib", "jax", "onnx", "tf2onnx"} | spared) & set(packages)
    assert container.sh("find / -xdev -path '*/.cache/pip' 2>/dev/null").stdout == ""


def test_onnx_runtime_needs_little_memory(container: Container) -> None:
    if container.service == "heed-onnx":
        kilobytes = int(container.sh("grep VmHWM /proc/1/status").stdout.split()[1])
        assert kilobytes < 350_000


def test_byte_code_is_compiled_for_every_module_of_ours(container: Container) -> None:
    script = (
        "import importlib.util, pathlib\n"
        "sources = [p for r in ('models', 'service') for p in pathlib.Path('/app', r).rglob('*.py')]\n"
        "compiled = [pathlib.Path(importlib.util.cache_from_source(p)).exists() for p in sources]\n"
        "print([str(p) for p, c in zip(sources, compiled) if not c], len(sources))"
    )
    missing, _, count = container.sh(f'python -c "{script}"').stdout.strip().rpartition(" ")
    assert missing == "[]"
    assert int(count) > 10


TINY_CONFIG = """
name = "mine"
[data]
max_words = 100
max_tokens = 16
[vectors]
epochs = 1
[model]
embedding_dim = 8
encoder = "none"
attention_units = 4
[[phases]]
epochs = 1
learning_rate = 1e-2
"""


def test_what_is_trained_in_a_container_is_served_without_a_restart(
    container: Container, compose: list[str], tmp_path: Path
) -> None:
    words = {"negative": ("dull", "flat", "poor", "bad"), "positive": ("good", "fine", "moving", "great")}
    rows = [f"a film {each} and {other},{label}" for label, ws in words.items() for each in ws for other in ws] * 20
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *(f"{n} {row}" for n, row in enumerate(rows))]))
    (tmp_path / "tiny.toml").write_text(TINY_CONFIG)
    tmp_path.chmod(0o755)

    run(*compose, "build", "train")
    train = ("train", "/data/tiny.toml", "--data", "/data/reviews.csv", "--out", "models/saved/mine")
    run(*compose, "run", "--rm", "-T", "train", *train, DATA=str(tmp_path))

    began = time.monotonic()
    while httpx.get(f"{container.url}/models/mine", timeout=30).status_code != 200:
        assert time.monotonic() - began < 60, run("docker", "logs", container.id)
        time.sleep(0.5)
    answer = httpx.post(f"{container.url}/predict", json={"text": "a film good", "model": "mine"}, timeout=30)
    assert answer.status_code == 200


@dataclass(frozen=True)
class Sent:
    """One request: when it was answered (monotonic seconds), and with which status; None: there was no answer."""

    ended: float
    status: int | None


def send_until_refused(url: str) -> list[Sent]:
    """Posts one batch after another, each on a connection of its own, until the service takes no more."""
    body = {"texts": ["a film as long as it is good, and it is not good " * 15] * 64, "attention": False}
    sent: list[Sent] = []
    with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=60) as http:
        while not sent or sent[-1].status == 200:
            try:
                status = http.post(f"{url}/predict", json=body).status_code
            except httpx.TransportError:
                status = None
            sent.append(Sent(time.monotonic(), status))
    return sent


def test_stops_in_time_and_loses_no_request(container: Container) -> None:
    """The last test of this module: it stops the container.

    What the service has taken it answers; what comes while it stops is refused with 503. No connection is just dropped.
    """
    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send_until_refused, container.url) for _ in range(4)]
        time.sleep(3)
        stopping = time.monotonic()
        run("docker", "stop", "--time", str(STOP_SECONDS), container.id)
        took = time.monotonic() - stopping
        sent = [each for sender in senders for each in sender.result()]

    state = container.facts()["State"]
    assert took < STOP_SECONDS, f"{took:.1f} s"
    assert state["ExitCode"] == 0, state  # 137 would mean that it had to be killed
    assert any(each.status == 200 for each in sent if each.ended > stopping), (
        "nothing was under way: this shows nothing"
    )
    assert [each.status for each in sent if each.status != 200] == [503] * 4
