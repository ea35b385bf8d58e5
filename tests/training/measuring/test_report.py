import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.tokenizer import Tokenizer
from training.measuring.metrics import ReliabilityBin, measure, measure_labels, reliability
from training.measuring.picture import Example
from training.measuring.report import Report, write_report

LABELS = ("好评 <b>", "$5 & $6", "[red]")
TEXTS = ("味道不错，<script>alert(1)</script> $a_ & $b\n  🎬 \ud800", "שלום עולם")
VOID = {"meta", "line", "polyline"}
PHASES = [
    {
        "phase": phase,
        "epoch": 1,
        "train_loss": 0.5,
        "train_accuracy": 0.7,
        "validation_loss": loss,
        "validation_accuracy": 0.6,
    }
    for phase, loss in ((1, 0.6), (2, None))
]


class Page(HTMLParser):
    """The page as a browser reads it: every element closed, the text of each class."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.texts: dict[str, str] = {}
        self.feed(document)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("class") or tag))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, kind in self.open:
            self.texts[kind] = self.texts.get(kind, "") + data


def example(text: str, *, contributions: bool) -> Example:
    encoding = Tokenizer.fit([text], max_words=100).encode(text, 1000)
    weights = np.linspace(0, 1, len(encoding.ids), dtype=np.float32)
    return Example(text, LABELS[0], LABELS[1], 0.9, encoding, weights, weights - 0.5 if contributions else None)


def report_of(
    labels: tuple[str, ...] = LABELS, *, contributions: bool = True, part: str = "test", **changes: Any
) -> Report:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, len(labels), 200)
    scores = generator.dirichlet(np.ones(len(labels)), 200)
    figures = {"accuracy": 0.4, "macro_f1": 0.3}
    rankings = ["attention", *["contributions"] * contributions, "random"]
    values: dict[str, Any] = {
        "name": "own",
        "mechanism": "additive_pooling",
        "labels": labels,
        "metrics": {
            part: measure(scores, truth) | measure_labels(scores, truth, labels),
            "baselines": {"majority": figures | {"label": labels[0]}, "bag_of_words": figures},
        },
        "faithfulness": {
            "part": part,
            "texts": 200,
            "rankings": {name: {"comprehensiveness": 0.1, "sufficiency": 0.2} for name in rankings},
            "above_chance": dict.fromkeys(rankings[:-1], False),
        },
        "warnings": [f"Few texts of {labels[0]!r}."],
        "data": {
            "source": "a<b>.csv",
            **{split: dict.fromkeys(labels, 9) for split in ("train", "validation", part)},
        },
        "history": PHASES,
        "bins": reliability(scores, truth),
        "examples": [example(text, contributions=contributions) for text in TEXTS],
    }
    return Report(**(values | changes))


def page_of(folder: Path, report: Report) -> tuple[str, Page]:
    write_report(folder, report)
    document = (folder / "report.html").read_text(encoding="utf-8")
    return document, Page(document)


@pytest.mark.parametrize("contributions", [True, False])
def test_a_report_shows_every_text_and_label_as_it_is(tmp_path: Path, contributions: bool) -> None:
    document, page = page_of(tmp_path, report_of(contributions=contributions))
    assert "script" not in page.tags
    assert page.texts["example"] == "".join(TEXTS).replace("\ud800", "?")
    assert page.texts["warnings"] == "Few texts of '好评 <b>'."
    assert "trained on a<b>.csv" in page.texts["faint"]
    for label in LABELS:
        assert label in page.texts["table"]
    assert ("var(--bad)" in document.split("Examples")[1]) is contributions
    assert (tmp_path / "examples.png").stat().st_size > 5000


def test_a_report_says_what_its_figures_are_of(tmp_path: Path) -> None:
    document, page = page_of(tmp_path, report_of(part="validation"))
    assert "Validation" in page.texts["h2"]
    assert "texts of validation" in page.texts["faint"]
    assert "test" not in document.lower().split("</style>")[1]
    assert "Test set" in page_of(tmp_path, report_of())[1].texts["h2"]


def test_a_report_needs_no_other_file(tmp_path: Path) -> None:
    document, page = page_of(tmp_path, report_of())
    assert not re.findall(r"\b(?:src|href)=|url\(|@import|https?:", document)
    assert not page.tags & {"img", "link", "script", "iframe"}
    used, given = (set(re.findall(pattern, document)) for pattern in (r"var\((--\w+)\)", r"(--\w+):"))
    assert used <= given  # no colour is missing


def test_a_report_of_little_is_whole(tmp_path: Path) -> None:
    one = [ReliabilityBin(3, 1.0, 1.0)]
    _, page = page_of(tmp_path, report_of(("no", "yes"), history=PHASES[:1], bins=one, warnings=[]))
    assert "warnings" not in page.texts
    assert "towards yes, red towards no" in page.texts["section"]


def test_a_report_of_very_many_labels_leaves_their_confusion_out(tmp_path: Path) -> None:
    many = tuple(f"label {number}" for number in range(40))
    _, page = page_of(tmp_path, report_of(many))
    assert "label 39" in page.texts["table"]
    assert "by the label they were given" not in page.texts["faint"]
