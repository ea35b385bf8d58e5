"""Every review is counted once in each table, and the worst mistakes come first."""

from pathlib import Path

import numpy as np

from benchmarks.errors import by_group, marked, rating_of, report
from models.bundle.store import load_bundle
from training.data.corpus import LabelledTexts

ROOT = Path(__file__).parents[2]


def test_groups_hold_every_text() -> None:
    groups, right = np.array([3, 1, 3, 3]), np.array([True, False, False, True])
    assert list(by_group(groups, right)) == [(1, 1, 0.0), (3, 3, 2 / 3)]


def test_stars_are_in_the_name_of_the_file() -> None:
    assert rating_of("train/pos/123_8.txt") == 8
    assert rating_of("train/neg/4_10.txt") == 10


def test_the_report_counts_every_review() -> None:
    bundle = load_bundle(ROOT / "models" / "saved" / "default")
    texts = ("A superb film.", "A dreadful film | a bore.", "We saw a wonderful, moving story." * 40, "An awful mess.")
    names = {
        text: f"train/x/{place}_{stars}.txt"
        for place, (text, stars) in enumerate(zip(texts, (9, 2, 1, 1), strict=True))
    }
    lines = list(report(bundle, LabelledTexts(texts, np.array([1, 0, 0, 0])), names, worst=3))
    assert lines[0] == "4 reviews, 0.7500 right"
    tables = "\n".join(lines).split("\n\n")[1:]
    for table in tables[:3]:
        counts = [int(row.split("|")[2]) for row in table.splitlines()[2:]]
        assert sum(counts) == 4
    [mistake] = tables[3].splitlines()[2:]
    assert mistake.startswith("| 1 | positive ")
    assert "**wonderful**" in mistake
    assert marked(bundle, texts[1]) == "A **dreadful** film / a **bore**."
