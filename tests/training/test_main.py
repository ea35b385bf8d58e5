import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from models.bundle.store import read_card
from training.__main__ import main

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
    config.write_text(TOML.replace("[data]", "[data]\nfewest_validation = 0\nvalidation_share = 0.2"))
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
    assert len(re.findall(r"^small \w{12} ", compared.stdout, re.MULTILINE)) == 2
    measured = json.loads(figures.read_text())
    assert [one["same_data"] for one in measured] == [True, True]
    assert measured[0]["metrics"]["nll"] == pytest.approx(measured[0]["card_metrics"]["nll"], abs=1e-5)
    assert "Validation, 24 texts" in compared.stdout
    assert not (out / "looks.jsonl").exists()

    looked = run("compare", out, out, "--data", imdb_folder, "--test")
    assert looked.returncode == 0, looked.stderr
    assert "Test set, 60 texts" in looked.stdout
    assert "0 of the texts are among those to learn from; accuracy" in looked.stderr
    assert "look 2 at a test part, kept in looks.jsonl" in looked.stderr
    looks = [json.loads(line) for line in (out / "looks.jsonl").read_text().splitlines()]
    assert [(look["texts"], look["version"]) for look in looks] == [(60, read_card(out).version)] * 2


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run a command in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Fail writes beyond `size` bytes of a file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_run_survives_a_full_disk_and_an_interruption_and_never_replaces_a_bundle_unasked(
    config: Path,
    imdb_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config.write_text(TOML.replace("= 40", "= 2"))
    out = tmp_path / "sa[/b]ved" / "small"
    arguments = ("train", config, "--data", imdb_folder, "--out", out)

    def fails(*more: str) -> str:
        assert run_here(monkeypatch, *arguments, *more) == 2
        assert not out.exists()
        return capfd.readouterr().err

    with files_limited_to(2_000):  # the first checkpoint does not fit
        assert "File too large. To resume, repeat the command with --resume" in fails()
    with files_limited_to(20_000):  # the pictures do not fit
        assert "File too large. To resume, repeat the command with --resume" in fails("--resume")
    assert "--restart to throw it away (with make: RESUME=1" in fails()
    assert "Received both" in fails("--resume", "--restart")
    assert "Found another one" in fails("--resume", "--set", "batch_size=4")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.run.save_bundle", interrupt)
        assert run_here(patched, *arguments, "--resume") == 130
    assert f"the run is kept in {out.parent / '.small.training'}" in capfd.readouterr().err.replace("\n", "")
    assert run_here(monkeypatch, *arguments, "--resume") == 0
    version = read_card(out).version
    assert run_here(monkeypatch, "train", config, "--data", "none.csv", "--out", out) == 2  # before data are read
    assert "replace it with --replace (with make: OUT=FOLDER or REPLACE=1)" in capfd.readouterr().err
    assert read_card(out).version == version
    changed = ("--set", "phases.0.epochs=1", "--seed", "5", "--replace")
    assert run_here(monkeypatch, *arguments, *changed) == 0
    assert len(read_card(out).training["history"]) == 1
    (out.parent / "other").mkdir()
    (out.parent / "other" / "mine.txt").touch()
    assert run_here(monkeypatch, *arguments[:-1], out.parent / "other", "--replace") == 2
    assert "Found other things" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "none.toml", "--data", "none"), "none.toml: expected a readable TOML file"),
        (("evaluate", "none", "--data", "none.csv"), "none.csv: expected a readable file"),
        (("evaluate", "none", "--data", "none.csv", "--all", "--test"), "Expected --test or --all. Received both"),
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
    assert "warning: Validation has 80 texts" in trained.stderr.replace("\n", " ")
    assert "always bad" in trained.stdout
    assert "bag of words" in trained.stdout
    measured = run("evaluate", out, "--data", table, "--json", figures)
    assert measured.returncode == 0, measured.stderr
    [one] = json.loads(figures.read_text())
    assert one["same_data"]
    assert one["metrics"]["accuracy"] == one["card_metrics"]["accuracy"]
    assert one["metrics"]["per_label"] == one["card_metrics"]["per_label"]

    other = tmp_path / "other.csv"
    other.write_text("text,label\nfine film,1\ndire film,0\npoor film,0\n")
    refused = run("evaluate", out, "--data", other, "--all")
    assert refused.returncode == 2
    assert "other.csv also has '0' (2 texts), '1' (1 texts)" in refused.stderr.replace("\n", " ")
    arguments = ("--all", "--map", "0=bad", "--map", "1=good", "--json", figures)
    measured = run("evaluate", out, "--data", other, *arguments)
    assert measured.returncode == 0, measured.stderr
    [one] = json.loads(figures.read_text())
    assert [one["metrics"]["per_label"][name]["support"] for name in ("bad", "good")] == [2, 1]
