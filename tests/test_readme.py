"""The README is true: its commands are run, and their answers are those it shows."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.bundle.looks import read_looks
from models.bundle.store import read_card
from tests.service.running import ROOT, RunningService, running_service

README = (ROOT / "README.md").read_text(encoding="utf-8")
SAVED = ROOT / "models" / "saved"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def default_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(SAVED, tmp_path_factory.mktemp("readme") / "log") as running:
        yield running


def nearly(shown: Any) -> Any:
    """Equal but for the last digits of numbers, which differ between processors."""
    if isinstance(shown, dict):
        return {name: nearly(value) for name, value in shown.items()}
    if isinstance(shown, list):
        return [nearly(value) for value in shown]
    return pytest.approx(shown, abs=2e-4) if isinstance(shown, float) else shown


def test_curl_gets_the_answer_that_is_shown(default_service: RunningService) -> None:
    [command], [shown] = blocks("bash"), blocks("json")
    script = command.replace("http://127.0.0.1:8000", default_service.url)
    done = subprocess.run(["bash", "-euc", script], capture_output=True, check=True)
    assert json.loads(done.stdout) == nearly(json.loads(shown))


def test_the_python_example_finds_a_wonderful_film_positive(default_service: RunningService) -> None:
    program, _ = blocks("python")
    script = program.replace("http://127.0.0.1:8000", default_service.url)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.startswith("positive 0.9")


def test_the_layers_work_in_a_model_of_ones_own() -> None:
    _, program = blocks("python")
    script = f"{program}\nimport numpy as np\nassert model(np.array([[3, 1, 4, 0, 0]])).shape == (1, 5, 64)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)


def test_the_figures_are_those_of_the_last_look_at_the_default_bundle() -> None:
    test = read_looks(SAVED / "default")[-1]
    assert test["version"] == read_card(SAVED / "default").version
    assert f"| test accuracy, {test['texts']:,} reviews | {test['accuracy']:.4f} |" in README
    assert f"| area under the ROC curve | {test['auc']:.4f} |" in README
    assert f"| expected calibration error, 15 bins | {test['ece']:.4f} |" in README


def test_the_default_bundle_is_small_and_good_enough_to_ship() -> None:
    files = [file for file in (SAVED / "default").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 20_000_000
    metrics = read_looks(SAVED / "default")[-1]
    assert metrics["texts"] == 25_000
    assert metrics["accuracy"] >= 0.920
    assert metrics["ece"] <= 0.03


def test_every_linked_file_is_there() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_module_that_a_command_names_is_there() -> None:
    for name in set(re.findall(r"python -m ([a-z_.]+)", README)):
        module = Path(name.replace(".", "/"))
        assert (ROOT / module.with_suffix(".py")).exists() or (ROOT / module / "__main__.py").exists()
