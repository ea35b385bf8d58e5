"""From what was measured to lines, tables, pictures and the page."""

import copy
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.marked_page import fill
from benchmarks.serving import acceptance, overload, page, pictures
from benchmarks.serving.agreement import agree, condensed, largest_differences
from benchmarks.serving.comparison import CONNECTIONS
from benchmarks.serving.lengths import EVERY, cut_texts, mix
from benchmarks.serving.limits.arithmetic import flops_per_token, gemm_peak_flops
from benchmarks.serving.limits.runtimes import batches
from benchmarks.serving.processes import busy_seconds
from benchmarks.serving.services import BUNDLE, ROOT, answers_get, free_port, running
from benchmarks.serving.soak import retraces
from benchmarks.serving.workbench import Workbench
from models.tokenizer import Tokenizer

ANSWER = {
    "label": "positive",
    "scores": {"negative": 0.25, "positive": 0.75},
    "tokens": [{"text": "so", "start": 0, "end": 2, "weight": 1.0, "contribution": 0.5}],
}


def load(rate: float, p99: float) -> dict[str, object]:
    return {
        "requests_per_second": rate,
        "p50_ms": p99 / 2,
        "p99_ms": p99,
        "p99.9_ms": 2 * p99,
        "statuses": {"200": 100},
        "server_cpu_ms_per_request": 2.0,
        "peak_megabytes": 500.0,
    }


def contender(rate: float, p99: float) -> dict[str, object]:
    return {
        "closed": {str(count): load(rate, p99) for count in CONNECTIONS},
        "open": {name: load(rate, p99) for name in ("poisson", "bursts", "saturated")},
        "seconds_until_ready": 4.0,
    }


@pytest.fixture
def figures() -> dict[str, dict[str, object]]:
    same = largest_differences(condensed([ANSWER]), condensed([ANSWER]))
    return {
        "peers": {
            "order": ["heed", "fastapi_predict", "litserve"],
            "titles": {"heed": "Heed", "fastapi_predict": "FastAPI, `model.predict`", "litserve": "LitServe"},
            "variants": {"litserve": "1 worker"},
            "contenders": {
                "heed": contender(1000, 80),
                "fastapi_predict": contender(19, 3000),
                "litserve": contender(100, 900),
            },
            "best_batching": "litserve",
            "best_rate": 100.0,
            "heed_at_best_rate": load(100, 20),
            "agreement": {"fastapi_predict": same, "litserve": same},
        },
        "limits": {
            "engine": {"texts_per_second": 1500.0, "single_p50_ms": 1.0, "tokens_per_text": 265.0},
            "http": {"1": load(500, 3), "64": load(1000, 80)},
            "shares": [0.66, 0.67, 0.68],
            "null_engine": {"64": load(4000, 20)},
            "runtimes": {"xla": 1100.0, "onnxruntime": 1600.0},
            "arithmetic": {"flops_per_text": 1e8, "gemm_peak_flops": 2e11},
        },
        "lengths": {"open": {"alone": 5.0, "mixed": 14.0}, "turns": [{"alone": 5.0, "mixed": 14.0}]},
        "overload": {
            "capacities": [990.0, 1010.0],
            "during": load(950, 900) | {"statuses": {"200": 950, "429": 2000}},
            "deadline_ms": 30000.0,
            "megabytes": [500.0] * 30,
            "before_p50_ms": 3.0,
            "after_p50_ms": 3.2,
        },
        "soak": {"requests": 200_000, "retraces": 0.0, "growth": 0.01, "megabytes": [[20_000, 500], [200_000, 505]]},
        "startup": {"keras": {"seconds_until_ready": [4.0, 4.2, 4.1], "megabytes_serving": 800.0}},
    }


def test_every_line_is_met_by_figures_that_meet_it(figures: dict[str, dict[str, object]]) -> None:
    found = acceptance.lines(figures)
    assert len(found) == 17
    assert [str(line) for line in found if not line.met] == []
    assert "10.00x" in str(found[0])


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("peers", "best_rate"), 126.0, "LitServe's"),
        (("peers", "heed_at_best_rate", "p99_ms"), 230.0, "saturation"),
        (("peers", "agreement", "litserve", "labels"), 1, "differently"),
        (("peers", "agreement", "litserve", "weights"), 2e-4, "differently"),
        (("limits", "engine", "texts_per_second"), 1700.0, "engine alone"),
        (("limits", "runtimes", "openvino"), 3001.0, "in openvino"),
        (("limits", "engine", "single_p50_ms"), -0.1, "bare"),
        (("lengths", "open", "mixed"), 15.1, "p99 of 20-token"),
        (("overload", "during", "requests_per_second"), 890.0, "throughput"),
        (("overload", "during", "statuses", "lost"), 1, "statuses"),
        (("overload", "during", "p99_ms"), 30001.0, "accepted"),
        (("overload", "megabytes"), [500.0] * 10 + [530.0], "growth"),
        (("overload", "after_p50_ms"), 5.0, "one second after"),
        (("soak", "retraces"), 1.0, "retraces"),
        (("soak", "growth"), 0.021, "growth of memory after"),
        (("startup", "keras", "seconds_until_ready"), [5.1, 5.2, 4.0], "ready"),
        (("startup", "keras", "megabytes_serving"), 901.0, "resident"),
    ],
)
def test_a_figure_beyond_its_target_fails_its_line_alone(
    figures: dict[str, dict[str, object]], path: tuple[str, ...], value: object, what: str
) -> None:
    worse = copy.deepcopy(figures)
    place: dict[str, object] = worse
    for name in path[:-1]:
        place = place[name]  # type: ignore[assignment]
    place[path[-1]] = value
    [failed] = [line for line in acceptance.lines(worse) if not line.met]
    assert what in failed.what


