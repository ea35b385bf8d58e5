"""From measurements to verdicts, tables and the page."""

import copy
import sys
import time
from pathlib import Path

import pytest

from benchmarks.marked_page import fill
from benchmarks.serving import page
from benchmarks.serving.agreement import agree, condensed, largest_differences
from benchmarks.serving.comparison import CONNECTIONS
from benchmarks.serving.processes import busy_seconds
from benchmarks.serving.services import ROOT, answers_get, free_port, running
from benchmarks.serving.workbench import Workbench
from benchmarks.targets import TARGETS, judge

ANSWER = {
    "label": "positive",
    "scores": {"negative": 0.25, "positive": 0.75},
    "tokens": [{"text": "so", "start": 0, "end": 2, "weight": 1.0, "contribution": 0.5}],
}
SAME = largest_differences(condensed([ANSWER]), condensed([ANSWER]))


def contender(rate: float) -> dict[str, object]:
    load = {
        "requests_per_second": rate,
        "p50_ms": 40.0,
        "p99_ms": 80.0,
        "server_cpu_ms_per_request": 2.0,
        "peak_megabytes": 500.0,
    }
    return {"closed": {str(count): load for count in CONNECTIONS}, "seconds_until_ready": 4.0}


def engine(title: str, rate: float, megabytes: float = 700.0) -> dict[str, object]:
    return {
        "title": title,
        "seconds_until_ready": 0.9,
        "megabytes_when_ready": megabytes - 10,
        "megabytes_serving": megabytes,
        "requests_per_second": rate,
        "agreement": SAME,
    }


@pytest.fixture
def figures() -> dict[str, dict[str, object]]:
    return {
        "peers": {
            "ours": "heed-keras",
            "titles": {"heed-keras": "Heed", "fastapi_predict": "FastAPI, `model.predict`", "litserve": "LitServe"},
            "variants": {"litserve": "1 worker"},
            "contenders": {
                "heed-keras": contender(1000),
                "fastapi_predict": contender(19),
                "litserve": contender(100),
            },
            "best_batching": "litserve",
            "agreement": {"fastapi_predict": SAME, "litserve": SAME},
        },
        "single": {"served_p50_ms": 1.7, "bare_p50_ms": 1.0},
        "overload": {
            "capacities": [990.0, 1010.0],
            "during": {"requests_per_second": 850.0, "p99_ms": 900.0, "statuses": {"200": 850, "429": 2000}},
            "megabytes": [400.0] * 10 + [500.0] * 50,
        },
        "engines": {
            "heed-keras": engine("Heed", 1000),
            "heed-keras-no-kernels": engine("Heed, no kernels", 800),
            "heed-onnx": engine("Heed, ONNX Runtime", 950, 190.0),
            "heed-onnx-no-kernels": engine("Heed, ONNX Runtime, no kernels", 900),
        },
    }


def test_every_target_is_met_by_figures_that_meet_it(figures: dict[str, dict[str, object]]) -> None:
    found = page.verdicts(figures)
    assert {one.what for one in found} == {target.what for name, target in TARGETS.items() if name != "score"}
    assert [str(one) for one in found if not one.met] == []
    assert str(found[0]).endswith("over the best batching peer: 10x (target: at least 6x, aim 8x)")


