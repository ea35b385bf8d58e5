"""Every number of labels, seed and change is trained on texts of its own and measured on the same ones."""

import re
from pathlib import Path

import numpy as np

from benchmarks.fits import measure, row
from tests.training.conftest import write_imdb
from tests.training.tiny_run import RecordedProgress

CONFIG = """
name = "tiny"
batch_size = 16
data = { validation_share = 0.2, fewest_validation = 0, max_words = 100, max_tokens = 32 }
model = { encoder = "none", mechanism = "ngram_attention", attention = { longest = 2, buckets = 4096 } }
ngrams = { min_count = 1 }
phases = [{ epochs = 3, learning_rate = 0.3 }]
"""


def test_a_row_for_each_number_of_labels_and_change(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    data = write_imdb(tmp_path)
    lines = list(measure(tmp_path / "tiny.toml", data, [8, 0], [1], ["ngrams.min_count=97"], RecordedProgress()))
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "8 labels",
        *("96 labels", "ngrams.min_count=97, 8 labels", "ngrams.min_count=97, 96 labels"),
    ]
    figures = np.array([[float(each) for each in re.findall(r"\d\.\d{4}", line)] for line in lines[2:]])
    accuracies, words = figures.T
    np.testing.assert_array_equal(words[:2], words[2:])
    assert words[0] < words[1]
    assert accuracies[1] > 0.9
    np.testing.assert_array_equal(accuracies[2:], 0.5)


def test_a_single_seed_has_no_spread() -> None:
    assert row("96 labels", [0.91234], 0.5) == "| 96 labels | 0.9123 |  | 0.5000 |"
    assert row("96 labels", [0.9, 0.7], 0.5) == "| 96 labels | 0.8000 | 0.7000 to 0.9000 | 0.5000 |"
