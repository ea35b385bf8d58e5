import random
from pathlib import Path

import pytest

from training.config import CONFIGS
from training.data.exclusion import read_names

GOOD = ["wonderful", "superb", "moving", "brilliant", "delightful", "charming"]
BAD = ["dull", "awful", "boring", "dreadful", "tedious", "clumsy"]
PLAIN = ["the", "film", "a", "plot", "and", "its", "actors", "were", "in", "this", "story", "of", "one", "summer"]


def make_review(label: str, generator: random.Random) -> str:
    """A review whose label a classifier can learn: a few telling words among plain ones."""
    telling = GOOD if label == "pos" else BAD
    words = generator.choices(PLAIN, k=generator.randint(4, 30)) + generator.choices(telling, k=3)
    generator.shuffle(words)
    return " ".join(words).capitalize() + ".<br /><br />"


def write_imdb(root: Path, *, train: int = 60, test: int = 30, unsup: int = 20) -> Path:
    """The IMDB layout with made-up reviews, `train` and `test` of each label; returns the folder aclImdb."""
    generator = random.Random(7)
    for part, labels, count in (("train", ("neg", "pos"), train), ("test", ("neg", "pos"), test)):
        for label in labels:
            folder = root / "aclImdb" / part / label
            folder.mkdir(parents=True)
            for position in range(count):
                text = make_review(label, generator)
                (folder / f"{position}_{9 if label == 'pos' else 2}.txt").write_text(text, encoding="utf-8")
    folder = root / "aclImdb" / "train" / "unsup"
    folder.mkdir()
    for position in range(unsup):
        (folder / f"{position}_0.txt").write_text(make_review("pos", generator), encoding="utf-8")
    return root / "aclImdb"


def write_excluded(folder: Path) -> Path:
    """Add the reviews that the project's configurations leave out; each holds the word `excluded`."""
    for place, name in enumerate(read_names(CONFIGS / "excluded_reviews.txt")):
        (folder / name).write_text(f"excluded {place}", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def imdb_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_imdb(tmp_path_factory.mktemp("imdb"))
