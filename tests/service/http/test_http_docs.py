"""docs/http.md is true: every command in it is run, every status in its table is the service's own."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from service.http.problems import STATUSES, ClientGone, problem_type
from service.http.requests import PredictRequest
from service.http.schemas import PredictResponse
from tests.service.running import ROOT, RunningService

PAGE = (ROOT / "docs" / "http.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(service: RunningService, command: str) -> str:
    script = command.replace("http://127.0.0.1:8000", service.url)
    done = subprocess.run(["bash", "-euc", script], env={"PATH": "/usr/bin:/bin", "HEED_KEY": "k"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize(
    "command", re.findall(r"^curl .*?(?=^curl |\Z)", "\n".join(blocks("bash")), re.MULTILINE | re.DOTALL)
)
def test_every_command_gets_an_answer(service: RunningService, command: str) -> None:
    shown = run(service, command)
    if "/metrics" in command:
        assert "heed_ready 1.0" in shown
        return
    answer = json.loads(shown)
    if "tops" in command:
        assert answer == json.loads(blocks("json")[1])
        return
    assert "status" not in answer or answer["status"] in ("alive", "started", "ready")
    if "/predict" in command:
        PredictResponse.model_validate(answer)


def test_the_answer_shown_has_the_shape_that_is_given() -> None:
    shown: dict[str, Any] = json.loads(blocks("json")[0])
    assert PredictResponse.model_validate(shown).model_dump(mode="json") == shown


def test_the_table_of_failures_is_whole() -> None:
    table = {
        (int(status), name)
        for status, names in re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", names)
    }
    assert table == {
        (status.code, problem_type(kind).removeprefix("urn:heed:problem:"))
        for kind, status in STATUSES.items()
        if kind is not ClientGone
    }


def test_the_table_of_fields_is_whole() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", PAGE, re.MULTILINE))
    fields = {name: json.dumps(field.default) for name, field in PredictRequest.model_fields.items()}
    assert table == {name: default for name, default in fields.items() if name not in ("text", "texts")}


def test_the_python_example_runs(service: RunningService) -> None:
    [program] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8000", service.url)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.match(r"(negative|positive) 0\.\d+\n", done.stdout)
    assert "/texts/1: Expected a text" in done.stdout
