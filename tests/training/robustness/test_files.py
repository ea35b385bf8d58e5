import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import DataError
from training.robustness.files import measure_pairs, measure_sentences

NAMES = ("negative", "positive")


def by_word(texts: Sequence[str]) -> np.ndarray:
    return np.array([0.9 if "good" in text else 0.2 for text in texts])


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    return path


def pair(group: str, label: int, original: str, revised: str) -> list[dict[str, Any]]:
    texts = {"original": (original, label), "revised": (revised, 1 - label)}
    return [{"group": group, "kind": kind, "label": label, "text": text} for kind, (text, label) in texts.items()]


def test_pairs_are_right_apart_and_together(tmp_path: Path) -> None:
    pairs = [*pair("a", 1, "good", "bad"), *pair("b", 0, "poor", "fine"), *pair("c", 0, "not good", "good indeed")]
    figures = measure_pairs(written(tmp_path / "pairs.jsonl", *pairs), by_word, NAMES)
    assert figures == {
        "pairs": 3,
        "original": pytest.approx(2 / 3),
        "revised": pytest.approx(2 / 3),
        "both": pytest.approx(1 / 3),
    }


def test_sentences_are_read_as_people_write_them(tmp_path: Path) -> None:
    rows = [{"label": 1, "text": "go od", "text_detok": "good"}, {"label": "negative", "text": "bad"}]
    figures = measure_sentences(written(tmp_path / "s.jsonl", *rows), by_word, NAMES)
    assert figures == {"texts": 2, "accuracy": 1.0, "ece": pytest.approx(0.15)}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"group": "a", "kind": "original", "label": 1, "text": "x"}], "expected one original and one revised"),
        (pair("a", 1, "x", "y") * 2, "expected one original and one revised"),
        ([{"group": "a", "kind": "other", "label": 1, "text": "x"}], r"Received \['other'\]"),
        ([{"group": "a", "kind": "original", "label": 2, "text": "x"}], r"0 and 1, or negative and positive"),
        ([{"group": "a", "kind": "original", "label": 1}], "line 1: expected an object with group, kind, label, text"),
        ([], "Found none"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        measure_pairs(written(tmp_path / "pairs.jsonl", *rows), by_word, NAMES)


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_what_is_no_file_of_json_lines_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "s.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"s\.jsonl: expected a readable file of JSON Lines"):
        measure_sentences(tmp_path / "s.jsonl", by_word, NAMES)
