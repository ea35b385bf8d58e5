"""SIGKILL at random moments: nothing is lost or duplicated."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from service.scoring.output import journal_of
from tests.service.running import ROOT
from tests.service.scoring.test_run import write
from tests.tiny_bundle import SENTENCES

KILLS = 10
WINDOW_ROWS, WINDOWS = 32, 150
MOST_WINDOWS_A_LIFE = 8


class Forking:
    """Client of `tests.service.scoring.forking`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, *arguments: str) -> int:
        """Run the command. Returns its process id."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def status(self) -> int:
        """Wait for the command. Returns its exit status."""
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def forking(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    settings = {"HEED_MODELS_DIR": str(models_dir), "HEED_TOKEN_BUCKETS": "64", "HEED_MAX_BATCH_TOKENS": "1024"}
    log = tmp_path_factory.mktemp("forking") / "log"
    command = [sys.executable, "-m", "tests.service.scoring.forking"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | settings, stdin=PIPE, stdout=PIPE, stderr=stderr, text=True
        ) as process,
    ):
        yield Forking(process)
        assert process.stdin
        process.stdin.close()


def kill_after(process: int, journal: Path, windows: int, seconds: float) -> None:
    """Kill the process once its journal has grown by `windows` lines and `seconds` have passed."""
    before = journal.stat().st_size if journal.exists() else 0
    wanted = before + 150 * windows
    while (journal.stat().st_size if journal.exists() else 0) < wanted and Path(f"/proc/{process}").exists():
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, which only Linux has")
@pytest.mark.parametrize("kind", ["csv.gz", "parquet"])
def test_ten_kills_give_the_output_of_an_uninterrupted_run(forking: Forking, tmp_path: Path, kind: str) -> None:
    generator = random.Random(time.time_ns())
    rows = [
        {"id": number, "text": " ".join(generator.choices(SENTENCES, k=generator.randrange(4)))}
        for number in range(WINDOW_ROWS * WINDOWS)
    ]
    source, place, whole = write(tmp_path / "in.csv", rows), tmp_path / f"out.{kind}", tmp_path / f"whole.{kind}"
    options = ("--window-rows", str(WINDOW_ROWS), "--explain-columns")
    forking.start("score", str(source), "-o", str(whole), *options)
    assert forking.status() == 0

    statuses = []
    while len(statuses) < KILLS:
        process = forking.start("score", str(source), "-o", str(place), *options, "--resume")
        kill_after(process, journal_of(place), generator.randrange(MOST_WINDOWS_A_LIFE), generator.uniform(0, 0.02))
        statuses.append(forking.status())
    assert statuses == [-signal.SIGKILL] * KILLS
    assert not place.exists()

    forking.start("score", str(source), "-o", str(place), *options, "--resume")
    assert forking.status() == 0
    assert place.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.csv", place.name, whole.name])
