import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOML = """
name = "small"
batch_size = 8
[data]
max_words = 100
max_tokens = 32
[model]
embedding_dim = 8
encoder = "none"
attention_units = 4
[[phases]]
epochs = 40
patience = 40
learning_rate = 0.05
"""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "training", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=180)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(TOML)
    return file


def test_a_run_that_is_killed_goes_on_and_its_bundle_is_measured(
    config: Path, imdb_folder: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "saved" / "small", tmp_path / "saved" / ".small.training"
    arguments = ("train", config, "--data", imdb_folder, "--out", out)
    process = subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (work / "checkpoint.npz").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()

    resumed = run(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert out.is_dir()
    assert not work.exists()

    figures = tmp_path / "figures.json"
    compared = run("compare", out, out, "--data", imdb_folder, "--json", figures)
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.count("small") == 2
    measured = json.loads(figures.read_text())
    assert [one["same_data"] for one in measured] == [True, True]
    assert measured[0]["metrics"] == pytest.approx(measured[0]["card_metrics"], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "none.toml", "--data", "none"), "none.toml: expected a readable TOML file"),
        (("evaluate", "none", "--data", "none.csv"), "none.csv: expected a readable file"),
        (("evaluate", "none", "--data", "data[/b].csv", "--text-column", "a[red]"), "columns ['a[red', '[/b]label']"),
    ],
)
def test_a_refusal_is_one_line_and_no_stack_trace(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "data[").mkdir()
    (tmp_path / "data[" / "b].csv").write_text("a[red,[/b]label\nx,y\n")
    refused = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=180,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
    )
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_whatever_the_seed_of_a_run_its_own_table_is_measured_on_what_it_was_not_trained_on(
    config: Path, tmp_path: Path
) -> None:
    config.write_text(TOML.replace("epochs = 40", "epochs = 1"))
    table, out, figures = tmp_path / "own[1].csv", tmp_path / "b[1]" / "own", tmp_path / "figures.json"
    words = {"good": "fine lovely", "bad": "poor dire"}
    rows = [f"{words[label]} film number {i},{label}" for i in range(50) for label in words]
    table.write_text("\n".join(["text,label", ",good", *rows]) + "\n")
    trained = run("train", config, "--data", table, "--out", out, "--seed", "7")
    assert trained.returncode == 0, trained.stderr
    assert "own[1].csv: left out 1 of 101 rows: line 2 (Expected a text" in trained.stderr
    assert "b[1]/own (version" in trained.stderr
    measured = run("evaluate", out, "--data", table, "--json", figures)
    assert measured.returncode == 0, measured.stderr
    [one] = json.loads(figures.read_text())
    assert one["same_data"]
    assert one["metrics"] == pytest.approx(one["card_metrics"], abs=1e-5)
