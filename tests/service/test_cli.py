"""The command line: predictions and bundles in the terminal, and a service that ends in order."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from rich.console import Console

from models.bundle.store import read_card
from service.local import FoundBundle, LocalModel
from service.settings import Settings
from service.terminal import coloured, print_bundles
from tests.models.bundle.forged_bundle import seal
from tests.service.running import ROOT, RunningService, running_service


def heed(
    models_dir: Path, *arguments: str, stdin: bytes = b"", stdout: int | BinaryIO = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    settings = {
        "HEED_MODELS_DIR": str(models_dir),
        "HEED_BATCH_SIZES": "1,8",
        "HEED_TOKEN_BUCKETS": "64",
        "COLUMNS": "100",
    }
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=os.environ | settings | environment,
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=120,
    )


def explains_nothing(card: dict[str, Any]) -> None:
    card["name"] = "vain"
    card["faithfulness"] = {"above_chance": {"attention": False, "contributions": True}}
    card["metrics"] = {"test": {"accuracy": 0.875}, "validation": {"accuracy": 0.9}}


def test_a_prediction_in_the_terminal(models_dir: Path) -> None:
    done = heed(
        models_dir,
        "predict",
        "I did not like the [bold]xylophone[/bold]\x1b[2J.",
        FORCE_COLOR="1",
        TERM="xterm-256color",
    )
    shown = done.stdout.decode()
    assert done.returncode == 0
    assert done.stderr == b""
    assert any(f"{label} " in shown for label in ("negative", "positive"))
    assert "heaviest: " in shown
    assert "not in the vocabulary" in shown
    assert "\x1b[30;48;5;" in shown  # black on a colour
    assert "\x1b[2J" not in shown  # a review must not clear the screen
    assert "[bold]" in shown.replace("\x1b[0m", "") or "bold" in shown


def test_lines_as_json(models_dir: Path) -> None:
    done = heed(
        models_dir,
        "predict",
        "-",
        "--lines",
        "--json",
        "--model",
        "stars",
        stdin="A film.\r\n\n\u2028dull é\n".encode(),
    )
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [[token["text"] for token in prediction["tokens"]] for prediction in predictions] == [
        ["A", "film", "."],
        ["dull", "é"],
    ]
    assert set(predictions[0]["scores"]) == {"bad", "fair", "good"}


def test_the_whole_input_is_one_text(models_dir: Path) -> None:
    done = heed(models_dir, "predict", "-", "--json", stdin=b"One line.\nAnother.\n")
    [prediction] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(prediction["tokens"]) == 5


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["predict", " "], b"", "expected at least one word"),
        (["predict", "a", "--model", "nope"], b"", "'default', 'stars'"),
        (["predict", "a", "--models-dir", "/nowhere"], b"", "/nowhere"),
        (["predict", "a", "--lines"], b"", "--lines"),
        (["predict", "-"], b"\xff", "UTF-8"),
        (["predict", "-", "--lines"], b"\n \n", "at least one line"),
        (["serve", "--port", "70000"], b"", "--port: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_told_in_a_line(models_dir: Path, arguments: list[str], stdin: bytes, expected: str) -> None:
    done = heed(models_dir, *arguments, stdin=stdin)
    assert done.returncode == 2
    assert expected in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_the_bundles_are_listed_and_broken_ones_explained(models_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bundle.json").write_text("{}")
    shutil.copytree(models_dir / "stars", tmp_path / "stars")
    seal(tmp_path / "stars", lambda card: card["metrics"].update(validation={"accuracy": 0.625}))
    shutil.copytree(models_dir / "default", tmp_path / "vain")
    seal(tmp_path / "vain", explains_nothing)
    shown = heed(tmp_path, "models").stdout.decode()
    assert "seq_multiplicative" in shown
    assert "bad, fair, good" in shown
    assert "broken: " in shown
    assert "format_version" in shown
    assert "0.875\n" in shown.replace(" ", "")
    assert "0.625 (validation)" in shown
    assert shown.count("no better than chance") == 1
    predicted = heed(tmp_path, "predict", "a film", "--json", "--model", "vain")
    assert predicted.stderr.decode() == (
        "vain: the weights of this model are no better than chance as an explanation.\n"
    )
    assert json.loads(predicted.stdout)["tokens"]


def test_brackets_in_names_and_labels_are_listed_as_they_are(models_dir: Path) -> None:
    card = read_card(models_dir / "stars").model_copy(update={"name": "[b]", "labels": ("[/red]", "a[i]")})
    console = Console(width=200, record=True, file=io.StringIO())
    print_bundles(console, [FoundBundle(models_dir, card), FoundBundle(Path("x[red]"), None, "of [/z]")])
    shown = console.export_text()
    assert "[/red], a[i]" in shown
    assert "x[red]: of [/z]" in shown


def test_colours_follow_the_weights_and_stop_where_reading_did(models_dir: Path) -> None:
    settings = Settings(models_dir=models_dir, batch_sizes=(1,), token_buckets=(64,))
    text = "dull 🎬\t" + "plot xylophone " * 40
    [prediction] = LocalModel.load(settings).predict([text])
    shown = coloured(text, prediction)
    assert shown.plain == text
    styles = {(span.start, span.end): str(span.style) for span in shown.spans}
    heaviest = max(prediction["tokens"], key=lambda token: token["weight"])
    assert "208" in styles[heaviest["start"], heaviest["end"]]
    for token in prediction["tokens"]:
        assert ("underline" in styles[token["start"], token["end"]]) is not token["known"]
    assert styles[prediction["tokens"][-1]["end"], len(text)] == "dim"


@pytest.fixture
def own_service(models_dir: Path, tmp_path: Path) -> Iterator[RunningService]:
    with running_service(models_dir, tmp_path / "log", DRAIN_SECONDS="5") as running:
        yield running


def test_sigterm_under_load_loses_no_request(own_service: RunningService) -> None:
    """Every request that the service took is answered, with a prediction or a 503 that says when to come back."""
    statuses: Counter[int] = Counter()
    lost: list[str] = []

    async def keep_asking(http: httpx.AsyncClient) -> None:
        while 503 not in statuses:
            try:
                answer = await http.post("/predict", json={"texts": ["A dull plot. " * 20] * 16})
            except httpx.ConnectError:  # the port is closed: this one was never taken
                return
            except httpx.TransportError as error:
                lost.append(repr(error))
                return
            statuses[answer.status_code] += 1
            assert answer.status_code == 200 or int(answer.headers["Retry-After"]) >= 1

    async def load() -> None:
        async with httpx.AsyncClient(base_url=own_service.url, timeout=20) as http:
            asking = [asyncio.create_task(keep_asking(http)) for _ in range(8)]
            while statuses[200] < 16:
                await asyncio.sleep(0.01)
            own_service.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*asking)

    asyncio.run(asyncio.wait_for(load(), 60))
    assert own_service.process.wait(timeout=10) == 0
    assert set(statuses) <= {200, 503}
    assert lost == []
    assert "Traceback" not in own_service.log


def test_while_it_drains_the_last_request_is_answered_and_probes_are_told(own_service: RunningService) -> None:
    host, port = own_service.url.removeprefix("http://").split(":")

    async def run() -> None:
        body = b'{"text": "A dull film."}'
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        writer.write(head + body[:5])
        await writer.drain()
        await asyncio.sleep(0.3)
        own_service.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        async with httpx.AsyncClient(base_url=own_service.url) as http:
            assert (await http.get("/livez")).status_code == 200
            assert (await http.get("/readyz")).status_code == 503
            refused = await http.post("/predict", json={"text": "Fine."})
            assert refused.status_code == 503
        writer.write(body[5:])
        await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 ")
        writer.close()

    asyncio.run(run())
    assert own_service.process.wait(timeout=10) == 0


def test_a_client_that_never_finishes_does_not_hold_up_the_end(models_dir: Path, tmp_path: Path) -> None:
    with running_service(models_dir, tmp_path / "log", DRAIN_SECONDS="1", BODY_SECONDS="600") as service:
        host, port = service.url.removeprefix("http://").split(":")

        async def run() -> float:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            await writer.drain()
            await asyncio.sleep(0.3)
            started = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            while service.process.poll() is None:
                await asyncio.sleep(0.05)
            writer.close()
            return time.monotonic() - started

        assert 1 <= asyncio.run(run()) < 60