def test_the_page_holds_every_table_and_picture(figures: dict[str, dict[str, object]], tmp_path: Path) -> None:
    copied = tmp_path / "performance.md"
    copied.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), encoding="utf-8")
    parts = page.parts(figures)
    fill(copied, parts)
    text = copied.read_text(encoding="utf-8")
    assert all(part in text for part in parts.values())
    assert "| **Heed** | 1000 |" in text
    assert "| LitServe |" in text
    drawn = pictures.write(tmp_path / pictures.FOLDER, figures)
    assert {file.stem for file in drawn} == set(pictures.PICTURES)
    for file in drawn:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert f"({pictures.FOLDER}/{file.name})" in text


def test_answers_that_differ_are_found() -> None:
    ours, theirs = condensed([ANSWER]), condensed([ANSWER])
    assert agree(largest_differences(ours, theirs))
    theirs[0]["weights"] = [1.0 - 2e-4]
    assert largest_differences(ours, theirs)["weights"] == pytest.approx(2e-4)
    assert not agree(largest_differences(ours, theirs))
    theirs[0]["spans"] = [[0, 3]]
    assert largest_differences(ours, theirs)["tokens"] == 1


def test_texts_are_cut_to_a_number_of_tokens_and_mixed_evenly() -> None:
    tokenizer = Tokenizer.from_json((BUNDLE / "tokenizer.json").read_text(encoding="utf-8"))
    reviews = ["One, two, three: four five.", "Six seven", "eight nine ten eleven twelve thirteen"] * 4
    short = cut_texts(tokenizer, reviews, 7, 3)
    assert [tokenizer.encode(text, 99).tokens_total for text in short] == [7, 7, 7]
    with pytest.raises(ValueError, match="reviews enough"):
        cut_texts(tokenizer, reviews, 7, 99)
    mixed = mix([f"short {number}" for number in range(2 * (EVERY - 1))], ["long"])
    assert len(mixed) == 2 * EVERY
    assert [place for place, text in enumerate(mixed) if text == "long"] == [0, EVERY]


def test_an_overload_leaves_a_second_before_it_looks_again() -> None:
    due, seconds = overload.due_times(100.0, 10.0)
    assert (np.diff(due) >= 0).all()
    end = overload.BEFORE + 10.0
    assert not ((due > end) & (due < end + overload.RECOVERY)).any()
    assert due[-1] <= seconds
    assert ((due >= overload.BEFORE) & (due < end)).sum() == pytest.approx(1000, rel=0.15)


def test_operations_are_counted_for_the_default_bundle() -> None:
    config = {"embedding_dim": 3, "encoder": "bilstm", "encoder_units": 2, "attention_units": 5, "labels": 2}
    products = 2 * (4 * 2 * (3 + 2)) + (4 * 5 + 5 + 4) + 4 * 2  # two directions; project, score, pool; labels
    assert flops_per_token(config | {"mechanism": "additive_pooling", "kernel_size": 5}) == 2 * products
    with pytest.raises(ValueError, match="additive pooling"):
        flops_per_token(config | {"mechanism": "multi_head", "kernel_size": 5})
    assert gemm_peak_flops(0.01) > 1e9


def test_batches_of_other_runtimes_hold_every_text_once() -> None:
    ids = [np.arange(1, length + 1, dtype=np.int32) for length in (3, 70, 5, 64, 1)]
    made = batches(ids, 2, (64, 128))
    assert [batch.shape for batch in made] == [(2, 64), (2, 64), (2, 128)]
    assert sorted(int(row.max()) for batch in made for row in batch) == [0, 1, 3, 5, 64, 70]
    assert [batch.shape[1] for batch in batches(ids, 2, None)] == [3, 64, 70]


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
        while (usage := server.tree.usage()).resident_megabytes < 60:  # the other one starts up yet
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


def test_retraces_are_read_from_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer:
        text = (
            '# HELP x\nheed_retraces_total{model="a",version="1"} 2.0\nheed_retraces_total{model="b",version="1"} 1.0\n'
        )

        def raise_for_status(self) -> "Answer":
            return self

    monkeypatch.setattr("benchmarks.serving.soak.httpx.get", lambda url: Answer())
    assert retraces("http://x") == 3.0
    Answer.text = ""
    with pytest.raises(ValueError, match="heed_retraces_total"):
        retraces("http://x")


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    calls = []

    def measure() -> dict[str, int]:
        calls.append(1)
        return {"figure": len(calls)}

    bench = Workbench(tmp_path / "data", tmp_path)
    assert bench.kept("x", "subject", measure) == bench.kept("x", "subject", measure) == {"figure": 1}
    assert bench.kept("x", "another", measure) == {"figure": 2}
    assert Workbench(tmp_path / "data", tmp_path, quick=True).kept("x", "another", measure) == {"figure": 3}
    assert Workbench(tmp_path / "data", tmp_path, quick=True, refresh=True).kept("x", "another", measure)["figure"] == 4