@pytest.mark.parametrize(
    ("path", "value", "target"),
    [
        (("peers", "contenders", "litserve", "closed", "64", "requests_per_second"), 167.0, "best_peer"),
        (("peers", "contenders", "fastapi_predict", "closed", "64", "requests_per_second"), 21.0, "predict"),
        (("peers", "agreement", "litserve", "labels"), 1, "disagreement"),
        (("peers", "agreement", "litserve", "weights"), 2e-4, "disagreement"),
        (("single", "bare_p50_ms"), 0.89, "one_connection"),
        (("overload", "during", "requests_per_second"), 790.0, "overload_rate"),
        (("overload", "during", "statuses", "lost"), 1, "overload_others"),
        (("overload", "during", "p99_ms"), 1001.0, "overload_p99"),
        (("overload", "megabytes"), [500.0] * 30 + [530.0], "overload_memory"),
        (("engines", "heed-onnx", "seconds_until_ready"), 1.1, "onnx_ready"),
        (("engines", "heed-onnx", "megabytes_serving"), 201.0, "onnx_memory"),
        (("engines", "heed-onnx", "requests_per_second"), 890.0, "onnx_rate"),
        (("engines", "heed-keras-no-kernels", "requests_per_second"), 290.0, "keras_no_kernels"),
        (("engines", "heed-onnx-no-kernels", "requests_per_second"), 290.0, "onnx_no_kernels"),
    ],
)
def test_a_figure_that_misses_its_target_fails_it_alone(
    figures: dict[str, dict[str, object]], path: tuple[str, ...], value: object, target: str
) -> None:
    worse = copy.deepcopy(figures)
    place: dict[str, object] = worse
    for name in path[:-1]:
        place[name] = copy.copy(place[name])  # shared by the connections of a contender
        place = place[name]  # type: ignore[assignment]
    place[path[-1]] = value
    [failed] = [one for one in page.verdicts(worse) if not one.met]
    assert failed.what == TARGETS[target].what


def test_a_part_measured_alone_is_judged_by_its_own_targets(figures: dict[str, dict[str, object]]) -> None:
    assert {one.what for one in page.verdicts({"engines": figures["engines"]})} == {
        TARGETS[name].what for name in ("onnx_ready", "onnx_memory", "onnx_rate")
    }
    assert judge("score", 80.0).met
    assert not judge("score", 79.9).met


def test_the_page_holds_every_table(figures: dict[str, dict[str, object]], tmp_path: Path) -> None:
    copied = tmp_path / "performance.md"
    copied.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), encoding="utf-8")
    tables = page.tables(figures)
    fill(copied, tables)
    text = copied.read_text(encoding="utf-8")
    assert all(table in text for table in tables.values())
    assert "| **Heed** | 1000 |" in text
    assert "| Heed, ONNX Runtime, no kernels | 0.90 |" in text
    assert "over the best batching peer | 10x | at least 6x, aim 8x | yes |" in text


def test_answers_that_differ_are_found() -> None:
    ours, theirs = condensed([ANSWER]), condensed([ANSWER])
    assert agree(largest_differences(ours, theirs))
    theirs[0]["weights"] = [1.0 - 2e-4]
    assert largest_differences(ours, theirs)["weights"] == pytest.approx(2e-4)
    assert not agree(largest_differences(ours, theirs))
    theirs[0]["spans"] = [[0, 3]]
    assert largest_differences(ours, theirs)["tokens"] == 1


def test_a_process_tree_is_measured_and_ended_whole() -> None:
    """A server that starts another process: both count, and neither outlives the measurement."""
    port = free_port()
    code = (
        "import http.server, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; held = b\"x\" * (60 << 20); time.sleep(600)'])\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    busy = busy_seconds()
    with running([sys.executable, "-c", code], port, answers_get("/")) as server:
        while (usage := server.tree.usage()).resident_megabytes < 60:  # the other process is still starting
            time.sleep(0.02)
        assert usage.processes == 2
        assert usage.cpu_seconds > 0
        assert len(server.tree.pids()) == 2
    assert not server.tree.pids()
    assert busy_seconds() >= busy


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)ended with status 3.*no such model"),
        running([sys.executable, "-c", "print('no such model'); exit(3)"], 1, lambda url: False),
    ):
        pass


def test_a_record_is_used_for_its_subject_alone(tmp_path: Path) -> None:
    calls = []

    def measure() -> dict[str, int]:
        calls.append(1)
        return {"figure": len(calls)}

    bench = Workbench(tmp_path / "data", tmp_path)
    assert bench.kept("x", "subject", measure) == bench.kept("x", "subject", measure) == {"figure": 1}
    assert bench.kept("x", "another", measure) == {"figure": 2}
    assert Workbench(tmp_path / "data", tmp_path, quick=True).kept("x", "another", measure) == {"figure": 3}
    assert Workbench(tmp_path / "data", tmp_path, quick=True, refresh=True).kept("x", "another", measure)["figure"] == 4
